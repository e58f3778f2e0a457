"""Mask2Img beside the bundled tiny Stable Diffusion, from parts of the demo's real training images.

Before it: python tools/build_minilvis.py --preset demo --out work_dirs/demo/data
"""

from seggen_common import TINY_MASK2IMG, TINY_PARTS

from mf_plugin.seggen.training.config import SegGenTrainConfig

config = SegGenTrainConfig(
    **TINY_MASK2IMG,
    **TINY_PARTS,
    conditioning_lr=5.0,
    empty_caption=0.5,  # the colour map says what is where; half of the time it says all
    steps=6_000,
)
