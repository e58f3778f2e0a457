"""Mask R-CNN R50-FPN on all of mini-LVIS, from scratch, for one GPU."""

_base_ = [
    "mmdet::_base_/models/mask-rcnn_r50_fpn.py",
    "./_base_/minilvis-all.py",
    "./_base_/runtime.py",
]

work_dir = "work_dirs/mask-rcnn_r50_fpn_minilvis-all"
test_evaluator = dict(outfile_prefix=f"{work_dir}/results")

model = dict(
    backbone=dict(frozen_stages=-1, norm_eval=False, init_cfg=None),  # from scratch
    roi_head=dict(
        bbox_head=dict(num_classes=278, reg_class_agnostic=True),  # as in the demo
        mask_head=dict(num_classes=278, class_agnostic=True),
    ),
    test_cfg=dict(rcnn=dict(score_thr=1e-3)),  # LVIS's AP wants the tail of the ranking, too
)
