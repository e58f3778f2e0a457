"""Mask R-CNN R50-FPN 1x on LVIS v1: the baseline of MosaicFusion's Table 7 (APr 9.6, AP 21.7).

Settings of arXiv 2309.13042, Sec. 4.1.4; the detector is mmdet's own. 16 images a step: 8 GPUs x 2.
"""

_base_ = [
    "mmdet::_base_/models/mask-rcnn_r50_fpn.py",
    "./_base_/lvis-v1_sample1e-3.py",
    "./_base_/runtime.py",
]

work_dir = "work_dirs/mask-rcnn_r50_fpn_sample1e-3_ms-1x_lvis-v1"
test_evaluator = dict(outfile_prefix=f"{work_dir}/results")

# ---------------------------------------------------------------- data
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
    dict(
        type="RandomChoiceResize",
        # The short side is 640 to 800, the long one at most 1333; mmdet draws steps of 32 pixels.
        scales=[(1333, short) for short in (640, 672, 704, 736, 768, 800)],
        keep_ratio=True,
    ),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(1333, 800), keep_ratio=True),
    dict(
        type="PackDetInputs",
        meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor"),
    ),
]
train_dataloader = dict(batch_size=2, dataset=dict(pipeline=train_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))

# ---------------------------------------------------------------- detector
model = dict(
    roi_head=dict(
        bbox_head=dict(num_classes=1203),
        mask_head=dict(num_classes=1203),
    ),
    # mmdet's values for LVIS, which takes up to 300 detections an image
    test_cfg=dict(rcnn=dict(score_thr=1e-4, max_per_img=300)),
)

# ---------------------------------------------------------------- schedule
max_iters = 90_000  # x 16 images = 1.44 M, 14.4 times LVIS's 100,170
train_cfg = dict(type="IterBasedTrainLoop", max_iters=max_iters, val_interval=max_iters)
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.02, momentum=0.9, weight_decay=1e-4),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-3, by_epoch=False, begin=0, end=500),  # mmdet's 1x
    dict(
        type="MultiStepLR",
        by_epoch=False,
        begin=0,
        end=max_iters,
        milestones=[60_000, 80_000],
        gamma=0.1,
    ),
]
auto_scale_lr = dict(enable=False, base_batch_size=16)
