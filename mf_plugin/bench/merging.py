"""What reading, checking and merging annotation jsons of LVIS's size costs.

The peer is Python's own json: it reads both files, joins their lists and writes them, and checks
nothing. Each case has a process of its own and they take turns; ratios are of CPU seconds, which
other work on the machine changes least.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mf_plugin.bench.alone import measure_alone
from mf_plugin.bench.data import installed
from mf_plugin.bench.loading import lvis_names
from mf_plugin.bench.lvis_standin import LVIS_IMAGES, write_standin
from mf_plugin.errors import InputError
from mf_plugin.lvis.io import read_lvis, write_json_atomic
from mf_plugin.lvis.merge import merge_lvis
from mf_plugin.lvis.validate import validate_lvis

READ_PEER, MERGE_PEER = "json: read", "json: read both, join, write"
LISTS = ("images", "annotations", "categories")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `measure`."""
    parser.add_argument(
        "--images", type=int, default=LVIS_IMAGES, help="real images of the stand-in (LVIS's)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="(default: 3)")
    parser.add_argument("--out", type=Path, default=Path("work_dirs/bench"))
    parser.add_argument(
        "--standin", type=Path, help="folder of the stand-in, 1.2 GB (default: OUT/standin)"
    )


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Write the stand-in where it is missing, and measure every case on it.

    Returns:
        JSON: "images" and "annotations" (real and synthetic), "cases": name -> "rounds" (see
        `measure_alone`; "result" is the number of annotations), its "peer" and the "ratio" of CPU
        seconds to the peer's, the median over the rounds.

    Raises:
        InputError: a number is out of its range, or no framework is installed, whose names of the
            categories the stand-in has.
    """
    if not 1 <= args.images <= LVIS_IMAGES:
        raise InputError(f"--images {args.images}: expected 1 to {LVIS_IMAGES}")
    if args.rounds < 1:
        raise InputError(f"--rounds {args.rounds}: expected at least 1")
    root = (args.standin or args.out / "standin").resolve()
    standin = write_standin(root, lvis_names(installed(None)[0]), args.images)
    files = standin.json_file, standin.synthetic / "annotations.json"
    merged = args.out.resolve() / "merged.json"
    roots = {"real_root": standin.image_root, "synthetic_root": standin.synthetic}
    cases: dict[str, tuple[Any, tuple[Any, ...], str]] = {
        READ_PEER: (_read_plainly, (files[0],), READ_PEER),
        "read": (_read, (files[0],), READ_PEER),
        "read and validate, with every image on disk": (
            _validate, (files[0], standin.image_root), READ_PEER,
        ),
        MERGE_PEER: (_merge_plainly, (*files, merged), MERGE_PEER),
        "read both, merge, write": (_merge, (*files, roots, merged), MERGE_PEER),
    }  # fmt: skip
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in cases}
    turns = [name for _ in range(args.rounds) for name in cases]
    for name in tqdm(turns, "measuring merging", unit="case"):
        work, arguments, _ = cases[name]
        rounds[name].append(measure_alone(work, *arguments))
        merged.unlink(missing_ok=True)
    return {
        "images": [standin.images, standin.synthetic_images],
        "annotations": int(rounds[MERGE_PEER][0]["result"]),
        "cases": {
            name: {
                "rounds": found,
                "peer": cases[name][2],
                "ratio": statistics.median(
                    ours["cpu_s"] / theirs["cpu_s"]
                    for ours, theirs in zip(found, rounds[cases[name][2]], strict=True)
                ),
            }
            for name, found in rounds.items()
        },
    }


def merging_table(measured: dict[str, Any]) -> str:
    """`measure`'s numbers as a markdown table: medians over the rounds."""
    real, synthetic = measured["images"]
    lines = [
        f"{real:,} real and {synthetic:,} synthetic images, {measured['annotations']:,} "
        "annotations of both",
        "",
        "| case | seconds | CPU s | peak GB | CPU / peer | peer |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for name, case in measured["cases"].items():
        wall, cpu, peak = (
            statistics.median(found[key] for found in case["rounds"])
            for key in ("wall_s", "cpu_s", "peak_gb")
        )
        lines.append(
            f"| {name} | {wall:.1f} | {cpu:.1f} | {peak:.2f} | {case['ratio']:.2f} "
            f"| {case['peer']} |"
        )
    return "\n".join(lines)


def _read_plainly(path: Path) -> int:
    return len(json.loads(path.read_bytes())["annotations"])


def _read(path: Path) -> int:
    return len(read_lvis(path)["annotations"])


def _validate(path: Path, image_root: Path) -> int:
    data = read_lvis(path)
    validate_lvis(data, image_root)
    return len(data["annotations"])


def _merge_plainly(real: Path, synthetic: Path, out: Path) -> int:
    first, second = (json.loads(path.read_bytes()) for path in (real, synthetic))
    joined = {key: first[key] + second[key] for key in LISTS[:2]} | {LISTS[2]: first[LISTS[2]]}
    out.write_text(json.dumps(joined))
    return len(joined["annotations"])


def _merge(real: Path, synthetic: Path, roots: dict[str, Path], out: Path) -> int:
    merged = merge_lvis(read_lvis(real), read_lvis(synthetic), **roots)
    write_json_atomic(out, merged)
    return len(merged["annotations"])
