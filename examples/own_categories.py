"""Generate a dataset of your own categories.

Bare names, in your order, or an LVIS json with definitions and frequency groups:

    python examples/own_categories.py --names dagger dove kimono --out work_dirs/examples/names
    python examples/own_categories.py --lvis my_lvis.json --out work_dirs/examples/lvis

The bundled model paints the 30 categories of mini-LVIS's demo preset and no others: give any other
name to a model of yours with --model. See examples/own_model.py for what else a larger model wants.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from mf_plugin import cli
from mf_plugin.generation.config import load_generation_config
from mf_plugin.generation.run import generate
from mf_plugin.vocabulary import Vocabulary

CONFIG = Path(__file__).resolve().parents[1] / "configs/generation/minilvis_rare.py"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--names", nargs="+", metavar="NAME")
    source.add_argument(
        "--lvis", type=Path, metavar="JSON", help="annotations, or categories alone"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", help="diffusers folder or hub id (default: the bundled one)")
    parser.add_argument("--num-images", type=int, default=4)
    parser.add_argument("--steps", type=int, default=10)
    args = parser.parse_args()

    # 1. The vocabulary: every category of it stands in the dataset's json, in this order.
    if args.names:
        vocabulary = Vocabulary.from_names(args.names)
        json_file = args.out.with_name(args.out.name + "-categories.json")
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(vocabulary.to_lvis()), encoding="utf-8")
    else:
        json_file = args.lvis
        vocabulary = Vocabulary.from_lvis_json(json_file)

    # 2. What to paint: the rare categories, or all where nothing says which are rare.
    rare = [c.name for c in vocabulary if c.frequency == "r"]
    every = tuple(c.name for c in vocabulary)
    config = dataclasses.replace(
        load_generation_config(CONFIG),
        vocabulary=json_file,
        main_categories=tuple(rare) or every,
        other_categories=every,
        num_images=args.num_images,
        steps=args.steps,
        threads=1,
    )
    if args.model:
        config = dataclasses.replace(config, model=args.model)

    # 3. The dataset. The same command goes on with an unfinished one.
    folder = generate(config, args.out)
    print(folder / "annotations.json")
    print(folder / "gallery.html")


if __name__ == "__main__":
    cli.run(main)
