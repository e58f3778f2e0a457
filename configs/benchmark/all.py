"""The main table on all of mini-LVIS: 278 categories, 35 of them rare; hours of a GPU."""

import dataclasses

from demo import config as demo

from mf_plugin.benchmark.config import Detector

GENERATION = {  # the demo's -> this one's
    "configs/generation/minilvis_rare_mixed.py": "configs/generation/minilvis_all_rare.py",
    "configs/generation/minilvis_rare_published_48.py": (
        "configs/generation/minilvis_all_rare_published.py"
    ),
}

config = dataclasses.replace(
    demo,
    title="mini-LVIS, all categories",
    reduced="",
    preset="all",
    detectors=(
        Detector("mask-rcnn", "Mask R-CNN", "configs/mmdet/mask-rcnn_r50_fpn_minilvis-all"),
        Detector("centernet2", "CenterNet2", "configs/mmdet/centernet2_r50_fpn_minilvis-all"),
    ),
    arms=tuple(
        dataclasses.replace(arm, synthetic=GENERATION.get(arm.synthetic), seeds=None)
        for arm in demo.arms
    ),
    seeds=(1, 2, 3, 4, 5),  # the paper's number
)
