"""CenterNet2 R50-FPN 4x on LVIS v1: the baseline of MosaicFusion's Table 9 (APr 19.0, AP 30.2).

90,000 iterations of 64 images, as X-Paste and MosaicFusion train it: 8 GPUs x 8. Numbers without
another source are Detic's Base-C2_L_R5021k_640b64_4x.yaml, which both use; mixed precision, as
there, is --cfg-options optim_wrapper.type=AmpOptimWrapper (it needs a GPU).
"""

_base_ = [
    "./_base_/centernet2_r50_fpn.py",
    "./_base_/lvis-v1_sample1e-3.py",
    "./_base_/runtime.py",
]

work_dir = "work_dirs/centernet2_r50_fpn_sample1e-3_lsj-640-4x_lvis-v1"
test_evaluator = dict(outfile_prefix=f"{work_dir}/results")
custom_hooks = [dict(type="ProgressBarHook"), dict(type="CategoryCountsHook")]

# ---------------------------------------------------------------- data
image_size = (640, 640)
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
    # Large-scale jittering (EfficientDet's): 0.1 to 2 times what fits, then a crop of 640 x 640
    dict(type="RandomResize", scale=image_size, ratio_range=(0.1, 2.0), keep_ratio=True),
    dict(
        type="RandomCrop",
        crop_type="absolute",
        crop_size=image_size,
        recompute_bbox=True,
        allow_negative_crop=True,
    ),
    dict(type="FilterAnnotations", min_gt_bbox_wh=(1e-2, 1e-2), keep_empty=False),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(1333, 800), keep_ratio=True),  # detectron2's default, as Detic's
    dict(
        type="PackDetInputs",
        meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor"),
    ),
]
train_dataloader = dict(batch_size=8, dataset=dict(pipeline=train_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))

# ---------------------------------------------------------------- schedule
max_iters = 90_000  # x 64 images = 5.76 M, four times the 1.44 M of 1x
warmup = 10_000
train_cfg = dict(type="IterBasedTrainLoop", max_iters=max_iters, val_interval=max_iters)
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(
        type="AdamW",
        lr=2e-4,  # 1e-4 for 32 images (MosaicFusion, Sec. 4.1.4) x 64 / 32
        weight_decay=1e-4,  # detectron2's default
    ),
    clip_grad=dict(type="value", clip_value=1.0),  # detectron2's default: each value to within 1
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-4, by_epoch=False, begin=0, end=warmup),
    dict(type="CosineAnnealingLR", eta_min=0.0, by_epoch=False, begin=warmup, end=max_iters),
]
auto_scale_lr = dict(enable=False, base_batch_size=64)
