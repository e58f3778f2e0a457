"""ImgSyn on COCO instances, from Stable Diffusion 1.5: ten images for each real one.

It wants a GPU and a trained Mask2Img:

    W=work_dirs/seggen/mask2img_sd15_coco-instance
    python tools/train_seggen.py --config configs/seggen/mask2img_sd15_coco-instance.py --work-dir $W --out $W/model
"""  # noqa: E501

import dataclasses

from coco_imgsyn import config as imgsyn
from seggen.seggen_common import COCO_CAPTIONS, COCO_INSTANCE

config = dataclasses.replace(
    imgsyn,
    source=COCO_INSTANCE,
    mask2img="work_dirs/seggen/mask2img_sd15_coco-instance/model",
    size=(512, 512),  # of Stable Diffusion 1.5
    kind="instance",
    captions="coco",
    captions_file=COCO_CAPTIONS,
)
