"""Builds mini-LVIS: DIR/train, DIR/minival and DIR/val, or the splits asked for.

python tools/build_minilvis.py --out work_dirs/demo/data --preset demo
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mf_plugin import cli
from mf_plugin.lvis.minilvis import NUM_IMAGES, SPLITS, build_split


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder; a split is OUT/SPLIT")
    parser.add_argument(
        "--split", choices=SPLITS, action="append", help="may be repeated; default: all three"
    )
    parser.add_argument("--preset", choices=NUM_IMAGES, default="demo")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num-images", type=int, help="of each split; default: the preset's")
    parser.add_argument(
        "--size", type=int, nargs=2, default=(160, 160), metavar=("HEIGHT", "WIDTH")
    )
    args = parser.parse_args()
    for split in args.split or SPLITS:
        folder = build_split(
            args.out / split, split, args.preset, args.seed, args.num_images, tuple(args.size)
        )
        print(folder)


if __name__ == "__main__":
    cli.run(main)
