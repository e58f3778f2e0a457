"""Text2Mask on the bundled tiny Stable Diffusion, from parts of the demo's real training images.

Before it: python tools/build_minilvis.py --preset demo --out work_dirs/demo/data
"""

from seggen_common import TINY_PARTS, TINY_TEXT2MASK

from mf_plugin.seggen.training.config import SegGenTrainConfig

config = SegGenTrainConfig(**TINY_TEXT2MASK, **TINY_PARTS, steps=9_000, decay=0.3)
