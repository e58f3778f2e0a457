"""Train a detector config of your own on real and synthetic images, without an edit of it.

    python tools/build_minilvis.py --preset demo --split train --num-images 60 \\
        --out work_dirs/examples/data
    python examples/own_categories.py --names dagger dove snake --out work_dirs/examples/names
    python examples/own_detector.py --synthetic work_dirs/examples/names

The first two commands make something to train on; the config, examples/own_detector_config.py, is
one of MMDetection's with a few lines of its own. A synthetic category is matched to the config's
class of the same name. The same from the command line:

    python tools/train_net.py --config examples/own_detector_config.py \\
        --synthetic work_dirs/examples/names --policy ratio --synthetic-ratio 0.3
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmengine.config import Config
from mmengine.runner import Runner

from mf_plugin import cli
from mf_plugin.mmdet import with_synthetic


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    own = Path(__file__).with_name("own_detector_config.py")
    parser.add_argument("--config", type=Path, default=own, help="of MMDetection, your own")
    parser.add_argument("--data-root", help="instead of the config's")
    parser.add_argument("--synthetic", required=True, metavar="DIR")
    parser.add_argument("--ratio", type=float, default=0.3, help="synthetic share of an epoch")
    parser.add_argument("--work-dir", default="work_dirs/examples/detector")
    args = parser.parse_args()

    cfg = Config.fromfile(args.config)
    if args.data_root:
        cfg.train_dataloader.dataset.data_root = args.data_root
    cfg.work_dir = args.work_dir

    # All that the plugin does to a config: the training set becomes a union with the synthetic
    # images, its sampler one that counts both.
    cfg = with_synthetic(cfg, args.synthetic, policy="ratio", ratio=args.ratio)

    runner = Runner.from_cfg(cfg)
    runner.train()
    print(Path(cfg.work_dir) / f"iter_{runner.max_iters}.pth")


if __name__ == "__main__":
    cli.run(main)
