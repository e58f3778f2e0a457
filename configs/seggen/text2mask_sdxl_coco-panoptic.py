"""Text2Mask on SDXL for COCO panoptic, with the paper's numbers: one 80 GB GPU or more."""

from seggen_common import BLIP2, COCO_PANOPTIC, SDXL

from mf_plugin.seggen.training.config import SegGenTrainConfig

config = SegGenTrainConfig(
    what="text2mask",
    source=COCO_PANOPTIC,
    kind="panoptic",
    **BLIP2,
    **SDXL,
)
