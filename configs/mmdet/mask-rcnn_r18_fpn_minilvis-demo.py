"""Mask R-CNN R18-FPN on the demo preset of mini-LVIS, from scratch, for two CPU cores.

The baseline arm of `make demo`; ..._mosaicfusion.py is the other and differs in the data alone.
"""

custom_imports = dict(imports=["mf_plugin.mmdet"], allow_failed_imports=False)
default_scope = "mmdet"

# ---------------------------------------------------------------- data
data_root = "work_dirs/demo/data"
data_command = "python tools/build_minilvis.py --preset demo --out work_dirs/demo/data"
num_classes = 30  # the demo preset: 10 rare, 10 common, 10 frequent
image_size = (160, 160)  # as composed; other sizes are scaled to it

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
train_dataset = dict(
    type="LVISJsonDataset",
    data_root=data_root,
    ann_file="train/annotations.json",
    data_prefix=dict(img="train"),
    filter_cfg=dict(filter_empty_gt=True),
    pipeline=train_pipeline,
)
train_dataloader = dict(
    batch_size=8,
    num_workers=0,  # reading a batch takes a hundredth of a training step
    persistent_workers=False,
    sampler=dict(type="RepeatFactorSampler", threshold=0.05, policy="joint"),
    dataset=train_dataset,
)
test_dataloader = dict(
    batch_size=8,
    num_workers=0,
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
work_dir = "work_dirs/demo/real"
test_evaluator = dict(type="LVISResults", outfile_prefix=f"{work_dir}/results")

# ---------------------------------------------------------------- detector
norm = dict(type="BN", requires_grad=True)
fpn_channels = 64
loss_box = dict(type="L1Loss", loss_weight=1.0)
model = dict(
    type="MaskRCNN",
    data_preprocessor=dict(
        type="DetDataPreprocessor",
        mean=[123.675, 116.28, 103.53],  # ImageNet's, R G B
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_mask=True,
        pad_size_divisor=32,  # the largest stride of the FPN
    ),
    backbone=dict(
        type="ResNet",
        depth=18,
        base_channels=32,  # 64 in the published R18: a quarter of its arithmetic
        stem_channels=32,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        frozen_stages=-1,
        norm_cfg=norm,
        norm_eval=False,  # from scratch: batch statistics are learned
        style="pytorch",
        init_cfg=None,
    ),
    neck=dict(
        type="FPN",
        in_channels=[32, 64, 128, 256],
        out_channels=fpn_channels,
        num_outs=4,
    ),
    rpn_head=dict(
        type="RPNHead",
        in_channels=fpn_channels,
        feat_channels=fpn_channels,
        anchor_generator=dict(
            type="AnchorGenerator",
            scales=[6],  # anchors of 24, 48, 96, 192 px
            ratios=[0.5, 1.0, 2.0],
            strides=[4, 8, 16, 32],
        ),
        bbox_coder=dict(type="DeltaXYWHBBoxCoder", target_stds=[1.0, 1.0, 1.0, 1.0]),
        loss_cls=dict(type="CrossEntropyLoss", use_sigmoid=True, loss_weight=1.0),
        loss_bbox=loss_box,
    ),
    roi_head=dict(
        type="StandardRoIHead",
        bbox_roi_extractor=dict(
            type="SingleRoIExtractor",
            # One sample a bin: regions of a level are at most 14 x 14 cells.
            roi_layer=dict(type="RoIAlign", output_size=7, sampling_ratio=1),
            out_channels=fpn_channels,
            featmap_strides=[4, 8, 16, 32],
            # Objects up to 112 px on the finest level, as in FPN: better on minival than 28, which
            # would suit how much smaller they are (CenterNet2: AP +1.6 [0.7, 2.6], one seed).
            finest_scale=56,
        ),
        bbox_head=dict(
            type="Shared2FCBBoxHead",
            in_channels=fpn_channels,
            fc_out_channels=512,
            roi_feat_size=7,
            num_classes=num_classes,
            bbox_coder=dict(type="DeltaXYWHBBoxCoder", target_stds=[0.1, 0.1, 0.2, 0.2]),
            reg_class_agnostic=True,  # rare classes share what all classes teach
            loss_cls=dict(type="CrossEntropyLoss", use_sigmoid=False, loss_weight=1.0),
            loss_bbox=loss_box,
        ),
        mask_roi_extractor=dict(
            type="SingleRoIExtractor",
            roi_layer=dict(type="RoIAlign", output_size=14, sampling_ratio=1),
            out_channels=fpn_channels,
            featmap_strides=[4, 8, 16, 32],
            finest_scale=56,
        ),
        mask_head=dict(
            type="FCNMaskHead",
            num_convs=2,
            in_channels=fpn_channels,
            conv_out_channels=64,
            num_classes=num_classes,
            class_agnostic=True,
            loss_mask=dict(type="CrossEntropyLoss", use_mask=True, loss_weight=1.0),
        ),
    ),
    train_cfg=dict(
        rpn=dict(
            assigner=dict(
                type="MaxIoUAssigner",
                pos_iou_thr=0.7,
                neg_iou_thr=0.3,
                min_pos_iou=0.3,
                match_low_quality=True,
                ignore_iof_thr=-1,
            ),
            sampler=dict(
                type="RandomSampler",
                num=128,
                pos_fraction=0.5,
                neg_pos_ub=-1,
                add_gt_as_proposals=False,
            ),
            allowed_border=-1,
            pos_weight=-1,
            debug=False,
        ),
        rpn_proposal=dict(
            nms_pre=200, max_per_img=100, nms=dict(type="nms", iou_threshold=0.7), min_bbox_size=0
        ),
        rcnn=dict(
            assigner=dict(
                type="MaxIoUAssigner",
                pos_iou_thr=0.5,
                neg_iou_thr=0.5,
                min_pos_iou=0.5,
                match_low_quality=False,
                ignore_iof_thr=-1,
            ),
            sampler=dict(
                type="RandomSampler",
                num=48,
                pos_fraction=0.25,
                neg_pos_ub=-1,
                add_gt_as_proposals=True,
            ),
            mask_size=28,
            pos_weight=-1,
            debug=False,
        ),
    ),
    test_cfg=dict(
        rpn=dict(
            nms_pre=200, max_per_img=100, nms=dict(type="nms", iou_threshold=0.7), min_bbox_size=0
        ),
        rcnn=dict(
            score_thr=1e-3,  # LVIS's AP wants the tail of the ranking, too
            nms=dict(type="nms", iou_threshold=0.5),
            max_per_img=100,
            mask_thr_binary=0.5,
        ),
    ),
)

# ---------------------------------------------------------------- schedule
max_iters = 900
warmup = 50
train_cfg = dict(type="IterBasedTrainLoop", max_iters=max_iters, val_interval=max_iters)
test_cfg = dict(type="TestLoop")
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=1e-3, weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
    clip_grad=dict(max_norm=10.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.05, by_epoch=False, begin=0, end=warmup),
    dict(type="CosineAnnealingLR", eta_min=0.0, by_epoch=False, begin=warmup, end=max_iters),
]

# ---------------------------------------------------------------- runtime
default_hooks = dict(
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=50),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=100, max_keep_ckpts=1),
    sampler_seed=dict(type="DistSamplerSeedHook"),
)
custom_hooks = [dict(type="ProgressBarHook"), dict(type="ChannelsLastHook")]
env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0),
    dist_cfg=dict(backend="gloo"),
)
log_processor = dict(type="LogProcessor", window_size=50, by_epoch=False)
vis_backends = [dict(type="LocalVisBackend")]
visualizer = dict(type="DetLocalVisualizer", vis_backends=vis_backends, name="visualizer")
log_level = "INFO"
load_from = None
resume = False
randomness = dict(seed=1)
