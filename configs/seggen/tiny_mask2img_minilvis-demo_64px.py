"""Mask2Img beside the bundled tiny Stable Diffusion, from parts of the demo's real training images.

Parts of 64 x 64 pixels hold an object or three, at the scale of whole images, and cost a fifth of
them: what stands for which colour is learned here, whole scenes by tiny_mask2img_minilvis-demo.py,
which goes on from here.

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
    size=(64, 64),  # the single objects that the base knows best
    zoom=3.0,  # images have 160 x 160: scaled by 0.4 to 1.2
    mirror=True,
    min_area=16,
    cache_variants=36,  # x 560 images: 330 MB of latents and colour maps
    repeat_threshold=0.3,  # rare categories are in 2 % of the images
    steps=10_000,
    batch_size=16,
    lr=1e-3,
    conditioning_lr=5.0,
    time_shift=3.0,
    object_weight=3.0,
    warmup=100,
    decay=0.3,
    weight_decay=1e-4,
    ema=0.998,
    empty_caption=0.5,  # the colour map says what is where; half of the time it says all
    conditioning_channels=(32, 64, 96),
    checkpoint_every=500,
    validate_every=2_000,
    validation_images=8,
    validation_steps=25,
    validation_guidance=2.0,
)
