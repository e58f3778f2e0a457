"""Mean IoU between masks read out of attention and the known outline of composed objects.

python tools/measure_masks.py --config configs/generation/minilvis_rare.py --out work_dirs/masks

Splits: train (the styles that the model knows), minival (choices are made here), val (to report).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from mf_plugin.cli import run


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--config", required=True, help="generation config: model, prompt, masks")
    parser.add_argument("--model", help="another model than the config's")
    parser.add_argument("--preset", default="demo", help="mini-LVIS preset (default: demo)")
    parser.add_argument("--split", default="train", choices=("train", "minival", "val"))
    parser.add_argument(
        "--method",
        nargs="+",
        help="published, refined, either with -last, -all or -next for the subject's tokens\n"
        "(default: the config's)",
    )
    parser.add_argument("--per-category", type=int, default=10)
    parser.add_argument("--size", type=int, nargs=2, default=(64, 64), metavar=("H", "W"))
    parser.add_argument(
        "--read-steps",
        type=int,
        nargs="+",
        help="sampler steps to read, from 0, the noisiest (default: at 1/4, 1/2 and 3/4)",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", required=True, type=Path)
    args = parser.parse_args()

    import cv2

    from mf_plugin.configfile import load_config_file
    from mf_plugin.evaluation.mask_quality import (
        compare_masks,
        draw_comparison,
        mask_settings,
        summarise,
    )
    from mf_plugin.generation.config import GenerationConfig
    from mf_plugin.lvis.io import write_json_atomic
    from mf_plugin.lvis.sprites import (
        MINIVAL_STYLES,
        TRAIN_STYLES,
        VAL_STYLES,
        preset_categories,
    )
    from mf_plugin.mosaic.pipeline import MosaicPipeline
    from mf_plugin.vocabulary import Vocabulary

    config = load_config_file(args.config, GenerationConfig)
    settings = mask_settings(config, args.method or [config.mask.method])
    categories = Vocabulary.from_categories(preset_categories(args.preset))
    args.out.mkdir(parents=True, exist_ok=True)
    styles = {"train": TRAIN_STYLES, "minival": MINIVAL_STYLES, "val": VAL_STYLES}
    measured = compare_masks(
        MosaicPipeline.from_pretrained(
            args.model or config.model, revision=None if args.model else config.revision
        ),
        config,
        settings,
        categories,
        per_category=args.per_category,
        size=tuple(args.size),
        read_steps=args.read_steps or [config.steps * k // 4 for k in (1, 2, 3)],
        seed=args.seed,
        styles=styles[args.split],
    )
    summary = {name: summarise(masks) for name, masks in measured.items()}
    write_json_atomic(args.out / "masks.json", summary)
    cv2.imwrite(str(args.out / "masks.png"), draw_comparison(measured)[..., ::-1])
    print(json.dumps(summary, indent=1))


if __name__ == "__main__":
    run(main)
