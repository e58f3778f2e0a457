"""Train a detector, with or without synthetic data, and write its predictions.

    python tools/train_net.py --config configs/mmdet/mask-rcnn_r18_fpn_minilvis-demo.py \\
        --synthetic work_dirs/demo/synthetic --work-dir work_dirs/demo/synthetic_arm

    python tools/train_net.py --config configs/detectron2/mask-rcnn_r18_fpn_minilvis-demo.yaml \\
        --no-synthetic --work-dir work_dirs/d2/real MODEL.DEVICE cpu SOLVER.MAX_ITER 100

Any config of MMDetection (.py) or Detectron2 (yaml, LazyConfig) will do. Predictions of an LVIS
test set go to WORK_DIR/results.segm.json, which tools/eval_rare.py reads.
"""

from __future__ import annotations

import argparse
import itertools
import logging
from pathlib import Path

from mf_plugin import cli
from mf_plugin.data.sampling import POLICIES
from mf_plugin.errors import InputError
from mf_plugin.frameworks import FRAMEWORKS, detect_framework

logger = logging.getLogger("train_net")

# Options of one framework, by their value where they are not given.
MMDET_ALONE = {"cfg_options": [], "launcher": "none"}
DETECTRON2_ALONE = {
    "num_gpus": 1,
    "num_machines": 1,
    "machine_rank": 0,
    "dist_url": None,
    "add_config": [],
    "opts": [],
}
ALONE = {"mmdet": MMDET_ALONE, "detectron2": DETECTRON2_ALONE}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--config",
        "--config-file",
        required=True,
        metavar="FILE",
        help="a config of MMDetection or Detectron2, ours or your own",
    )
    parser.add_argument("--framework", choices=FRAMEWORKS, help="where a .py config leaves it open")
    data = parser.add_mutually_exclusive_group()
    data.add_argument(
        "--synthetic",
        action="append",
        metavar="DIR",
        help="train on this dataset as well; may be given again, for more of them",
    )
    data.add_argument("--no-synthetic", action="store_true", help="leave out what the config adds")
    parser.add_argument(
        "--synthetic-only",
        action="store_true",
        help="train on the synthetic images alone, by the same schedule (pre-training)",
    )
    parser.add_argument("--policy", choices=POLICIES, help="how synthetic images are sampled")
    parser.add_argument(
        "--synthetic-ratio",
        nargs="+",
        metavar="R",
        help="their share of an epoch (policy ratio), or the probability that a real image gives "
        "way to one made of it (policy replace); one for all folders, or one for each",
    )
    parser.add_argument("--work-dir", metavar="DIR", help="logs, checkpoints and predictions")
    parser.add_argument("--seed", type=int, help="of weights, draws and augmentation")
    parser.add_argument("--resume", action="store_true", help="go on from the latest checkpoint")
    parser.add_argument("--eval-only", action="store_true", help="predict only")

    mmdet = parser.add_argument_group("MMDetection's own")
    mmdet.add_argument(
        "--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="override the config"
    )
    mmdet.add_argument("--launcher", choices=("none", "pytorch", "slurm", "mpi"), default="none")

    detectron2 = parser.add_argument_group("Detectron2's own")
    detectron2.add_argument("--num-gpus", type=int, default=1, help="per machine")
    detectron2.add_argument("--num-machines", type=int, default=1)
    detectron2.add_argument("--machine-rank", type=int, default=0, help="of this machine")
    detectron2.add_argument("--dist-url", metavar="URL", help="where several machines meet")
    detectron2.add_argument(
        "--add-config",
        action="append",
        default=[],
        metavar="MODULE:FUNCTION",
        help="adds a project's own keys to a yaml config, as point_rend:add_pointrend_config",
    )
    detectron2.add_argument(
        "opts",
        nargs=argparse.REMAINDER,
        help="override the config: KEY VALUE ... for yaml, key=value ... for a LazyConfig",
    )
    arguments = parser.parse_args()
    split_ratios(arguments)
    return arguments


def split_ratios(arguments: argparse.Namespace) -> None:
    """What stands behind the numbers of --synthetic-ratio are overrides."""
    given = arguments.synthetic_ratio
    if given is None:
        return
    ratios = [float(item) for item in itertools.takewhile(_is_number, given)]
    arguments.opts = [*given[len(ratios) :], *arguments.opts]
    if not ratios:
        raise InputError(f"--synthetic-ratio {given[0]!r}: expected a number between 0 and 1")
    arguments.synthetic_ratio = ratios[0] if len(ratios) == 1 else ratios


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def choose_framework(config: str, asked: str | None) -> str:
    """The framework of a config: as asked for, else as the file shows."""
    if not Path(config).is_file():
        raise InputError(
            f"config {config} does not exist: expected a file of configs/mmdet/ or "
            "configs/detectron2/"
        )
    framework = asked or detect_framework(config)
    if framework is None:
        raise InputError(
            f"config {config} may be MMDetection's or Detectron2's: say which with --framework"
        )
    return framework


def own_options(arguments: dict, framework: str) -> dict:
    """The arguments less those of the other framework, which must not have been given."""
    for other, options in ALONE.items():
        for name, default in options.items():
            if other != framework:
                value = arguments.pop(name)
                if value != default:
                    shown = "overrides at the end" if name == "opts" else _flag(name)
                    raise InputError(
                        f"{shown}: an option of {other}, but the config is {framework}'s"
                    )
    return arguments


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def main() -> None:
    arguments = vars(parse_arguments())
    framework = choose_framework(arguments["config"], arguments.pop("framework"))
    arguments = own_options(arguments, framework)
    if framework == "mmdet":
        from mf_plugin.mmdet.training import TrainingOptions, train
    else:
        from mf_plugin.detectron2.install import require_detectron2

        require_detectron2()
        from mf_plugin.detectron2.training import TrainingOptions, train

    work_dir = train(TrainingOptions(**arguments))
    logger.info("done: predictions, checkpoints and logs are in %s", work_dir)


if __name__ == "__main__":
    cli.run(main)
