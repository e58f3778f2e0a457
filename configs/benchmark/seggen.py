"""SegGen on the demo preset: MaskSyn, ImgSyn, both, and with MosaicFusion.

As in ablations.py, every row goes on from the same weights, those of Mask R-CNN on real images with
the same seed: rows then differ less by chance, and a third of the steps serves."""

import dataclasses

from ablations import config as ablations

from mf_plugin.benchmark.config import Arm

MASKSYN = "configs/generation/minilvis_masksyn.py"
IMGSYN = "configs/generation/minilvis_imgsyn.py"
MOSAICFUSION = "configs/generation/ablations/default.py"  # the set of `make demo`

config = dataclasses.replace(
    ablations,
    title="mini-LVIS, demo preset: SegGen",
    arms=(
        Arm("real", "real images"),
        Arm("masksyn", "MaskSyn", synthetic=MASKSYN, policy="joint"),
        Arm("imgsyn", "ImgSyn", synthetic=IMGSYN, policy="joint"),
        Arm("both", "MaskSyn and ImgSyn", synthetic=(MASKSYN, IMGSYN), policy="joint"),
        Arm("mosaicfusion", "MosaicFusion", synthetic=MOSAICFUSION, policy="joint"),
        Arm(
            "all",
            "MosaicFusion, MaskSyn and ImgSyn",
            synthetic=(MOSAICFUSION, MASKSYN, IMGSYN),
            policy="joint",
        ),
    ),
    split="val",
    baseline="real",
)
