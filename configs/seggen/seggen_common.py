"""What the configs in this folder share: where the real, labelled images lie, and the recipes."""

from pathlib import Path
from typing import Any

import mf_plugin
from mf_plugin.seggen.source import SourceConfig

# python tools/build_minilvis.py --preset demo --out work_dirs/demo/data
MINILVIS_DEMO = SourceConfig(
    format="instance",
    images="work_dirs/demo/data/train",
    annotations="work_dirs/demo/data/train/annotations.json",
)
COCO_INSTANCE = SourceConfig(
    format="instance",
    images="data/coco/train2017",
    annotations="data/coco/annotations/instances_train2017.json",
)
COCO_PANOPTIC = SourceConfig(
    format="panoptic",
    images="data/coco/train2017",
    annotations="data/coco/annotations/panoptic_train2017.json",
    labels="data/coco/annotations/panoptic_train2017",
)
COCO_CAPTIONS = "data/coco/annotations/captions_train2017.json"
ADE20K = SourceConfig(
    format="semantic",
    images="data/ade/ADEChallengeData2016/images/training",
    labels="data/ade/ADEChallengeData2016/annotations/training",
    classes="data/ade/ADEChallengeData2016/classes.txt",  # the 150 names, one a line
)

# The paper's numbers (arXiv 2311.03355): learning rate, iterations, resolution. What it does not
# give, or we could not read: batch, averaging, share of empty captions.
_TRAINING: dict[str, Any] = dict(
    lr=1e-5,
    steps=30_000,
    batch_size=4,
    accumulate=4,
    precision="bf16",
    gradient_checkpointing=True,
    mirror=True,
    skip_incomplete=True,  # COCO: 1,021 of 118,287 training images have no object
    workers=8,
    checkpoint_every=1_000,
    validate_every=1_000,
    validation_images=8,
)
SDXL: dict[str, Any] = dict(
    _TRAINING, base="stabilityai/stable-diffusion-xl-base-1.0", size=(768, 768)
)
SD15: dict[str, Any] = dict(
    _TRAINING, base="stable-diffusion-v1-5/stable-diffusion-v1-5", size=(512, 512)
)
BLIP2: dict[str, Any] = dict(captions="blip2", blip2_model="Salesforce/blip2-opt-2.7b")

# 150 classes: their colours lie nearer to each other than those of up to 133 (docs/seggen.md).
ADE20K_DISTANCE = 59.0

# The bundled models, on the bundled tiny Stable Diffusion. Parts of 64 x 64 pixels hold an object
# or three at the scale of whole images, and cost a fifth of them: what stands for which word or
# colour is learned there (tiny_*_64px.py). What goes on from them (tiny_*.py) learns whole scenes
# (Text2Mask), or larger parts with a prompt for each region (Mask2Img).
_TINY: dict[str, Any] = dict(
    source=MINILVIS_DEMO,
    base=Path(mf_plugin.__file__).parent / "assets/tiny_sd",
    kind="instance",
    mirror=True,
    repeat_threshold=0.3,  # rare categories are in 2 % of the images
    time_shift=3.0,  # what is painted where is decided in noise
    object_weight=3.0,
    warmup=100,
    weight_decay=1e-4,
    ema=0.998,
    validation_images=8,
    validation_steps=25,
    validation_guidance=2.0,
)
TINY_PARTS: dict[str, Any] = dict(
    _TINY,
    size=(64, 64),  # the single objects that the base knows best
    zoom=3.0,  # images have 160 x 160: scaled by 0.4 to 1.2
    min_area=16,
    cache_variants=36,  # x 560 images: 330 MB of latents and colour maps
    batch_size=16,
    lr=1e-3,
    checkpoint_every=500,
    validate_every=2_000,
)
TINY_REGIONS: dict[str, Any] = dict(
    _TINY,
    size=(96, 96),
    zoom=2.5,  # scaled by 0.6 to 1.5; configs/generation/minilvis_imgsyn.py paints at 1.2 to 1.5
    region_prompt="a photo of a single {name}",  # the words that the base knows best
    conditioning_lr=2.0,
    empty_caption=0.1,
    min_area=16,
    cache_variants=16,  # x 560 images: 330 MB of latents and colour maps
    batch_size=8,
    lr=5e-4,
    decay=0.5,
    checkpoint_every=250,
    validate_every=1_000,
)
TINY_SCENES: dict[str, Any] = dict(
    _TINY,
    size=(128, 128),  # the scenes that the base knows
    zoom=1.5,  # 560 images are few: parts of them, with a caption of what is left
    cache_variants=12,  # x 560 images: 440 MB of latents and colour maps
    batch_size=8,
    lr=6e-4,
    checkpoint_every=200,
    validate_every=500,
)
PHRASES = 6  # no training image has more categories
TINY_TEXT2MASK: dict[str, Any] = dict(what="text2mask", zero_terminal_snr=True)
TINY_MASK2IMG: dict[str, Any] = dict(what="mask2img", conditioning_channels=(32, 64, 96))
