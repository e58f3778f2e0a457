"""Train tiny Stable Diffusion on mini-LVIS; stop it at any time, the same command goes on.

python tools/train_tiny_sd.py --config configs/tiny_sd/demo.py \\
    --work-dir work_dirs/tiny_sd --out work_dirs/tiny_sd/pipeline
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mf_plugin.cli import run


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--config", required=True, help="a file of configs/tiny_sd")
    parser.add_argument("--work-dir", required=True, type=Path, help="checkpoints and logs")
    parser.add_argument("--out", required=True, type=Path, help="pipeline folder to write")
    parser.add_argument("--device", default="cpu", help="of torch (default: %(default)s)")
    args = parser.parse_args()

    from mf_plugin.mosaic.tiny_sd.config import load_config
    from mf_plugin.mosaic.tiny_sd.train import train

    train(load_config(args.config), args.work_dir, args.out, args.device)


if __name__ == "__main__":
    run(main)
