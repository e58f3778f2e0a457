"""MaskSyn on mini-LVIS with the bundled tiny models: new masks and images for real captions."""

import dataclasses
from pathlib import Path

from minilvis_imgsyn import config as imgsyn

import mf_plugin
from mf_plugin.seggen.gates import GateConfig

config = dataclasses.replace(
    imgsyn,
    system="masksyn",
    text2mask=Path(mf_plugin.__file__).parent / "assets/tiny_seggen/text2mask",
    text2mask_size=(128, 128),  # the size that it was trained at
    text2mask_tries=4,  # the first map with all that the caption names, or the best of four
    text2mask_steps=25,
    text2mask_guidance=2.0,
    text2mask_colors="caption",  # whose exact shade the tiny model often misses
    gates=GateConfig(min_pixels=144, min_confidence=0.3, named=True),
)
