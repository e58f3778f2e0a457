"""Mask2Img beside the bundled tiny Stable Diffusion, from the demo's real training images.

Before it: tiny_mask2img_minilvis-demo_64px.py, with --work-dir work_dirs/mask2img_64px
"""

from seggen_common import TINY_MASK2IMG, TINY_SCENES

from mf_plugin.seggen.training.config import SegGenTrainConfig

config = SegGenTrainConfig(
    **TINY_MASK2IMG, **TINY_SCENES, steps=2_500, start="work_dirs/mask2img_64px/model"
)
