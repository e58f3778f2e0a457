"""Mask2Former R50 50e on COCO panoptic: on real images, after ..._seggen-pretrain.py."""

_base_ = "./mask2former_r50_lsj-50e_coco-panoptic.py"

work_dir = "work_dirs/mask2former_r50_lsj-50e_coco-panoptic_seggen-finetune"
load_from = "work_dirs/mask2former_r50_lsj-50e_coco-panoptic_seggen-pretrain/iter_368750.pth"
