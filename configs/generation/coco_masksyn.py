"""MaskSyn on COCO panoptic. The paper has ImgSyn alone for COCO; the settings are ADE20K's."""

import dataclasses

from coco_imgsyn import config as imgsyn

config = dataclasses.replace(
    imgsyn,
    system="masksyn",
    text2mask="work_dirs/seggen/text2mask_sdxl_coco-panoptic/model",
    text2mask_steps=200,  # paper
    text2mask_guidance=7.5,
)
