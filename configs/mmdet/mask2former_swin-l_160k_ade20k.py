"""Mask2Former Swin-L 160k on ADE20K semantic (SegGen's table: mIoU 56.1), crops of 640.

As the R50 config, with the backbone of mmdet's Swin-L config for COCO panoptic.
"""

_base_ = "./mask2former_r50_160k_ade20k.py"

work_dir = "work_dirs/mask2former_swin-l_160k_ade20k"

# ---------------------------------------------------------------- data
short_side = 640
crop_size = (short_side, short_side)
train_pipeline = [
    dict(type="LoadImageFromFile", to_float32=True),
    dict(
        type="LoadAnnotations",
        with_bbox=True,
        with_mask=True,
        with_seg=True,
        reduce_zero_label=True,
    ),
    dict(
        type="RandomChoiceResize",
        scales=[(4 * short_side, int(short_side * 0.1 * x)) for x in range(5, 21)],
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
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

# ---------------------------------------------------------------- detector
weights = (
    "https://github.com/SwinTransformer/storage/releases/download/v1.0.0/"
    "swin_large_patch4_window12_384_22k.pth"
)
depths = [2, 2, 18, 2]
model = dict(
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
    backbone=dict(
        _delete_=True,
        type="SwinTransformer",
        pretrain_img_size=384,
        embed_dims=192,
        depths=depths,
        num_heads=[6, 12, 24, 48],
        window_size=12,
        drop_path_rate=0.3,
        out_indices=(0, 1, 2, 3),
        convert_weights=True,
        init_cfg=dict(type="Pretrained", checkpoint=weights),
    ),
    panoptic_head=dict(in_channels=[192, 384, 768, 1536]),
)

# ---------------------------------------------------------------- schedule
slow_norm = dict(lr_mult=0.1, decay_mult=0.0)
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={
            "backbone.patch_embed.norm": slow_norm,
            "backbone.norm": slow_norm,
            "absolute_pos_embed": slow_norm,
            "relative_position_bias_table": slow_norm,
            **{
                f"backbone.stages.{stage}.blocks.{block}.norm": slow_norm
                for stage, count in enumerate(depths)
                for block in range(count)
            },
            **{f"backbone.stages.{stage}.downsample.norm": slow_norm for stage in range(3)},
        }
    )
)
