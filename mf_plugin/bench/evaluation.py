"""What a comparison of two runs costs at LVIS val's size, and evaluation against named peers.

The comparison is all that tools/eval_rare.py does, in a process of its own: reading, AP of boxes
and masks, fixed AP, bootstrap. The peers measure mask AP of one file on the first images of the
set, each in a process of its own, in turn, from json files to numbers: lvis-api, faster-coco-eval
where it is installed, and hotcoco's own reader and evaluator.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import os
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mf_plugin.bench.alone import measure_alone
from mf_plugin.bench.results_standin import write_standin
from mf_plugin.evaluation.pieces import as_dict, pieces_of_file
from mf_plugin.lvis.io import write_json_atomic

Peer = Callable[[Path, Path], float]
TARGET = {"wall_s": 120, "peak_gb": 4.0}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `measure`."""
    parser.add_argument("--images", type=int, default=20_000, help="(default: %(default)s)")
    parser.add_argument("--detections", type=int, default=300, help="an image (default: 300)")
    parser.add_argument("--bootstrap", type=int, default=1000, help="draws (default: 1000)")
    parser.add_argument("--subset", type=int, default=500, help="images of the peers' part")
    parser.add_argument("--rounds", type=int, default=3, help="of the peers' part (default: 3)")
    parser.add_argument("--out", type=Path, default=Path("work_dirs/bench"))


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Measure; the stand-in goes to ``OUT/evaluation-<images>x<detections>`` and is kept.

    Returns:
        "comparison": wall and CPU seconds, peak GB and the target; "peers": for each the seconds of
        every round, the peak and the mask AP that it finds; "ratio": median of ours over theirs,
        of CPU seconds, which other work on the machine changes least.
    """
    folder = args.out / f"evaluation-{args.images}x{args.detections}"
    files = _standin(folder, args.images, args.detections)
    comparison = measure_alone(_compare, files["gt"], files["runs"], args.bootstrap)
    subset = _subset(files, folder, min(args.subset, args.images))
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in peers()}
    for _ in tqdm(range(args.rounds), "measuring peers", unit="round"):
        for name, work in peers().items():
            rounds[name].append(measure_alone(work, *subset))
    cpu = {name: [r["cpu_s"] for r in found] for name, found in rounds.items()}
    return {
        "images": args.images,
        "detections": args.images * args.detections,
        "bootstrap": args.bootstrap,
        "cores": len(os.sched_getaffinity(0)),
        "comparison": comparison,
        "target": TARGET,
        "subset": args.subset,
        "peers": rounds,
        "ratio": {
            name: statistics.median(a / b for a, b in zip(cpu["mf_plugin"], values, strict=True))
            for name, values in cpu.items()
            if name != "mf_plugin"
        },
    }


def evaluation_table(result: dict[str, Any]) -> str:
    """`measure`'s numbers as a markdown table."""
    whole, rows = result["comparison"], []
    rows.append(("comparison of two runs, wall s", f"{whole['wall_s']:.0f}"))
    rows.append(("comparison of two runs, CPU s", f"{whole['cpu_s']:.0f}"))
    rows.append(("comparison of two runs, peak GB", f"{whole['peak_gb']:.2f}"))
    for name, found in result["peers"].items():
        seconds = statistics.median(r["cpu_s"] for r in found)
        rows.append((f"{name}, mask AP {found[0]['result']:.4f}, CPU s", f"{seconds:.2f}"))
    rows += [(f"CPU time / {name}'s", f"{ratio:.3f}") for name, ratio in result["ratio"].items()]
    head = (
        f"{result['images']:,} images, {result['detections']:,} detections a run, "
        f"{result['bootstrap']} draws, {result['cores']} cores; peers on {result['subset']} images"
    )
    body = "\n".join(f"| {name} | {value} |" for name, value in rows)
    return f"{head}\n\n| measure | value |\n|---|---:|\n{body}"


def peers() -> dict[str, Peer]:
    """name -> mask AP in percent from a ground truth and a results file."""
    found: dict[str, Peer] = {"mf_plugin": _ours, "hotcoco": _hotcoco}
    for name, module, work in (
        ("lvis-api", "lvis", _lvis_api),
        ("faster-coco-eval", "faster_coco_eval", _faster_coco_eval),
    ):
        if importlib.util.find_spec(module) is not None:
            found[name] = work
    return found


def _ours(gt: Path, results: Path) -> float:
    from mf_plugin.evaluation.rare import evaluate_lvis

    ap: float = evaluate_lvis(gt, results, ["segm"])["segm"]["AP"]
    return ap


def _hotcoco(gt: Path, results: Path) -> float:
    import hotcoco

    truth = hotcoco.COCO(str(gt))
    # the area of a detection is its box's here, its mask's in the others: AP is not concerned
    evaluator = hotcoco.LVISeval(truth, hotcoco.LVISResults(truth, str(results), 300), "segm")
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summary_lines()
    return 100 * float(evaluator.get_results()["AP"])


def _lvis_api(gt: Path, results: Path) -> float:
    import numpy as np

    if not hasattr(np, "float"):
        setattr(np, "float", float)  # noqa: B010  the released lvis-api needs it
    from lvis import LVIS, LVISEval, LVISResults

    truth = LVIS(str(gt))
    entries = json.loads(Path(results).read_text())
    for entry in entries:
        del entry["bbox"]  # as Detectron2 does: areas of masks
    evaluator = LVISEval(truth, LVISResults(truth, entries, max_dets=300), "segm")
    evaluator.run()
    return 100 * float(evaluator.results["AP"])


def _faster_coco_eval(gt: Path, results: Path) -> float:
    from faster_coco_eval import COCO, COCOeval_faster

    truth = COCO(str(gt))
    evaluator = COCOeval_faster(truth, truth.loadRes(str(results)), "segm", lvis_style=True)
    evaluator.params.maxDets = [300]
    evaluator.run()
    return 100 * float(evaluator.stats_as_dict["AP_all"])


def _compare(gt: Path, runs: list[Path], draws: int) -> float:
    from mf_plugin.evaluation.compare import compare_runs

    named = [(f"run{i}", path) for i, path in enumerate(runs)]
    report = compare_runs(gt, named, num_bootstrap=draws)
    gain: float = report["delta"]["run1"]["segm"]["AP"]
    return gain


def _standin(folder: Path, images: int, detections: int) -> dict[str, Any]:
    done = folder / "files.json"
    if not done.is_file():
        files = write_standin(folder, images, detections)
        names = {"gt": files["gt"].name, "runs": [path.name for path in files["runs"]]}
        write_json_atomic(done, names)
    names = json.loads(done.read_text())
    return {"gt": folder / names["gt"], "runs": [folder / name for name in names["runs"]]}


def _subset(files: dict[str, Any], folder: Path, images: int) -> tuple[Path, Path]:
    """The first images' part of the ground truth and of the first run."""
    gt, results = folder / f"gt-{images}.json", folder / f"run-{images}.segm.json"
    if not results.is_file():
        data = json.loads(files["gt"].read_text())
        data["images"] = data["images"][:images]
        kept = {image["id"] for image in data["images"]}
        data["annotations"] = [a for a in data["annotations"] if a["image_id"] in kept]
        write_json_atomic(gt, data)
        entries = map(as_dict, itertools.chain.from_iterable(pieces_of_file(files["runs"][0])))
        part = itertools.takewhile(lambda e: e["image_id"] in kept, entries)
        write_json_atomic(results, list(part))
    return gt, results
