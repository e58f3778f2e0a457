"""Mask2Former R18 on the demo preset of mini-LVIS, from scratch, for two CPU cores.

The data, the image size and the backbone are Mask R-CNN's (mask-rcnn_r18_fpn_minilvis-demo.py); the
rest is Mask2Former's (arXiv 2112.01527), made smaller. Its deformable attention runs in torch.
"""

_base_ = "./mask-rcnn_r18_fpn_minilvis-demo.py"

work_dir = "work_dirs/demo/mask2former_real"
test_evaluator = dict(outfile_prefix=f"{work_dir}/results")

# ---------------------------------------------------------------- detector
num_classes = 30
channels, heads = 64, 4
attention = dict(embed_dims=channels, num_heads=heads, dropout=0.0, batch_first=True)
positions = dict(num_feats=channels // 2, normalize=True)
activation = dict(type="ReLU", inplace=True)
model = dict(
    _delete_=True,
    type="Mask2Former",
    data_preprocessor={{_base_.model.data_preprocessor}},
    backbone={{_base_.model.backbone}},
    panoptic_head=dict(
        type="Mask2FormerHead",
        in_channels=[32, 64, 128, 256],
        strides=[4, 8, 16, 32],
        feat_channels=channels,
        out_channels=channels,
        num_things_classes=num_classes,
        num_stuff_classes=0,
        num_queries=30,  # 100 in the paper; images have up to six objects
        num_transformer_feat_level=3,
        pixel_decoder=dict(
            type="MSDeformAttnPixelDecoder",
            num_outs=3,
            norm_cfg=dict(type="GN", num_groups=16),
            act_cfg=dict(type="ReLU"),
            encoder=dict(
                num_layers=2,  # 6 in the paper
                layer_cfg=dict(
                    self_attn_cfg=dict(attention, num_levels=3, num_points=4),
                    ffn_cfg=dict(
                        embed_dims=channels,
                        feedforward_channels=4 * channels,
                        num_fcs=2,
                        ffn_drop=0.0,
                        act_cfg=activation,
                    ),
                ),
            ),
            positional_encoding=positions,
        ),
        enforce_decoder_input_project=False,
        positional_encoding=positions,
        transformer_decoder=dict(
            return_intermediate=True,
            num_layers=3,  # 9 in the paper: once over the three levels
            layer_cfg=dict(
                self_attn_cfg=attention,
                cross_attn_cfg=attention,
                ffn_cfg=dict(
                    embed_dims=channels,
                    feedforward_channels=4 * channels,
                    num_fcs=2,
                    ffn_drop=0.0,
                    act_cfg=activation,
                ),
            ),
            init_cfg=None,
        ),
        loss_cls=dict(
            type="CrossEntropyLoss",
            use_sigmoid=False,
            loss_weight=2.0,
            reduction="mean",
            class_weight=[1.0] * num_classes + [0.1],
        ),
        loss_mask=dict(
            type="CrossEntropyLoss", use_sigmoid=True, reduction="mean", loss_weight=5.0
        ),
        loss_dice=dict(
            type="DiceLoss",
            use_sigmoid=True,
            activate=True,
            reduction="mean",
            naive_dice=True,
            eps=1.0,
            loss_weight=5.0,
        ),
    ),
    panoptic_fusion_head=dict(
        type="MaskFormerFusionHead",
        num_things_classes=num_classes,
        num_stuff_classes=0,
        loss_panoptic=None,
        init_cfg=None,
    ),
    train_cfg=dict(
        num_points=1600,  # the 40 x 40 of the finest masks; 112 x 112 in the paper
        oversample_ratio=3.0,
        importance_sample_ratio=0.75,
        assigner=dict(
            type="HungarianAssigner",
            match_costs=[
                dict(type="ClassificationCost", weight=2.0),
                dict(type="CrossEntropyLossCost", weight=5.0, use_sigmoid=True),
                dict(type="DiceCost", weight=5.0, pred_act=True, eps=1.0),
            ],
        ),
        sampler=dict(type="MaskPseudoSampler"),
    ),
    test_cfg=dict(
        panoptic_on=False,
        semantic_on=False,
        instance_on=True,
        max_per_image=100,
        iou_thr=0.8,
        filter_low_score=True,
    ),
    init_cfg=None,
)

# ---------------------------------------------------------------- schedule
# Queries learn slowly: twice Mask R-CNN's steps. Nobody has tuned it.
max_iters = 1800
warmup = 50
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
optim_wrapper = dict(
    optimizer=dict(lr=5e-4),
    paramwise_cfg=dict(
        custom_keys={
            name: dict(lr_mult=1.0, decay_mult=0.0)
            for name in ("query_embed", "query_feat", "level_embed")
        }
    ),
    clip_grad=dict(max_norm=0.01, norm_type=2),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.05, by_epoch=False, begin=0, end=warmup),
    dict(type="CosineAnnealingLR", eta_min=0.0, by_epoch=False, begin=warmup, end=max_iters),
]
custom_hooks = [dict(type="ProgressBarHook")]

synthetic_root = "work_dirs/demo/imgsyn"
generation_config = "configs/generation/minilvis_imgsyn.py"
