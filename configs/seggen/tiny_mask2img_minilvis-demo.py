"""Mask2Img beside the bundled tiny Stable Diffusion: a prompt for each region, parts of 96 px.

Before it: tiny_mask2img_minilvis-demo_64px.py, with --work-dir work_dirs/mask2img_64px
"""

from seggen_common import TINY_MASK2IMG, TINY_REGIONS

from mf_plugin.seggen.training.config import SegGenTrainConfig

config = SegGenTrainConfig(
    **TINY_MASK2IMG, **TINY_REGIONS, steps=2_500, start="work_dirs/mask2img_64px/model"
)
