"""One LVIS json of real and synthetic images, for a framework that this plugin has no adapter for.

    python tools/merge_lvis.py --real work_dirs/demo/data/train/annotations.json \\
        --images work_dirs/demo/data/train --synthetic work_dirs/demo/synthetic \\
        --out work_dirs/merged.json

Paths in it start from the folder that holds both image roots, which is printed. No image is copied.
MMDetection and Detectron2 need no such file: train_net.py --synthetic.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mf_plugin import cli
from mf_plugin.data.provider import SyntheticDataset
from mf_plugin.errors import InputError
from mf_plugin.lvis.io import read_lvis, write_json_atomic
from mf_plugin.lvis.merge import common_root, merge_lvis


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--real", type=Path, required=True, metavar="JSON", help="LVIS annotations")
    parser.add_argument(
        "--images", type=Path, required=True, metavar="DIR", help="what their paths start from"
    )
    parser.add_argument(
        "--synthetic", type=Path, required=True, metavar="DIR", help="a finished dataset folder"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="JSON", help="a new file")
    args = parser.parse_args()
    if args.out.exists():
        raise InputError(f"{args.out} exists: expected a new file")
    dataset = SyntheticDataset(args.synthetic)
    dataset.ensure()
    roots = {"real_root": args.images, "synthetic_root": dataset.image_root}
    merged = merge_lvis(read_lvis(args.real), read_lvis(dataset.annotations_file), **roots)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_json_atomic(args.out, merged)
    print(f"{args.out}: {len(merged['images'])} images, paths from {common_root(*roots.values())}")


if __name__ == "__main__":
    cli.run(main)
