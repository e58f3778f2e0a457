"""Mask2Img on SDXL for ADE20K, with the paper's numbers: one 80 GB GPU or more."""

from seggen_common import ADE20K, ADE20K_DISTANCE, BLIP2, SDXL

from mf_plugin.seggen.training.config import SegGenTrainConfig

config = SegGenTrainConfig(
    what="mask2img",
    source=ADE20K,
    kind="semantic",
    palette_min_distance=ADE20K_DISTANCE,
    **BLIP2,
    **SDXL,
)
