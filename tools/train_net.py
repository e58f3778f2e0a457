"""Train a detector, with or without synthetic data, and write its predictions.

    python tools/train_net.py --config configs/mmdet/mask-rcnn_r18_fpn_minilvis-demo.py \\
        --synthetic work_dirs/demo/synthetic --work-dir work_dirs/demo/synthetic_arm

Predictions of the test set go to WORK_DIR/results.segm.json, which tools/eval_rare.py reads.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from mf_plugin import cli
from mf_plugin.errors import InputError

logger = logging.getLogger("train_net")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", required=True, help="a config of MMDetection, ours or your own")
    parser.add_argument(
        "--framework", choices=("mmdet", "detectron2"), help="where a .py config leaves it open"
    )
    data = parser.add_mutually_exclusive_group()
    data.add_argument("--synthetic", metavar="DIR", help="train on this dataset as well")
    data.add_argument(
        "--no-synthetic", action="store_true", help="leave out what the config adds"
    )
    parser.add_argument(
        "--policy", choices=("joint", "real", "ratio"), help="how synthetic images are sampled"
    )
    parser.add_argument(
        "--synthetic-ratio", type=float, metavar="R", help="their share of an epoch (policy ratio)"
    )
    parser.add_argument("--work-dir", metavar="DIR", help="logs, checkpoints and predictions")
    parser.add_argument("--seed", type=int, help="of weights, draws and augmentation")
    parser.add_argument(
        "--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="override the config"
    )
    parser.add_argument("--resume", action="store_true", help="go on from the latest checkpoint")
    parser.add_argument("--eval-only", action="store_true", help="predict only")
    parser.add_argument(
        "--launcher", choices=("none", "pytorch", "slurm", "mpi"), default="none"
    )
    return parser.parse_args()


def main() -> None:
    arguments = vars(parse_arguments())
    framework = arguments.pop("framework")
    config = Path(arguments["config"])
    if not config.is_file():
        raise InputError(f"config {config} does not exist: expected a file of configs/mmdet/")
    if framework == "detectron2" or config.suffix in (".yaml", ".yml"):
        raise InputError(
            f"{config}: configs of Detectron2 are not supported yet, expected a .py config of "
            "MMDetection"
        )
    from mf_plugin.mmdet.training import TrainingOptions, train

    work_dir = train(TrainingOptions(**arguments))
    logger.info("done: predictions, checkpoints and logs are in %s", work_dir)


if __name__ == "__main__":
    cli.run(main)
