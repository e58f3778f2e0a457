"""What loading LVIS costs with synthetic data in it, against each framework's own loading of LVIS.

Every measurement has a process of its own, since memory that was used once stays with a process;
the cases take turns round after round, and a ratio is the median over the rounds of that to the
peer of the same round. All read the same json.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mf_plugin.bench.loading import ADAPTERS, CASES
from mf_plugin.bench.lvis_standin import LVIS_IMAGES
from mf_plugin.errors import InputError

logger = logging.getLogger(__name__)

PEER = CASES[0]
LABELS = {
    ("mmdet", "own"): "LVISV1Dataset (peer)",
    ("mmdet", "own+synthetic"): "LVISV1Dataset + synthetic",
    ("mmdet", "any"): "LVISJsonDataset",
    ("mmdet", "any+synthetic"): "LVISJsonDataset + synthetic",
    ("detectron2", "own"): "load_lvis_json (peer)",
    ("detectron2", "own+synthetic"): "load_lvis_json + synthetic",
    ("detectron2", "any"): "our loader",
    ("detectron2", "any+synthetic"): "our loader + synthetic",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``tools/bench.py data``."""
    parser.add_argument(
        "--images", type=int, default=LVIS_IMAGES, help="real images of the stand-in (LVIS's)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="(default: 3)")
    parser.add_argument(
        "--frameworks", nargs="+", choices=tuple(ADAPTERS), help="(default: those installed)"
    )
    parser.add_argument("--out", type=Path, default=Path("work_dirs/bench"))
    parser.add_argument(
        "--standin", type=Path, help="folder of the stand-in, 1.1 GB (default: OUT/standin)"
    )


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Write the stand-in where it is missing, and measure it; see `measure_loading`.

    Raises:
        InputError: a framework that was asked for is missing, or none is installed.
    """
    frameworks = installed(args.frameworks)
    root = (args.standin or args.out / "standin").resolve()
    if not 1 <= args.images <= LVIS_IMAGES:
        raise InputError(f"--images {args.images}: expected 1 to {LVIS_IMAGES}")
    logger.info("writing the stand-in %s", root)
    _run(frameworks[0], "write", root, str(args.images))
    return measure_loading(root, frameworks, args.rounds)


def installed(asked: Sequence[str] | None) -> list[str]:
    """The frameworks to measure.

    Raises:
        InputError: one that was asked for is missing, or none is installed.
    """
    found = [name for name in ADAPTERS if importlib.util.find_spec(name) is not None]
    missing = [name for name in asked or () if name not in found]
    if missing or not found:
        raise InputError(f"{', '.join(missing) or ' and '.join(ADAPTERS)}: not installed")
    for name in ADAPTERS:
        if name not in found:
            logger.info("%s is not installed: not measured", name)
    return list(asked or found)


def measure_loading(
    root: Path, frameworks: Sequence[str], rounds: int, cases: Sequence[str] = CASES
) -> dict[str, Any]:
    """Measure the cases of the frameworks in turn.

    Args:
        root: a stand-in.
        frameworks: of `loading.ADAPTERS`.
        rounds: how often everything is measured.
        cases: of `loading.CASES`, the peer among them.

    Returns:
        JSON values: framework -> case -> the measurements of each round (see
        `loading.measure_case`) under ``rounds``, and under ``ratio`` the median ratio to the
        peer of ``wall``, ``user`` and ``peak``.
    """
    measured: dict[str, Any] = {f: {c: {"rounds": []} for c in cases} for f in frameworks}
    turns = [(f, c) for _ in range(rounds) for f in frameworks for c in cases]
    for framework, case in tqdm(turns, "measuring loading", unit="case"):
        text = _run(framework, case, root)
        found = json.loads(text.splitlines()[-1])
        logger.info("%s, %s: %s", framework, LABELS[framework, case], found)
        measured[framework][case]["rounds"].append(found)
    for results in measured.values():
        for result in results.values():
            pairs = list(zip(result["rounds"], results[PEER]["rounds"], strict=True))
            result["ratio"] = {
                key: statistics.median(ours[key] / theirs[key] for ours, theirs in pairs)
                for key in ("wall", "user", "peak")
            }
    return measured


def data_table(measured: dict[str, Any]) -> str:
    """The table of ``tools/bench.py data``: medians over the rounds."""
    lines = [
        "| framework | training set | images | seconds | CPU s | peak GB | seconds / peer "
        "| CPU / peer | memory / peer | repeat factors, s | CPU s |",
        "|---|---|" + "---:|" * 9,
    ]
    for framework, results in measured.items():
        for case, result in results.items():
            median = {
                key: statistics.median(r[key] for r in result["rounds"])
                for key in result["rounds"][0]
            }
            ratio = result["ratio"]
            lines.append(
                f"| {framework} | {LABELS[framework, case]} | {median['images']:.0f} "
                f"| {median['wall']:.1f} | {median['user']:.1f} | {median['peak'] / 1e9:.2f} "
                f"| {ratio['wall']:.2f} | {ratio['user']:.2f} | {ratio['peak']:.2f} "
                f"| {median['factors_wall']:.2f} | {median['factors_user']:.2f} |"
            )
    return "\n".join(lines)


def _run(framework: str, case: str, root: Path, *more: str) -> str:
    command = [sys.executable, "-m", "mf_plugin.bench.loading", framework, case, str(root), *more]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return done.stdout
