"""How ImgSyn's and MaskSyn's images are used: policies, and what a detector of real images finds in
them, on minival, where choices are made. And the real images in the painted ones' place, at the
same views with the same masks: what ImgSyn could give here at most.

Before it, the two sets by configs/generation/minilvis_{imgsyn,masksyn}.py in work_dirs/demo/imgsyn
and masksyn; the real views and the filtered sets as docs/seggen.md says."""

import dataclasses

from seggen import IMGSYN, MASKSYN
from seggen import config as seggen

from mf_plugin.benchmark.config import Arm

FOLDER = "work_dirs/demo/"

config = dataclasses.replace(
    seggen,
    title="mini-LVIS, demo preset: ways to use SegGen's images",
    arms=(
        Arm("real", "real images"),
        Arm("imgsyn", "ImgSyn", synthetic=IMGSYN, policy="joint"),
        Arm(
            "real_views",
            "real images in the place of ImgSyn's",
            synthetic=FOLDER + "imgsyn_real",
            policy="joint",
        ),
        Arm(
            "imgsyn_consistent",
            "ImgSyn, consistency filter",
            synthetic=FOLDER + "imgsyn_consistent",
            policy="joint",
        ),
        *(
            Arm(
                f"imgsyn_replace_{share:02d}",
                f"ImgSyn, policy replace, p = {share / 100}",
                synthetic=IMGSYN,
                policy="replace",
                ratio=share / 100,
            )
            for share in (30, 60)
        ),
        Arm("imgsyn_ratio_10", "ImgSyn, 10 %", synthetic=IMGSYN, policy="ratio", ratio=0.1),
        Arm("masksyn", "MaskSyn", synthetic=MASKSYN, policy="joint"),
        Arm(
            "masksyn_consistent",
            "MaskSyn, consistency filter",
            synthetic=FOLDER + "masksyn_consistent",
            policy="joint",
        ),
    ),
    split="minival",
)
