"""From nothing to a rare-category AP table: mini-LVIS, MosaicFusion, two trainings, the report.

Seed 1 (what `make demo` runs), three seeds, another line of docs/detectors.md:

    python tools/demo.py
    python tools/demo.py --seeds 1 2 3
    python tools/demo.py --framework detectron2 --detector centernet2

Every step is a command of this repository, printed before it runs; the two trainings of a seed run
side by side, a share of the cores each. A step that has finished is not run again; --fresh starts
anew.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from mf_plugin.benchmark.fingerprint import hash_files
from mf_plugin.benchmark.processes import start, stop
from mf_plugin.cli import run
from mf_plugin.detectron2.install import require_detectron2
from mf_plugin.errors import InputError
from mf_plugin.evaluation.report import add_to_report
from mf_plugin.lvis.io import write_json_atomic

REPOSITORY = Path(__file__).resolve().parents[1]
ARMS = {"real": "", "mosaicfusion": "_mosaicfusion"}  # name -> end of its config's name
SUFFIXES = {"mmdet": ".py", "detectron2": ".yaml"}
DETECTORS = {"mask-rcnn": "Mask R-CNN", "centernet2": "CenterNet2"}
GENERATION = "configs/generation/minilvis_rare.py"


@dataclass(frozen=True)
class Choice:
    """What is trained, and where it is measured."""

    framework: str
    detector: str
    seeds: list[int]
    split: str

    def folder(self, out: Path) -> Path:
        """Where the arms and the report go; MMDetection's Mask R-CNN needs no folder of its own."""
        name = f"{self.framework}-{self.detector}"
        return out if name == "mmdet-mask-rcnn" else out / name

    def overrides(self, data: Path) -> list[str]:
        """The options that move a config to the folder ``data`` and to the split."""
        moved = self.split != "val"
        if self.framework == "detectron2":
            options = ["MOSAICFUSION.DATA_ROOT", str(data)]
            return options + ["DATASETS.TEST", f"('minilvis-demo_{self.split}',)"] * moved
        options = ["--cfg-options", f"data_root={data}"]
        return options + moved * [
            f"test_dataloader.dataset.ann_file={self.split}/annotations.json",
            f"test_dataloader.dataset.data_prefix.img={self.split}",
        ]


@dataclass(frozen=True)
class Step:
    """One command of the demo: its name, why it runs, its arguments, and what it leaves."""

    name: str
    why: str
    arguments: list[str]
    result: Path


def plan(out: Path, choice: Choice) -> list[list[Step]]:
    """The demo's stages up to the predictions; the steps of a stage run at the same time."""
    data, synthetic = out / "data", out / "synthetic"
    data_steps = [
        Step(
            f"data {part}",
            f"compose the {part} split of mini-LVIS: {why}",
            ["tools/build_minilvis.py", "--preset", "demo", "--split", part] + ["--out", str(data)],
            data / part / "annotations.json",
        )
        for part, why in (
            ("train", "long-tailed, rare categories in one drawing style only"),
            (choice.split, "drawn in a style that no training sees"),
        )
    ]
    generate = Step(
        "generate",
        "paint the rare categories with MosaicFusion, masks from cross-attention",
        ["tools/generate.py", "--config", GENERATION, "--out", str(synthetic)],
        synthetic / "dataset.json",
    )
    stages = [*([step] for step in data_steps), [generate]]
    for seed in choice.seeds:
        arms = []
        for arm, end in ARMS.items():
            name = f"{choice.detector}_r18_fpn_minilvis-demo{end}{SUFFIXES[choice.framework]}"
            work = choice.folder(out) / arm / f"seed{seed}"
            flag = ["--synthetic", str(synthetic)] if arm == "mosaicfusion" else ["--no-synthetic"]
            what = "with the synthetic images" if arm == "mosaicfusion" else "on real images alone"
            arms.append(
                Step(
                    f"train {work.relative_to(out)}",
                    f"train {DETECTORS[choice.detector]} {what}, then predict {choice.split}",
                    ["tools/train_net.py", "--config", f"configs/{choice.framework}/{name}", *flag]
                    + ["--seed", str(seed), "--work-dir", str(work), *choice.overrides(data)],
                    work / "results.segm.json",
                )
            )
        stages.append(arms)
    return stages


def evaluate(out: Path, choice: Choice) -> Step:
    """The last step: the table."""
    folder = choice.folder(out)
    runs = []
    for arm in ARMS:
        for seed in choice.seeds:
            runs += ["--run", f"{arm}={folder / arm / f'seed{seed}' / 'results.segm.json'}"]
    truth = out / "data" / choice.split / "annotations.json"
    runs += ["--train", str(out / "data/train/annotations.json")]  # counts beside each gain
    runs += ["--synthetic", f"mosaicfusion={out / 'synthetic'}"]
    title = f"Demo: {DETECTORS[choice.detector]} on mini-LVIS"
    return Step(
        f"evaluate {folder.relative_to(out)}",
        f"compare box and mask AP of both arms on {choice.split}, by frequency group",
        ["tools/eval_rare.py", "--gt", str(truth), *runs]
        + ["--out", str(folder / "report"), "--title", title],
        folder / "report" / "report.json",
    )


class Log:
    """Seconds of the finished steps, kept with a fingerprint of command and code."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.steps: dict[str, dict] = {}
        if path.exists():
            try:
                self.steps = json.loads(path.read_text())
            except json.JSONDecodeError as error:
                raise InputError(f"{path} is damaged ({error}): start anew with --fresh") from error

    def has(self, step: Step, fingerprint: str) -> bool:
        known = self.steps.get(step.name, {})
        return known.get("fingerprint") == fingerprint and step.result.exists()

    def add(self, name: str, fingerprint: str, seconds: float) -> None:
        self.steps[name] = {"fingerprint": fingerprint, "seconds": round(seconds, 1)}
        write_json_atomic(self.path, self.steps)


def code_fingerprint() -> str:
    """Hash of everything that the results depend on: code, configs, assets."""
    return hash_files(REPOSITORY, ("mf_plugin", "configs", "tools"))


def run_stage(steps: list[Step], number: str) -> dict[str, float]:
    """Run the steps of a stage at the same time; returns the seconds of each by its name.

    Raises:
        InputError: a step failed; the others have been ended.
    """
    for step in steps:
        sys.stderr.write(f"\n[{number}] {step.why}\n    python {shlex.join(step.arguments)}\n")
    began, seconds = time.time(), {}
    running = {}
    for position, step in enumerate(steps):
        bars = {"TQDM_POSITION": str(position)} if len(steps) > 1 else {}
        running[step.name] = start(step.arguments, REPOSITORY, jobs=len(steps), environment=bars)
    try:
        while running:
            time.sleep(0.2)
            for name, process in list(running.items()):
                if process.poll() is None:
                    continue
                if process.returncode:
                    raise InputError(f"step '{name}' failed with exit code {process.returncode}")
                seconds[name] = time.time() - began
                del running[name]
    finally:
        for process in running.values():
            stop(process)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("work_dirs/demo"),
        help="folder for data, images, trainings and report (default: %(default)s)",
    )
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[1], help="of training (default: 1)"
    )
    parser.add_argument(
        "--split",
        choices=("val", "minival"),
        default="val",
        help="where to measure: choices are made on minival, tables read off val (default)",
    )
    parser.add_argument(
        "--framework",
        choices=tuple(SUFFIXES),
        default="mmdet",
        help="that trains (default: %(default)s)",
    )
    parser.add_argument(
        "--detector",
        choices=tuple(DETECTORS),
        default="mask-rcnn",
        help="that is trained (default: %(default)s)",
    )
    parser.add_argument("--fresh", action="store_true", help="forget what earlier runs made")
    args = parser.parse_args()

    if args.framework == "detectron2":
        require_detectron2()
    if args.fresh and args.out.exists():
        shutil.rmtree(args.out)
    args.out.mkdir(parents=True, exist_ok=True)
    log, code = Log(args.out / "steps.json"), code_fingerprint()
    choice = Choice(args.framework, args.detector, args.seeds, args.split)
    stages = plan(args.out, choice)
    stages.append([evaluate(args.out, choice)])
    began = time.time()
    for i, stage in enumerate(stages, start=1):
        number = f"{i}/{len(stages)}"
        fingerprints = {
            step.name: hashlib.sha256((code + shlex.join(step.arguments)).encode()).hexdigest()
            for step in stage
        }
        waiting = [step for step in stage if not log.has(step, fingerprints[step.name])]
        for step in stage:
            if step not in waiting:
                sys.stderr.write(f"\n[{number}] {step.why}: done before\n")
        for name, spent in run_stage(waiting, number).items() if waiting else ():
            log.add(name, fingerprints[name], spent)
    seconds = {step.name: log.steps[step.name]["seconds"] for stage in stages for step in stage}
    report = choice.folder(args.out) / "report"
    add_to_report(report / "report.json", seconds=seconds)
    minutes = (time.time() - began) / 60
    print(f"\n{minutes:.1f} minutes. Report: {report / 'report.html'}")


if __name__ == "__main__":
    run(main)
