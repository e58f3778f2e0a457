"""MaskSyn on ADE20K, as published: ten new masks and images for each real caption."""

import dataclasses

from ade20k_imgsyn import config as imgsyn

config = dataclasses.replace(
    imgsyn,
    system="masksyn",
    text2mask="work_dirs/seggen/text2mask_sdxl_ade20k/model",
    copies=10,  # paper: 202,000 images
    text2mask_steps=200,  # paper
    text2mask_guidance=7.5,
)
