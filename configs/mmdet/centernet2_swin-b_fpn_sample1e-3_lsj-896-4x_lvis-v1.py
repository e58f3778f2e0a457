"""CenterNet2 Swin-B-FPN 4x on LVIS v1: the baseline of MosaicFusion's Table 7 (APr 35.9, AP 40.7).

Settings of arXiv 2309.13042, Sec. 4.1.4: 180,000 iterations of 32 images, 8 GPUs x 4. The published
baseline is Detic's, whose classifier is made of CLIP's text embeddings; here it is a learned layer,
so the published AP is not what this config gives.
"""

_base_ = "./centernet2_r50_fpn_sample1e-3_lsj-640-4x_lvis-v1.py"

work_dir = "work_dirs/centernet2_swin-b_fpn_sample1e-3_lsj-896-4x_lvis-v1"
test_evaluator = dict(outfile_prefix=f"{work_dir}/results")

# ---------------------------------------------------------------- data
image_size = (896, 896)
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
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
train_dataloader = dict(batch_size=4, dataset=dict(pipeline=train_pipeline))

# ---------------------------------------------------------------- detector
pretrained = (
    "https://github.com/SwinTransformer/storage/releases/download/v1.0.0/"
    "swin_base_patch4_window7_224_22k.pth"
)
model = dict(
    backbone=dict(
        _delete_=True,
        type="SwinTransformer",
        embed_dims=128,  # Swin-B: arXiv 2103.14030, Sec. 3.3
        depths=[2, 2, 18, 2],
        num_heads=[4, 8, 16, 32],
        window_size=7,
        mlp_ratio=4,
        qkv_bias=True,
        qk_scale=None,
        drop_rate=0.0,
        attn_drop_rate=0.0,
        drop_path_rate=0.3,
        patch_norm=True,
        out_indices=(1, 2, 3),  # strides 8, 16, 32
        with_cp=False,  # True takes less memory and more time
        convert_weights=True,
        init_cfg=dict(type="Pretrained", checkpoint=pretrained),  # ImageNet-22k
    ),
    neck=dict(in_channels=[256, 512, 1024]),  # 128 x 2, x 4, x 8
)

# ---------------------------------------------------------------- schedule
max_iters = 180_000  # x 32 images = 5.76 M, four times the 1.44 M of 1x
warmup = 10_000
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
optim_wrapper = dict(
    optimizer=dict(lr=1e-4),
    paramwise_cfg=dict(  # mmdet's for Swin
        custom_keys={
            "absolute_pos_embed": dict(decay_mult=0.0),
            "relative_position_bias_table": dict(decay_mult=0.0),
            "norm": dict(decay_mult=0.0),
        }
    ),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-4, by_epoch=False, begin=0, end=warmup),
    dict(type="CosineAnnealingLR", eta_min=0.0, by_epoch=False, begin=warmup, end=max_iters),
]
auto_scale_lr = dict(enable=False, base_batch_size=32)
