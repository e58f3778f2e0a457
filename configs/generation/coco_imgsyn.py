"""ImgSyn on COCO panoptic, as published: ten images for each real one (arXiv 2311.03355).

It writes annotations.json, panoptic.json and label maps. It wants a GPU and a trained Mask2Img:

    W=work_dirs/seggen/mask2img_sdxl_coco-panoptic
    python tools/train_seggen.py --config configs/seggen/mask2img_sdxl_coco-panoptic.py --work-dir $W --out $W/model
"""  # noqa: E501

from seggen.seggen_common import COCO_PANOPTIC

from mf_plugin.seggen.gates import GateConfig
from mf_plugin.seggen.synthesis import SegGenConfig

config = SegGenConfig(
    system="imgsyn",
    source=COCO_PANOPTIC,
    mask2img="work_dirs/seggen/mask2img_sdxl_coco-panoptic/model",
    size=(768, 768),  # paper: both models are trained and sampled at 768
    kind="panoptic",
    captions="blip2",  # paper
    captions_file="work_dirs/seggen/mask2img_sdxl_coco-panoptic/captions.json",  # the training's
    copies=10,  # paper: 1.18 million images
    mask2img_steps=40,  # paper
    mask2img_guidance=7.5,
    gates=GateConfig(min_pixels=256, max_area=1.0, named=False),  # 256: 2 x 2 latents
    reject="erase",
    dtype="fp16",
    group_size=8,
    seed=0,
)
