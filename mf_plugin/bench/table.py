"""Measurements as markdown tables."""

from __future__ import annotations

import statistics
from typing import Any


def generation_table(result: dict[str, Any]) -> str:
    """The table of ``tools/bench.py generation``."""
    measured, solver = result["generation"], result["solver"]
    seconds = {name: statistics.median(values) for name, values in measured["seconds"].items()}
    rows = [
        ("canvases per second", f"{measured['canvases_per_second']:.3g}"),
        ("time of generation / bare U-Net calls", f"{measured['ratio_to_floor']:.2f}"),
    ]
    if "ratio_to_plain" in measured:
        ratio = f"{measured['ratio_to_plain']:.2f}"
        rows.append(("time of generation / plain diffusers loop, same pixels", ratio))
    rows += [(f"seconds, {name}", f"{value:.1f}") for name, value in seconds.items()]
    rows.append(("memory of attention, MB", f"{measured['attention_bytes'] / 1e6:.2f}"))
    rows += [
        (f"CUDA peak, {name}, MB", f"{peak / 1e6:.0f}")
        for name, peak in measured.get("cuda_peak_bytes", {}).items()
    ]
    rows += [
        (f"bilateral solver, region of {h} x {w}, s", f"{entry['seconds']:.3f}")
        for entry in solver
        for h, w in [entry["size"]]
    ]
    head = (
        f"{measured['model']}, {measured['device']}, {measured['dtype']}, "
        f"{measured['canvases']} canvases a round, {measured['steps']} steps, "
        f"masks {measured['mask_method']}, {measured['unet_calls']} U-Net calls"
    )
    body = "\n".join(f"| {name} | {value} |" for name, value in rows)
    return f"{head}\n\n| measure | value |\n|---|---:|\n{body}"
