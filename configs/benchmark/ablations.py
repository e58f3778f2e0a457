"""Ablations in the manner of the paper's tables: one setting at a time, on minival, where choices
are made. Differences are to the default, the synthetic set of `make demo`.

Every row goes on from the same weights, those of the main table's Mask R-CNN on real images with
the same seed: rows then differ less by chance, and a third of the steps serves."""

import dataclasses

from demo import config as main

from mf_plugin.benchmark.config import Arm, Detector

GENERATION = "configs/generation/ablations/default.py"

# Of configs/generation/ablations/, with what stands in the table.
ROWS = {
    # Table 2a: regions of a canvas
    "regions_1": "1 region",
    "regions_2": "2 regions",
    "regions_random": "1, 2 or 4 regions",
    "regions_mixed": "4 or 9 regions, as many objects",
    # Table 2b: jitter
    "jitter_0_25": "jitter 0.25",
    "jitter_0_5": "jitter 0.5 (none)",
    # Table 2c: overlap
    "overlap_0": "no overlap",
    "overlap_32": "overlap 32",
    # Table 2d: prompt
    "prompt_name": "prompt: name alone",
    "prompt_photo": "prompt: a photo of a single",
    "prompt_definition": "prompt: with the definition",
    # Table 2e: categories
    "others_r": "other regions: r",
    "main_rcf": "main categories: r, c, f",
    # Table 2f: images of a category
    "images_6": "6 images a category",
    "images_24": "24 images a category",
    # Table 2g: resolution of the attention
    "scales_coarse": "attention 8 x 8",
    "scales_fine": "attention 16 x 16",
    # Table 2h: steps whose attention is read
    "steps_first_5": "first 5 steps",
    "steps_first_12": "first 12 steps",
    # masks, filters, rejection
    "masks_published": "published masks",
    "filters_off": "no filters",
    "reject_image": "a reject drops its canvas",
}

config = dataclasses.replace(
    main,
    title="mini-LVIS, demo preset: ablations",
    reduced=main.reduced
    + " Rows go on from a detector that real images have trained, with a third of its steps.",
    detectors=(
        Detector(
            "mask-rcnn_finetune",
            "Mask R-CNN, going on",
            "configs/mmdet/mask-rcnn_r18_fpn_minilvis-demo_finetune",
            start=main.detectors[0],
        ),
    ),
    arms=(
        Arm("default", "default", synthetic=GENERATION, policy="joint"),
        Arm("real", "no synthetic images"),
        *(
            Arm(name, label, synthetic=f"configs/generation/ablations/{name}.py", policy="joint")
            for name, label in ROWS.items()
        ),
        Arm("policy_real", "policy real", synthetic=GENERATION, policy="real"),
        *(
            Arm(
                f"ratio_{share:02d}",
                f"policy ratio, share {share} %",
                synthetic=GENERATION,
                policy="ratio",
                ratio=share / 100,
            )
            for share in (10, 20, 40)
        ),
    ),
    seeds=(1, 2),
    split="minival",
    baseline="default",
    oracle=None,
    targets=(),
)
