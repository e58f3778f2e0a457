"""Text2Mask on the bundled tiny Stable Diffusion: the bundled one's last training.

Before it: tiny_text2mask_minilvis-demo_128px.py, with --work-dir work_dirs/text2mask_128px
"""

from seggen_common import PHRASES, TINY_SCENES, TINY_TEXT2MASK

from mf_plugin.seggen.training.config import SegGenTrainConfig

config = SegGenTrainConfig(
    **TINY_TEXT2MASK,
    **TINY_SCENES,
    phrases=PHRASES,
    steps=2_600,
    decay=0.6,
    seed=1,  # other parts of the images than before
    start="work_dirs/text2mask_128px/model",
)
