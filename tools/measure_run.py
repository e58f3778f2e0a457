"""Measure one results file so that it can be compared later without it: a step of the benchmark.

python tools/measure_run.py --gt val.json --results run/results.segm.json --out measured.json
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mf_plugin import cli
from mf_plugin.benchmark.measure import measure_run
from mf_plugin.lvis.io import write_json_atomic


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gt", required=True, help="ground truth in LVIS's form or COCO's")
    parser.add_argument("--results", required=True, help="of Detectron2 or MMDetection")
    parser.add_argument("--out", type=Path, required=True, help="the json to write")
    parser.add_argument("--draws", type=int, default=1000, help="of the bootstrap")
    parser.add_argument("--seed", type=int, default=0, help="of the draws; default: %(default)s")
    args = parser.parse_args()
    measured = measure_run(args.gt, args.results, num_draws=args.draws, seed=args.seed)
    write_json_atomic(args.out, measured)


if __name__ == "__main__":
    cli.run(main)
