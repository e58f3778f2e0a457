"""ImgSyn on ADE20K, as published: fifty images for each real one (arXiv 2311.03355).

It writes label maps of ADE20K's form beside annotations.json. It wants a GPU and a trained Mask2Img:

    W=work_dirs/seggen/mask2img_sdxl_ade20k
    python tools/train_seggen.py --config configs/seggen/mask2img_sdxl_ade20k.py --work-dir $W --out $W/model
"""  # noqa: E501

from seggen.seggen_common import ADE20K

from mf_plugin.seggen.gates import GateConfig
from mf_plugin.seggen.synthesis import SegGenConfig

config = SegGenConfig(
    system="imgsyn",
    source=ADE20K,
    mask2img="work_dirs/seggen/mask2img_sdxl_ade20k/model",
    size=(768, 768),  # paper: both models are trained and sampled at 768
    kind="semantic",
    captions="blip2",  # paper
    captions_file="work_dirs/seggen/mask2img_sdxl_ade20k/captions.json",  # the training's
    copies=50,  # paper: 1.01 million images
    mask2img_steps=40,  # paper
    mask2img_guidance=7.5,
    # No filter is described in the paper: what is smaller than 2 x 2 latents goes, nothing else.
    gates=GateConfig(min_pixels=256, max_area=1.0, min_confidence=0.0, named=False),
    reject="region",  # such pixels are painted, and ignored in training
    dtype="fp16",
    group_size=8,
    seed=0,
)
