"""Mask2Former R50 160k on ADE20K semantic: the baseline of SegGen's table (mIoU 47.2).

The settings are the authors' (arXiv 2112.01527, App. B) on mmdet's detector, whose batch norm stays
frozen; nobody has trained it here. 16 images a step: 8 GPUs x 2.
"""

_base_ = "mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py"

custom_imports = dict(imports=["mf_plugin.mmdet"], allow_failed_imports=False)
custom_hooks = [dict(type="ProgressBarHook")]
randomness = dict(seed=1)
work_dir = "work_dirs/mask2former_r50_160k_ade20k"

synthetic_root = "work_dirs/ade20k_imgsyn"
generation_config = "configs/generation/ade20k_imgsyn.py"

# ---------------------------------------------------------------- data
data_root = "data/ade/ADEChallengeData2016"
short_side = 512
crop_size = (short_side, short_side)
train_pipeline = [
    dict(type="LoadImageFromFile", to_float32=True),
    # Boxes and masks are none; the head makes a mask of each class of the label map.
    dict(
        type="LoadAnnotations",
        with_bbox=True,
        with_mask=True,
        with_seg=True,
        reduce_zero_label=True,
    ),
    dict(
        type="RandomChoiceResize",
        scales=[(4 * short_side, int(short_side * 0.1 * x)) for x in range(5, 21)],  # 0.5 to 2
        keep_ratio=True,
    ),
    dict(type="RandomCrop", crop_size=crop_size, crop_type="absolute", allow_negative_crop=True),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(4 * short_side, short_side), keep_ratio=True),
    dict(
        type="LoadAnnotations",
        with_bbox=False,
        with_mask=False,
        with_seg=True,
        reduce_zero_label=True,
    ),
    dict(type="PackDetInputs", meta_keys=("img_path", "ori_shape", "img_shape")),
]
train_dataloader = dict(
    _delete_=True,
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="RepeatFactorSampler", threshold=0.0),
    dataset=dict(
        type="ADE20KSegDataset",
        data_root=data_root,
        data_prefix=dict(img_path="images/training", seg_map_path="annotations/training"),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    _delete_=True,
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="ADE20KSegDataset",
        data_root=data_root,
        data_prefix=dict(img_path="images/validation", seg_map_path="annotations/validation"),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, type="SemanticIoU")
test_evaluator = val_evaluator

# ---------------------------------------------------------------- detector
num_classes = 150
model = dict(
    type="SemanticMask2Former",
    data_preprocessor=dict(
        batch_augments=[
            dict(
                type="BatchFixedSizePad",
                size=crop_size,
                img_pad_value=0,
                pad_mask=True,
                mask_pad_value=0,
                pad_seg=True,
                seg_pad_value=255,
            )
        ]
    ),
    panoptic_head=dict(
        num_things_classes=0,  # a class is one mask, however many objects it holds
        num_stuff_classes=num_classes,
        loss_cls=dict(class_weight=[1.0] * num_classes + [0.1]),
    ),
    panoptic_fusion_head=dict(num_things_classes=0, num_stuff_classes=num_classes),
    test_cfg=dict(panoptic_on=False, instance_on=False),
)

# ---------------------------------------------------------------- schedule
max_iters = 160_000  # x 16 images = 127 times the 20,210
train_cfg = dict(_delete_=True, type="IterBasedTrainLoop", max_iters=max_iters, val_interval=5000)
param_scheduler = dict(
    _delete_=True, type="PolyLR", eta_min=0, power=0.9, begin=0, end=max_iters, by_epoch=False
)
