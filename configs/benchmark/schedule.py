"""Does a longer schedule give CenterNet2 its frequent categories back? Twice the steps, minival."""

import dataclasses

from demo import config as main

from mf_plugin.benchmark.config import Detector

config = dataclasses.replace(
    main,
    title="mini-LVIS, demo preset: CenterNet2 with twice the steps",
    detectors=(
        Detector(
            "centernet2_2x", "CenterNet2 2x", "configs/mmdet/centernet2_r18_fpn_minilvis-demo_2x"
        ),
    ),
    arms=tuple(arm for arm in main.arms if arm.name in ("real", "refined", "oracle")),
    seeds=(1,),
    split="minival",
    targets=(),
)
