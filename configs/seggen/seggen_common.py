"""What the configs in this folder share: where the real, labelled images lie, and the recipes."""

from typing import Any

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
