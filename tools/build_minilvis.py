"""Builds mini-LVIS: DIR/train, DIR/minival and DIR/val, or the splits asked for.

    python tools/build_minilvis.py --out work_dirs/demo/data --preset demo

DIR/train-novel is DIR/train less all annotations of rare categories, for the open-vocabulary study:

    python tools/build_minilvis.py --out work_dirs/demo/data --preset demo --split train-novel

The oracle of a synthetic dataset holds real renderings in its place, as many of each category in
each image, in the training styles; train_net.py --synthetic takes it:

    python tools/build_minilvis.py --preset demo --oracle work_dirs/demo/synthetic \\
        --out work_dirs/demo/oracle
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mf_plugin import cli
from mf_plugin.errors import InputError
from mf_plugin.lvis.minilvis import NUM_IMAGES, SPLITS, build_split
from mf_plugin.lvis.novel import build_novel
from mf_plugin.lvis.oracle import build_oracle

NOVEL = "train-novel"
SIZE = (160, 160)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="folder; a split is OUT/SPLIT, the oracle is OUT"
    )
    parser.add_argument(
        "--split",
        choices=(*SPLITS, NOVEL),
        action="append",
        help="may be repeated; default: train, minival and val",
    )
    parser.add_argument(
        "--oracle", type=Path, metavar="DIR", help="build the oracle of this synthetic dataset"
    )
    parser.add_argument(
        "--preset",
        choices=NUM_IMAGES,
        default="demo",
        help="the categories and the number of images (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of the compositions (default: %(default)s)"
    )
    parser.add_argument("--num-images", type=int, help="of each split; default: the preset's")
    parser.add_argument(
        "--size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), help="default: 160 160"
    )
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    if args.oracle is not None:
        if args.split or args.num_images is not None or args.size:
            raise InputError(
                "--oracle excludes --split, --num-images and --size: they follow from the "
                "synthetic dataset"
            )
        print(build_oracle(args.out, args.oracle, args.preset, args.seed))
        return
    size = tuple(args.size or SIZE)
    for split in args.split or SPLITS:
        base = "train" if split == NOVEL else split
        folder = build_split(args.out / base, base, args.preset, args.seed, args.num_images, size)
        if split == NOVEL:
            folder = build_novel(args.out / NOVEL, folder)
        print(folder)


if __name__ == "__main__":
    cli.run(main)
