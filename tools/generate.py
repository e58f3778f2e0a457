"""Generate a synthetic dataset: images with instance masks, in LVIS format.

    python tools/generate.py --config configs/generation/minilvis_rare.py --out work_dirs/rare

Run the same command again to go on with an unfinished one. The page to look at is OUT/gallery.html.
A config is Python code and is executed: use configs that you trust.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging

from mf_plugin import cli
from mf_plugin.generation.config import load_generation_config
from mf_plugin.generation.run import generate, preview

logger = logging.getLogger("generate")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", required=True, help="a Python file with `config = ...`")
    parser.add_argument("--out", required=True, metavar="DIR", help="the dataset folder")
    parser.add_argument(
        "--num-images",
        type=int,
        metavar="N",
        help="canvases, in turn for each main category; no further rounds follow",
    )
    parser.add_argument("--seed", type=int, metavar="S", help="instead of the config's")
    parser.add_argument("--device", default="cpu", help="of torch: cpu, cuda, cuda:1")
    parser.add_argument("--model", metavar="ID_OR_FOLDER", help="instead of the config's")
    parser.add_argument(
        "--preview",
        type=int,
        metavar="N",
        help="only render the first N canvases, into DIR-preview, replacing an earlier preview",
    )
    parser.add_argument(
        "--mask-workers",
        type=int,
        default=1,
        metavar="N",
        help="processes that make masks while the U-Net goes on (default: 1)",
    )
    parser.add_argument("--launcher", choices=("none",), default="none")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    config = load_generation_config(arguments.config)
    changes = {
        name: getattr(arguments, name)
        for name in ("num_images", "seed", "model")
        if getattr(arguments, name) is not None
    }
    if "num_images" in changes:
        changes["until"] = None
    if "model" in changes:
        changes["revision"] = None  # of the config's model
    config = dataclasses.replace(config, **changes)
    if arguments.preview is None:
        folder = generate(
            config,
            arguments.out,
            device=arguments.device,
            mask_workers=arguments.mask_workers,
        )
    else:
        folder = preview(config, arguments.out, arguments.preview, device=arguments.device)
    logger.info("%s", folder / "gallery.html")


if __name__ == "__main__":
    cli.run(main)
