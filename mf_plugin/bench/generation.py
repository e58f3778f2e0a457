"""How fast generation is, against the bare U-Net calls in it and a plain diffusers loop.

Everything is measured in one process, in turn, round after round; a ratio is the median of the
rounds' ratios. The floor is what no generator can go below with these calls: the same U-Net, the
same inputs, nothing around them.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from mf_plugin.arrays import Mask, Pixels
from mf_plugin.bench.peers import UnetCalls, sample_plainly, synchronise
from mf_plugin.extras import require
from mf_plugin.generation.config import GenerationConfig
from mf_plugin.generation.makers import torch_threads
from mf_plugin.generation.plan import load_vocabulary, make_plan
from mf_plugin.generation.run import generate_with
from mf_plugin.mosaic.bilateral import BilateralConfig, build_grid, solve_bilateral
from mf_plugin.mosaic.masks import attention_config_for

SOLVER_SIZES = ((384, 512), (512, 512), (768, 1024))  # of regions: the paper's, SD's own, SDXL's


def measure_generation(
    config: GenerationConfig,
    *,
    device: str = "cpu",
    groups: int = 2,
    rounds: int = 3,
    plain: bool = True,
) -> dict[str, Any]:
    """Measure a generation config on its model.

    Args:
        config: its model, canvas, steps, masks and group size are what is measured.
        device: of torch.
        groups: groups of canvases a round.
        rounds: how often everything is measured.
        plain: whether the plain diffusers loop is measured too.

    Returns:
        JSON values: seconds of each round, canvases per second, ``ratio_to_floor`` and
        ``ratio_to_plain`` (time of generation over the peer's: 1 is as fast), attention's memory in
        bytes, on CUDA also the peak with and without generation's own part.
    """
    config = replace(config, num_images=groups * config.group_size, until=None)
    plan = make_plan(config, load_vocabulary(config.vocabulary))
    with torch_threads(config.threads, device):
        painter = plan.load_painter(device)
        pipeline = painter.pipeline
        calls = UnetCalls()

        def generate() -> None:
            with tempfile.TemporaryDirectory() as folder:
                generate_with(plan, painter, Path(folder) / "dataset", device)

        with calls.recorded(pipeline.unet):
            generate()  # the round that warms up
        peers: dict[str, Callable[[], None]] = {
            "generation": generate,
            "floor": lambda: calls.repeat(pipeline.unet),
        }
        if plain:
            planned = [plan.groups[index] for index in range(len(plan.groups))]
            peers["plain"] = lambda: sample_plainly(pipeline, config, planned)
            peers["plain"]()
        peers["floor"]()
        seconds: dict[str, list[float]] = {name: [] for name in peers}
        for _ in tqdm(range(rounds), "measuring generation", unit="round"):
            for name, work in peers.items():
                seconds[name].append(_time(work, pipeline.device))
        measured = {
            "model": str(config.model),
            "device": str(pipeline.device),
            "dtype": config.dtype,
            "threads": config.threads,
            "canvas": list(config.canvas or config.region_size or ()),
            "steps": config.steps,
            "canvases": plan.num_images,
            "unet_calls": len(calls),
            "unet_rows": calls.rows,
            "mask_method": config.mask.method,
            "seconds": {name: [round(s, 3) for s in values] for name, values in seconds.items()},
            "canvases_per_second": plan.num_images / statistics.median(seconds["generation"]),
            "ratio_to_floor": _ratio(seconds["generation"], seconds["floor"]),
            "attention_bytes": _attention_bytes(pipeline, plan),
        }
        if plain:
            measured["ratio_to_plain"] = _ratio(seconds["generation"], seconds["plain"])
        if pipeline.device.type == "cuda":
            peaks = {name: _peak_memory(work, pipeline.device) for name, work in peers.items()}
            measured["cuda_peak_bytes"] = peaks
    return measured


def measure_solver(repeats: int = 5, seed: int = 0) -> list[dict[str, Any]]:
    """Seconds of the bilateral solver for a region, two rounds of it, at the paper's settings.

    The picture is a smooth object on a textured ground with sensor-like noise: the number of its
    grid's vertices, which decides the cost, is given beside the time.
    """
    results = []
    for height, width in SOLVER_SIZES:
        image, mask = _picture(height, width, np.random.default_rng(seed))
        times = []
        for _ in range(repeats):
            begin = time.perf_counter()
            solve_bilateral(mask, image, BilateralConfig(), 2)
            times.append(time.perf_counter() - begin)
        results.append(
            {
                "size": [height, width],
                "vertices": build_grid(image, BilateralConfig()).size,
                "seconds": statistics.median(times),
            }
        )
    return results


def _picture(height: int, width: int, rng: np.random.Generator) -> tuple[Pixels, Mask]:
    rows, columns = np.mgrid[:height, :width]
    inside = ((rows / height - 0.5) / 0.3) ** 2 + ((columns / width - 0.45) / 0.25) ** 2 < 1
    ground = np.stack(
        [100 + 60 * np.sin(rows / 31), 120 + 40 * np.sin(columns / 17), 90 + rows * 80 / height], -1
    )
    object_ = np.stack([190 + columns * 40 / width, 80 + rows * 50 / height, 60 + 0 * rows], -1)
    image = np.where(inside[..., None], object_, ground) + rng.normal(0, 6, (height, width, 3))
    shifted = np.roll(inside, (height // 40, -width // 30), (0, 1))
    return np.clip(image, 0, 255).astype(np.uint8), shifted


def _time(work: Callable[[], Any], device: Any) -> float:
    synchronise(device)
    begin = time.perf_counter()
    work()
    synchronise(device)
    return time.perf_counter() - begin


def _ratio(ours: list[float], theirs: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def _attention_bytes(pipeline: Any, plan: Any) -> int:
    """Bytes that reading holds for a group at the end of the run: none of it grows with steps."""
    group, config = plan.groups[0], plan.config
    output = pipeline(
        group.layout,
        [canvas.prompts for canvas in group.canvases],
        seeds=[canvas.seed for canvas in group.canvases],
        steps=1,
        guidance=config.guidance,
        attention=attention_config_for(config.mask, config.attention),
    )
    held: int = output.attention_bytes
    return held


def _peak_memory(work: Callable[[], Any], device: Any) -> int:
    torch = require("torch", "diffusion")
    torch.cuda.reset_peak_memory_stats(device)
    work()
    return int(torch.cuda.max_memory_allocated(device))
