"""All 278 categories of mini-LVIS, and a schedule from scratch for one GPU.

5,000 training images of 160 x 160, drawn twice as large, so that objects are of 45 to 190 pixels
and FPN's usual levels and anchors fit.
"""

data_root = "work_dirs/minilvis-all/data"
data_command = "python tools/build_minilvis.py --preset all --out work_dirs/minilvis-all/data"
image_size = (320, 320)
synthetic_root = "work_dirs/minilvis-all/synthetic"

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
    dict(type="Resize", scale=image_size, keep_ratio=True),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=image_size, keep_ratio=True),
    dict(
        type="PackDetInputs",
        meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor"),
    ),
]
train_dataloader = dict(
    batch_size=16,
    num_workers=4,
    persistent_workers=True,
    # LVIS: t = 1e-3 of 100,000 images are the 100 that divide common from frequent; of 5,000: 0.02
    sampler=dict(type="RepeatFactorSampler", threshold=0.02, policy="joint"),
    dataset=dict(
        type="LVISJsonDataset",
        data_root=data_root,
        ann_file="train/annotations.json",
        data_prefix=dict(img="train"),
        filter_cfg=dict(filter_empty_gt=True),
        pipeline=train_pipeline,
    ),
)
test_dataloader = dict(
    batch_size=16,
    num_workers=4,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="LVISJsonDataset",
        data_root=data_root,
        ann_file="val/annotations.json",
        data_prefix=dict(img="val"),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_evaluator = dict(type="LVISResults")

max_iters = 11_250  # x 16 images = 180,000, 36 times the 5,000
warmup = 500
train_cfg = dict(type="IterBasedTrainLoop", max_iters=max_iters, val_interval=max_iters)
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=5e-4, weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
    clip_grad=dict(max_norm=10.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=warmup),
    dict(type="CosineAnnealingLR", eta_min=0.0, by_epoch=False, begin=warmup, end=max_iters),
]
