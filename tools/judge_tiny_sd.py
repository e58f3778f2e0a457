"""How many of a text-to-image model's single objects a judge names as they were asked for.

    python tools/judge_tiny_sd.py --model mf_plugin/assets/tiny_sd --preset demo \\
        --images-per-category 10 --out work_dirs/judge

Trains the judge (kept in --out for the next time), reports its own accuracy on fresh real
compositions, makes the images, and writes judge.json and judge.png into --out. The judge has seen
the held-out styles: nothing it says may select training data or weights.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mf_plugin import cli
from mf_plugin.errors import InputError
from mf_plugin.evaluation.judge import (
    JudgeConfig,
    draw_contact_sheet,
    held_out_accuracy,
    load_or_train_judge,
    score_names,
)
from mf_plugin.extras import require
from mf_plugin.lvis.backgrounds import BACKGROUNDS
from mf_plugin.lvis.io import write_json_atomic
from mf_plugin.lvis.sprites import preset_categories
from mf_plugin.mosaic.prompts import build_prompt
from mf_plugin.vocabulary import Vocabulary

TEMPLATE = "a photo of a single {name} on a {background} background"


def make_images(args: argparse.Namespace, categories: list[dict]) -> tuple[np.ndarray, np.ndarray]:
    """uint8[B, H, W, 3] and the asked category's index int64[B]; each image has its own seed."""
    torch, diffusers = require("torch", "diffusion"), require("diffusers", "diffusion")
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(
        args.model, safety_checker=None, requires_safety_checker=False, local_files_only=True
    ).to(args.device)
    pipeline.set_progress_bar_config(disable=True)
    vocabulary = Vocabulary.from_categories(categories)
    jobs = [(k, n) for k in range(len(categories)) for n in range(args.images_per_category)]
    images = []
    bar = tqdm(total=len(jobs), desc="making images", unit="image")
    for start in range(0, len(jobs), args.batch_size):
        batch = jobs[start : start + args.batch_size]
        prompts, generators = [], []
        for k, n in batch:
            rng = np.random.default_rng([args.seed, categories[k]["id"], n])
            background = args.backgrounds[rng.integers(len(args.backgrounds))]
            seed = int(rng.integers(2**31))
            style = args.styles[rng.integers(len(args.styles))]
            prompt = build_prompt(vocabulary[k], args.template, background, style=style)
            prompts.append(prompt.text)
            generators.append(torch.Generator("cpu").manual_seed(seed))
        made = pipeline(
            prompts,
            num_inference_steps=args.steps,
            guidance_scale=args.guidance,
            generator=generators,
            output_type="np",
        ).images
        images.append(np.rint(made * 255).astype(np.uint8))
        bar.update(len(batch))
    bar.close()
    return np.concatenate(images), np.array([k for k, _ in jobs])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", required=True, metavar="FOLDER", help="of a diffusers StableDiffusionPipeline"
    )
    parser.add_argument("--preset", default="demo", help="mini-LVIS preset; default: %(default)s")
    parser.add_argument("--images-per-category", type=int, default=10, metavar="N")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR")
    parser.add_argument("--seed", type=int, default=0, help="of images; default: %(default)s")
    parser.add_argument("--template", default=TEMPLATE, help="default: %(default)r")
    parser.add_argument(
        "--backgrounds", nargs="+", default=BACKGROUNDS, help="words of {background}; default: all"
    )
    parser.add_argument("--styles", nargs="+", default=[""], help="words of {style}; default: none")
    parser.add_argument("--steps", type=int, default=30, help="sampler steps; default: %(default)s")
    parser.add_argument("--guidance", type=float, default=4.0, help="default: %(default)s")
    parser.add_argument("--batch-size", type=int, default=10, help="default: %(default)s")
    parser.add_argument("--device", default="cpu", help="of the pipeline; default: %(default)s")
    parser.add_argument(
        "--judge-steps", type=int, default=JudgeConfig.steps, help="default: %(default)s"
    )
    args = parser.parse_args()
    for name in ("images_per_category", "batch_size", "steps", "judge_steps"):
        if getattr(args, name) < 1:
            raise InputError(f"{name} is {getattr(args, name)}, expected at least 1")
    if not (Path(args.model) / "model_index.json").is_file():
        raise InputError(f"{args.model}: no model_index.json, expected a diffusers pipeline folder")

    categories = preset_categories(args.preset)
    judge = load_or_train_judge(
        args.out, categories, JudgeConfig(steps=args.judge_steps), progress=True
    )
    own = held_out_accuracy(judge)
    print(f"the judge itself, on 1000 fresh real compositions: {100 * own:.1f} %")
    images, labels = make_images(args, categories)
    scores = score_names(judge, images, labels)
    summary = {
        "judge_held_out_top1": own,
        "model": Path(args.model).name,
        "preset": args.preset,
        "template": args.template,
        "images_per_category": args.images_per_category,
        "sampler_steps": args.steps,
        "guidance": args.guidance,
        "seed": args.seed,
        **{k: scores[k] for k in ("top1", "groups", "categories")},
    }
    write_json_atomic(args.out / "judge.json", summary, indent=2)
    sheet = draw_contact_sheet(judge, images, labels, scores["predicted"])
    sheet.save(args.out / "judge.png")

    groups = ", ".join(
        f"{word} {100 * scores['groups'][g]:.1f} %"
        for g, word in (("r", "rare"), ("c", "common"), ("f", "frequent"))
        if scores["groups"][g] is not None
    )
    print(f"generated images named right: {100 * scores['top1']:.1f} % ({groups})")
    worst = sorted(scores["categories"], key=lambda c: c["top1"])[:5]
    for row in worst:
        print(f"  {100 * row['top1']:5.1f} %  {row['name']}  (taken for {row['mistaken_for']})")
    print(args.out / "judge.png")


if __name__ == "__main__":
    cli.run(main)
