"""Mask2Former Swin-L 100e on COCO panoptic: on real images, after ..._seggen-pretrain.py."""

_base_ = "./mask2former_swin-l_lsj-100e_coco-panoptic.py"

work_dir = "work_dirs/mask2former_swin-l_lsj-100e_coco-panoptic_seggen-finetune"
load_from = "work_dirs/mask2former_swin-l_lsj-100e_coco-panoptic_seggen-pretrain/iter_737500.pth"
