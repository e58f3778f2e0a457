"""Text2Mask on the bundled tiny Stable Diffusion, from the demo's real training images.

Before it: tiny_text2mask_minilvis-demo_64px.py, with --work-dir work_dirs/text2mask_64px
"""

from seggen_common import TINY_SCENES, TINY_TEXT2MASK

from mf_plugin.seggen.training.config import SegGenTrainConfig

config = SegGenTrainConfig(
    **TINY_TEXT2MASK,
    **TINY_SCENES,
    phrases=6,  # no training image has more categories
    steps=2_000,
    start="work_dirs/text2mask_64px/model",
)
