"""LVIS AP of runs by frequency group, and what each run gains over the first.

    python tools/eval_rare.py --gt val.json --run real=a1.json --run synthetic=b1.json \\
        --run real=a2.json --run synthetic=b2.json --out report

A repeated NAME is a further seed of that run; the n-th seeds of two runs are a pair.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from mf_plugin import cli
from mf_plugin.errors import InputError
from mf_plugin.evaluation.compare import compare_runs
from mf_plugin.evaluation.report import format_table, write_report


def parse_pair(text: str, option: str, expected: str) -> tuple[str, str]:
    name, separator, path = text.partition("=")
    if not (name and separator and path):
        raise InputError(f"{option} {text!r}, expected {expected}")
    return name, path


def parse_synthetic(options: list[str]) -> dict[str, str]:
    pairs = [parse_pair(text, "--synthetic", "NAME=DIR") for text in options]
    if len(dict(pairs)) < len(pairs):
        raise InputError(f"--synthetic {options[-1]!r}: expected one folder a run")
    return dict(pairs)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--gt", required=True, metavar="GT.json", help="ground truth in LVIS's form or COCO's"
    )
    parser.add_argument(
        "--run",
        action="append",
        required=True,
        metavar="NAME=RESULTS.json",
        help="results of Detectron2 or MMDetection; the first NAME is the baseline",
    )
    parser.add_argument(
        "--train",
        metavar="TRAIN.json",
        help="real training set: gives the groups where GT.json has no frequency, and the number "
        "of instances beside each category's gain",
    )
    parser.add_argument(
        "--synthetic",
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="synthetic dataset that run NAME was trained on as well: its instances are shown too",
    )
    parser.add_argument("--out", default="report", metavar="DIR", help="default: %(default)s")
    parser.add_argument(
        "--bootstrap", type=int, default=1000, metavar="N", help="draws; default: %(default)s"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the draws; default: %(default)s")
    parser.add_argument("--title", default="Rare-category AP", help="default: %(default)s")
    args = parser.parse_args()

    report = compare_runs(
        args.gt,
        [parse_pair(run, "--run", "NAME=RESULTS.json") for run in args.run],
        train=args.train,
        synthetic=parse_synthetic(args.synthetic),
        num_bootstrap=args.bootstrap,
        seed=args.seed,
        progress=True,
    )
    command = shlex.join(["python", "tools/eval_rare.py", *sys.argv[1:]])
    paths = write_report(report, Path(args.out), title=args.title, commands=[command])
    print(format_table(report))
    print(f"\n{paths['html']}")


if __name__ == "__main__":
    cli.run(main)
