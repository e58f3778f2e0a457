"""Text2Mask on the bundled tiny Stable Diffusion, from the demo's real training images, small ones.

A quarter of the pixels costs a sixth of the time: which words stand for which colours is learned
here, what masks look like by tiny_text2mask_minilvis-demo.py, which goes on from here.

Before it: python tools/build_minilvis.py --preset demo --out work_dirs/demo/data
"""

from pathlib import Path

from seggen_common import MINILVIS_DEMO

import mf_plugin
from mf_plugin.seggen.training.config import SegGenTrainConfig

config = SegGenTrainConfig(
    what="text2mask",
    source=MINILVIS_DEMO,
    base=Path(mf_plugin.__file__).parent / "assets/tiny_sd",
    kind="instance",
    size=(64, 64),
    min_area=16,
    zoom=1.5,  # 560 images are few: parts of them, mirrored too, with a caption of what is left
    mirror=True,
    cache_variants=24,  # x 560 images: 55 MB of latents
    steps=6_000,
    batch_size=16,
    lr=1e-3,
    warmup=100,
    decay=0.3,
    weight_decay=1e-4,
    ema=0.998,
    time_shift=3.0,  # what is painted where is decided in noise
    zero_terminal_snr=True,
    repeat_threshold=0.3,  # rare categories are in 2 % of the images
    checkpoint_every=500,
    validate_every=1_500,
    validation_images=8,
    validation_steps=25,
    validation_guidance=2.0,
)
