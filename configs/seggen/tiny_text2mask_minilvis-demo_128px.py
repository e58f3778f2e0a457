"""Text2Mask on the bundled tiny Stable Diffusion: from parts to whole scenes, phrase by phrase.

Before it: tiny_text2mask_minilvis-demo_64px.py, with --work-dir work_dirs/text2mask_64px
"""

from seggen_common import PHRASES, TINY_SCENES, TINY_TEXT2MASK

from mf_plugin.seggen.training.config import SegGenTrainConfig

config = SegGenTrainConfig(
    **TINY_TEXT2MASK,
    **TINY_SCENES,
    phrases=PHRASES,
    steps=2_000,
    decay=0.5,
    start="work_dirs/text2mask_64px/model",
)
