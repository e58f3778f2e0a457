"""Mask2Img on Stable Diffusion 1.5 for ADE20K."""

from seggen_common import ADE20K, ADE20K_DISTANCE, BLIP2, SD15

from mf_plugin.seggen.training.config import SegGenTrainConfig

config = SegGenTrainConfig(
    what="mask2img",
    source=ADE20K,
    kind="semantic",
    palette_min_distance=ADE20K_DISTANCE,
    **BLIP2,
    **SD15,
)
