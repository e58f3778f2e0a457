"""Measure performance, always beside a named peer in the same run.

    python tools/bench.py generation --config configs/generation/minilvis_rare.py
    python tools/bench.py generation --config configs/generation/minilvis_rare.py --device cuda
    python tools/bench.py data --out work_dirs/bench
    python tools/bench.py data --images 5000 --rounds 1 --frameworks mmdet
    python tools/bench.py merge --out work_dirs/bench
    python tools/bench.py eval --out work_dirs/bench

Writes OUT/<name>.json and prints a table. Nothing else should run on the machine meanwhile. All
tables on one page:

    python tools/bench.py page --results work_dirs/bench --out docs/performance.md
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

from mf_plugin.bench import data, evaluation, merging
from mf_plugin.cli import run


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    benches = parser.add_subparsers(dest="bench", required=True)
    generation = benches.add_parser("generation", help="canvases per second; the bilateral solver")
    generation.add_argument("--config", required=True, help="generation config")
    generation.add_argument("--device", default="cpu", help="of torch (default: %(default)s)")
    generation.add_argument("--model", help="another model than the config's")
    generation.add_argument("--steps", type=int, help="other sampler steps than the config's")
    generation.add_argument("--dtype", choices=("fp32", "bf16", "fp16"), help="of the weights")
    generation.add_argument("--group-size", type=int, help="canvases a batch")
    generation.add_argument("--groups", type=int, default=2, help="a round (default: 2)")
    generation.add_argument("--rounds", type=int, default=3, help="(default: 3)")
    generation.add_argument("--out", type=Path, default=Path("work_dirs/bench"))
    generation.set_defaults(measure=measure_generation)
    loading = benches.add_parser("data", help="loading LVIS with synthetic data; repeat factors")
    data.add_arguments(loading)
    loading.set_defaults(measure=measure_data)
    joining = benches.add_parser("merge", help="reading, validating, merging LVIS's size")
    merging.add_arguments(joining)
    joining.set_defaults(measure=measure_merging)
    comparing = benches.add_parser("eval", help="comparing two runs at LVIS val's size")
    evaluation.add_arguments(comparing)
    comparing.set_defaults(measure=measure_evaluation)
    page = benches.add_parser("page", help="write the tables of all that was measured")
    page.add_argument("--results", type=Path, default=Path("work_dirs/bench"), metavar="DIR")
    page.add_argument("--out", type=Path, required=True, metavar="FILE", help="in markdown")
    return parser.parse_args()


def measure_generation(args: argparse.Namespace) -> tuple[dict[str, Any], str]:
    from mf_plugin.bench import generation
    from mf_plugin.bench.table import generation_table
    from mf_plugin.configfile import load_config_file
    from mf_plugin.generation.config import GenerationConfig

    config = load_config_file(args.config, GenerationConfig)
    changes = {
        name: getattr(args, name)
        for name in ("model", "steps", "dtype", "group_size")
        if getattr(args, name) is not None
    }
    config = dataclasses.replace(config, **changes)
    measured = generation.measure_generation(
        config, device=args.device, groups=args.groups, rounds=args.rounds
    )
    result = {"generation": measured, "solver": generation.measure_solver()}
    return result, generation_table(result)


def measure_data(args: argparse.Namespace) -> tuple[dict[str, Any], str]:
    measured = data.measure(args)
    return {"data": measured}, data.data_table(measured)


def measure_merging(args: argparse.Namespace) -> tuple[dict[str, Any], str]:
    measured = merging.measure(args)
    return {"merge": measured}, merging.merging_table(measured)


def measure_evaluation(args: argparse.Namespace) -> tuple[dict[str, Any], str]:
    measured = evaluation.measure(args)
    return {"eval": measured}, evaluation.evaluation_table(measured)


def main() -> None:
    args = parse_arguments()
    from mf_plugin.benchmark.machine import describe_machine
    from mf_plugin.lvis.io import write_bytes_atomic, write_json_atomic

    if args.bench == "page":
        from mf_plugin.bench.pages import performance_page

        text = performance_page(args.results)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        write_bytes_atomic(args.out, text.encode())
        print(args.out)
        return
    args.out.mkdir(parents=True, exist_ok=True)
    result, table = args.measure(args)
    machine = describe_machine(getattr(args, "device", "cpu"))
    command = " ".join(["python", "tools/bench.py", *sys.argv[1:]])
    content = {"machine": machine, "command": command, **result}
    write_json_atomic(args.out / f"{args.bench}.json", content, indent=1)
    print(table)


if __name__ == "__main__":
    run(main)
