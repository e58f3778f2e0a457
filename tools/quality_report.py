"""The quality report of a finished dataset, made again, with a judge's class-confidence if wanted.

    python tools/quality_report.py --dataset work_dirs/demo/synthetic \\
        --judge minilvis:work_dirs/judge

Reads annotations.json, manifest.jsonl and images/; rewrites "quality" in dataset.json, and
gallery.html. A judge only measures: the dataset's images and annotations are not touched. Without
--judge the report has no judge's part, whatever it had before.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mf_plugin import cli
from mf_plugin.evaluation.dataset_quality import load_judge, score_objects
from mf_plugin.generation.finished import FinishedDataset, rewrite_report
from mf_plugin.generation.quality import JudgeScores


def percent(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.1f} %"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--dataset", required=True, type=Path, metavar="DIR", help="a finished dataset folder"
    )
    parser.add_argument(
        "--judge",
        metavar="KIND:WHERE",
        help="minilvis:FOLDER keeps the mini-LVIS judge in FOLDER and trains it where it is not "
        "there (minutes); clip:MODEL is a CLIP model of transformers, a folder or a hub id",
    )
    args = parser.parse_args()

    def judge(dataset: FinishedDataset) -> JudgeScores:
        loaded = load_judge(args.judge, dataset, progress=True)
        return score_objects(dataset, loaded, progress=True)

    report = rewrite_report(args.dataset, judge if args.judge else None)
    everything, stability = report["all"], report["stability"]
    print(
        f"accepted {everything['accepted']} of {everything['objects']} objects "
        f"({percent(everything['acceptance'])})"
    )
    for reason, row in report["reasons"].items():
        print(f"  {percent(row['share']):>7}  {reason}")
    if stability["objects"]:
        print(
            f"mask stability {stability['mean']:.3f}; "
            f"{percent(stability['unstable'])} under {stability['unstable_below']}"
        )
    if "judge" in report and report["judge"]["objects"]:
        judged = report["judge"]
        print(
            f"{judged['judge']}: confidence {judged['confidence']:.3f}, names "
            f"{percent(judged['named_right'])} of {judged['objects']} objects as asked"
        )
    print(args.dataset / "gallery.html")


if __name__ == "__main__":
    cli.run(main)
