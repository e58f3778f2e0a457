"""The benchmark on mini-LVIS: generate, train every arm, evaluate, report. Resumable and cached.

    python tools/benchmark_minilvis.py --config configs/benchmark/demo.py --out work_dirs/benchmark
    python tools/benchmark_minilvis.py --config configs/benchmark/demo.py --only refined oracle
    python tools/benchmark_minilvis.py --config configs/benchmark/demo.py --report-only \\
        --records docs/benchmark/records

A step's results lie in OUT/KIND/HASH, by the hash of what they depend on; a step that has finished
is not run again. Kill it at any moment: the same command goes on. --report-only needs records
alone, no results, no framework. A config is Python code and is executed.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from pathlib import Path

from mf_plugin import cli
from mf_plugin.benchmark.config import SPLITS, BenchmarkConfig, load_benchmark_config, select
from mf_plugin.benchmark.plan import Training, plan
from mf_plugin.benchmark.records import read_records, write_records
from mf_plugin.benchmark.report import make_report
from mf_plugin.benchmark.runner import run_steps
from mf_plugin.benchmark.steps import ordered
from mf_plugin.benchmark.tables import render_markdown, write_report
from mf_plugin.device import find_device
from mf_plugin.errors import InputError

REPOSITORY = Path(__file__).resolve().parents[1]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", required=True, help="a Python file with `config = ...`")
    parser.add_argument("--out", type=Path, default=Path("work_dirs/benchmark"))
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="ARM",
        help="these arms, and those that their gains are counted from",
    )
    parser.add_argument("--detectors", nargs="+", metavar="NAME", help="these alone")
    parser.add_argument("--seeds", nargs="+", type=int, help="instead of the config's")
    parser.add_argument("--split", choices=SPLITS, help="instead of the config's")
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="steps at the same time (default: 1)"
    )
    parser.add_argument("--device", help="of torch; default: cuda where there is one")
    parser.add_argument(
        "--records", type=Path, metavar="DIR", help="of the small records (OUT/records)"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--report-only", action="store_true", help="tables from the records")
    what.add_argument("--dry-run", action="store_true", help="print the steps and run nothing")
    return parser.parse_args()


def show_plan(trainings: list[Training], out: Path) -> int:
    """Print every step's command; returns 1 if a command names a file that does not exist."""
    steps = ordered([training.record for training in trainings])
    done = 0
    for number, step in enumerate(steps, start=1):
        finished = step.is_done(out)
        done += finished
        state = "done" if finished else "to do"
        print(f"[{number}/{len(steps)}] {step.name} ({state})")
        print(f"    python {shlex.join(step.shown(out))}")
        for missing in step.missing:
            print(f"    missing: {missing}")
    print(f"{len(trainings)} trainings, {len(steps)} steps, {done} of them done")
    return int(any(step.missing for step in steps))


def report(
    config: BenchmarkConfig, out: Path, records: Path, among: list[Path] | None = None
) -> None:
    """Make the tables from records, or from those ``among`` them, print and write them."""
    content = make_report(config, read_records(config, records, among))
    paths = write_report(content, out / "report")
    print(render_markdown(content))
    print(paths["md"])


def main() -> int:
    # As Ctrl-C: what runs is ended first. Without it, steps would go on alone.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    args = parse_arguments()
    config = select(
        load_benchmark_config(args.config),
        arms=args.only,
        detectors=args.detectors,
        seeds=args.seeds,
        split=args.split,
    )
    records = args.records or args.out / "records"
    if args.report_only:
        report(config, args.out, records)
        return 0
    trainings = plan(config, REPOSITORY)
    out = args.out.absolute()
    if args.dry_run:
        return show_plan(trainings, out)
    failed = run_steps(
        [training.record for training in trainings],
        out,
        jobs=args.jobs,
        device=args.device or find_device(),
    )
    # Records of earlier code may lie there too: a table holds what this run stands for.
    written = write_records(config, trainings, out, records)
    if written:
        report(config, args.out, records, written)
    if failed:
        lines = "\n  ".join(f"{name}: {problem}" for name, problem in failed.items())
        raise InputError(f"{len(failed)} steps were not done:\n  {lines}")
    return 0


if __name__ == "__main__":
    cli.run(main)
