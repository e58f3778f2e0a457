"""What captions of several objects are worth to a tiny Stable Diffusion.

    python tools/measure_scenes.py --model mf_plugin/assets/tiny_sd

Its denoising error of fresh scenes of mini-LVIS's kind, in the styles that it was trained on, with
their own caption, with none and with another scene's. A model that knows scenes has the smallest
error with the scene's own.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mf_plugin import cli
from mf_plugin.errors import InputError

CONFIG = Path(__file__).parents[1] / "configs/tiny_sd/demo_scenes.py"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, metavar="FOLDER", help="a pipeline")
    parser.add_argument("--config", default=CONFIG, help="of the scenes; default: %(default)s")
    parser.add_argument("--count", type=int, default=400, help="of scenes; default: %(default)s")
    parser.add_argument("--seed", type=int, default=1000, help="default: %(default)s")
    args = parser.parse_args()
    if args.count < 2:
        raise InputError(f"count is {args.count}; expected at least 2")
    if not (args.model / "model_index.json").is_file():
        raise InputError(f"{args.model}: no model_index.json, expected a diffusers pipeline folder")

    from mf_plugin.mosaic.components import load_components
    from mf_plugin.mosaic.tiny_sd.config import load_config
    from mf_plugin.mosaic.tiny_sd.scene_loss import measure_scenes

    errors = measure_scenes(
        load_components(args.model), load_config(args.config), args.count, args.seed
    )
    for kind, (mean, deviation) in errors.items():
        gain = mean - errors["none"][0]
        print(f"caption {kind:8s} error {mean:.4f}, over none {gain:+.4f} +- {deviation:.4f}")


if __name__ == "__main__":
    cli.run(main)
