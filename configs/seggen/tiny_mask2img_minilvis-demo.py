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
    steps=4_800,
    batch_size=8,
    lr=1e-3,
    conditioning_lr=5.0,
    time_shift=3.0,
    object_weight=3.0,
    warmup=100,
    decay=0.4,
    weight_decay=1e-4,
    ema=0.998,
    empty_caption=0.5,  # the colour map says what is where; half of the time it says all
    checkpoint_every=300,
    validate_every=600,
    validation_images=8,
    validation_steps=25,
    validation_guidance=2.0,
)
