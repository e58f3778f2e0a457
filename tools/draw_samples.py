"""Draw some images of a dataset folder as one picture, plain and with their masks.

python tools/draw_samples.py work_dirs/demo/synthetic --out samples.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mf_plugin import cli
from mf_plugin.evaluation.samples_sheet import draw_samples


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="with annotations.json, synthetic or real")
    parser.add_argument("--out", type=Path, required=True, help="the picture to write")
    parser.add_argument("--count", type=int, default=6, help="of images; default: %(default)s")
    parser.add_argument("--columns", type=int, default=6, help="default: %(default)s")
    parser.add_argument("--side", type=int, default=224, help="pixels; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the choice")
    args = parser.parse_args()
    sheet = draw_samples(
        args.folder, count=args.count, columns=args.columns, side=args.side, seed=args.seed
    )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(args.out)
    print(args.out)


if __name__ == "__main__":
    cli.run(main)
