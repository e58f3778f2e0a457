"""A config as a user of MMDetection has one: nothing in it knows of mf_plugin."""

_base_ = "mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py"

data_root = "work_dirs/examples/data/"
classes = ("dagger", "dollar", "dove", "gemstone", "ring", "snake", "violin")

model = dict(
    backbone=dict(depth=18, init_cfg=None),
    neck=dict(in_channels=[64, 128, 256, 512]),
    roi_head=dict(
        bbox_head=dict(num_classes=len(classes)), mask_head=dict(num_classes=len(classes))
    ),
)
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
    dict(type="Resize", scale=(160, 160), keep_ratio=True),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        data_root=data_root,
        ann_file="train/annotations.json",
        data_prefix=dict(img="train/"),
        metainfo=dict(classes=classes),
        pipeline=train_pipeline,
    ),
)
val_dataloader = val_evaluator = val_cfg = None
test_dataloader = test_evaluator = test_cfg = None
train_cfg = dict(_delete_=True, type="IterBasedTrainLoop", max_iters=4)
param_scheduler = []
default_hooks = dict(
    logger=dict(interval=1), checkpoint=dict(by_epoch=False, interval=4, max_keep_ckpts=1)
)
log_processor = dict(by_epoch=False)
