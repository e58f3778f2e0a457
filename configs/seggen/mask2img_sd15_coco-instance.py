"""Mask2Img on Stable Diffusion 1.5 for COCO instances, with COCO's own captions."""

from seggen_common import COCO_CAPTIONS, COCO_INSTANCE, SD15

from mf_plugin.seggen.training.config import SegGenTrainConfig

config = SegGenTrainConfig(
    what="mask2img",
    source=COCO_INSTANCE,
    kind="instance",
    captions="coco",
    captions_file=COCO_CAPTIONS,
    **SD15,
)
