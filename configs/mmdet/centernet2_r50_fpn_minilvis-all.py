"""CenterNet2 R50-FPN on all of mini-LVIS, from scratch, for one GPU."""

_base_ = [
    "./_base_/centernet2_r50_fpn.py",
    "./_base_/minilvis-all.py",
    "./_base_/runtime.py",
]

work_dir = "work_dirs/centernet2_r50_fpn_minilvis-all"
test_evaluator = dict(outfile_prefix=f"{work_dir}/results")
custom_hooks = [dict(type="ProgressBarHook"), dict(type="CategoryCountsHook")]

num_classes = 278
model = dict(
    backbone=dict(frozen_stages=-1, norm_eval=False, init_cfg=None),  # from scratch
    roi_head=dict(
        bbox_head=[dict(head, num_classes=num_classes) for head in _base_.model.roi_head.bbox_head],
        mask_head=dict(num_classes=num_classes),
    ),
)
