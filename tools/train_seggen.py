"""Train SegGen's Text2Mask or Mask2Img; stop it at any time, the same command goes on.

    python tools/train_seggen.py --config configs/seggen/tiny_text2mask_minilvis-demo.py \\
        --work-dir work_dirs/text2mask

On several GPUs: accelerate launch tools/train_seggen.py ... A config is Python code and is
executed: use configs that you trust.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
from pathlib import Path

from mf_plugin import cli
from mf_plugin.seggen.training.config import load_train_config
from mf_plugin.seggen.training.train import train

logger = logging.getLogger("train_seggen")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", required=True, help="a Python file with `config = ...`")
    parser.add_argument(
        "--work-dir", required=True, type=Path, metavar="DIR", help="checkpoints, log and samples"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="the model's folder (default: WORK_DIR/model)"
    )
    parser.add_argument(
        "--resume",
        default="auto",
        metavar="auto|never|DIR",
        help="go on from the latest checkpoint (default), from none, or from a checkpoint's folder",
    )
    parser.add_argument("--model", metavar="ID_OR_FOLDER", help="base, instead of the config's")
    parser.add_argument("--seed", type=int, metavar="S", help="instead of the config's")
    parser.add_argument("--device", metavar="cpu", choices=("cpu",), help="keep off the GPU")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    config = load_train_config(arguments.config)
    if arguments.model is not None:
        config = dataclasses.replace(config, base=arguments.model)
    if arguments.seed is not None:
        config = dataclasses.replace(config, seed=arguments.seed)
    folder = train(
        config,
        arguments.work_dir,
        arguments.out,
        device=arguments.device,
        resume=arguments.resume,
    )
    logger.info("%s", folder)


if __name__ == "__main__":
    cli.run(main)
