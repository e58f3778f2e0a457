"""Mask2Img beside the bundled tiny Stable Diffusion, from the demo's real training images.

Before it: python tools/build_minilvis.py --preset demo --out work_dirs/demo/data
"""

from pathlib import Path

from seggen_common import MINILVIS_DEMO

import mf_plugin
from mf_plugin.seggen.training.config import SegGenTrainConfig

config = SegGenTrainConfig(
    what="mask2img",
    source=MINILVIS_DEMO,
    base=Path(mf_plugin.__file__).parent / "assets/tiny_sd",
    kind="instance",
    size=(128, 128),  # the scenes that the base knows; the images have 160 x 160
    zoom=1.5,  # 560 images are few: parts of them, mirrored too, with a caption of what is left
    mirror=True,
    cache_variants=12,  # x 560 images: 440 MB of latents and colour maps
    steps=2_400,
    batch_size=16,
    lr=5e-4,
    warmup=100,
    decay=0.3,
    weight_decay=1e-4,
    ema=0.998,
    empty_caption=0.5,  # the colour map says what is where; half of the time it says all
    checkpoint_every=200,
    validate_every=400,
    validation_images=8,
    validation_steps=25,
    validation_guidance=2.0,
)
