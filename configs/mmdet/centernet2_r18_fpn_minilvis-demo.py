"""CenterNet2 R18-FPN on the demo preset of mini-LVIS, from scratch, for two CPU cores.

Data, backbone, schedule and runtime are the Mask R-CNN demo's; the detector's two stages differ.
Published CenterNet2 stands in centernet2_r50_fpn_*_lvis-v1.py; this one is cut down to the demo.
"""

_base_ = "./mask-rcnn_r18_fpn_minilvis-demo.py"

num_classes = 30
channels = 64  # of the FPN
strides = [4, 8, 16, 32]  # objects are half as large as where P3 to P7 are published
extractor = dict(
    type="SingleRoIExtractor",
    roi_layer=dict(type="RoIAlign", output_size=7, sampling_ratio=1),
    out_channels=channels,
    featmap_strides=strides,
    finest_scale=56,  # as in the Mask R-CNN demo
)
work_dir = "work_dirs/demo/centernet2/real"
test_evaluator = dict(outfile_prefix=f"{work_dir}/results")

model = dict(
    type="CascadeRCNN",
    rpn_head=dict(
        _delete_=True,
        type="CenterNetRPNHead",
        in_channels=channels,
        feat_channels=channels,
        stacked_convs=2,  # 4 as published
        strides=strides,
        # Half the diagonal of an object is 4 to 10 strides, as published (P3: 0 to 80).
        regress_ranges=[(0, 40), (32, 80), (64, 160), (128, 1e8)],
        hm_min_radius=2,  # 4 for a stride of 8
        norm_cfg=dict(type="GN", num_groups=16, requires_grad=True),
        loss_cls=dict(
            type="HeatmapFocalLoss",
            alpha=0.25,
            beta=4,
            gamma=2,
            pos_weight=0.5,
            neg_weight=0.5,
            ignore_high_fp=0.85,
        ),
        loss_bbox=dict(type="GIoULoss", loss_weight=1.0),
    ),
    roi_head=dict(
        _delete_=True,
        type="CenterNet2RoIHead",
        num_stages=3,
        stage_loss_weights=[1.0, 1.0, 1.0],
        bbox_roi_extractor=extractor,
        bbox_head=[
            dict(
                type="Shared2FCBBoxHead",
                in_channels=channels,
                fc_out_channels=256,
                roi_feat_size=7,
                num_classes=num_classes,
                bbox_coder=dict(type="DeltaXYWHBBoxCoder", target_stds=stds),
                reg_class_agnostic=True,
                loss_cls=dict(type="FederatedLoss", num_sampled=20),  # of 30; 50 are drawn of 1,203
                loss_bbox=dict(type="L1Loss", loss_weight=1.0),
                init_cfg=[
                    dict(type="Xavier", distribution="uniform", override=dict(name="shared_fcs")),
                    dict(type="Normal", std=0.01, bias_prob=0.01, override=dict(name="fc_cls")),
                    dict(type="Normal", std=0.001, override=dict(name="fc_reg")),
                ],
            )
            for stds in ([0.1, 0.1, 0.2, 0.2], [0.05, 0.05, 0.1, 0.1], [0.033, 0.033, 0.067, 0.067])
        ],
        mask_roi_extractor=dict(
            extractor, roi_layer=dict(type="RoIAlign", output_size=14, sampling_ratio=1)
        ),
        mask_head=dict(
            type="FCNMaskHead",
            num_convs=2,
            in_channels=channels,
            conv_out_channels=64,
            num_classes=num_classes,
            class_agnostic=True,
            loss_mask=dict(type="CrossEntropyLoss", use_mask=True, loss_weight=1.0),
        ),
    ),
    train_cfg=dict(
        _delete_=True,
        rpn=None,  # the heatmap needs no assigner
        rpn_proposal=dict(
            nms_pre=200, max_per_img=100, nms=dict(type="nms", iou_threshold=0.9), min_bbox_size=0
        ),
        rcnn=[
            dict(
                assigner=dict(
                    type="MaxIoUAssigner",
                    pos_iou_thr=iou,
                    neg_iou_thr=iou,
                    min_pos_iou=iou,
                    match_low_quality=False,
                    ignore_iof_thr=-1,
                ),
                sampler=(
                    dict(type="RandomSampler", num=32, pos_fraction=0.25, add_gt_as_proposals=True)
                    if iou == 0.6
                    else dict(type="PseudoSampler")
                ),
                mask_size=28,
                pos_weight=-1,
                debug=False,
            )
            for iou in (0.6, 0.7, 0.8)
        ],
    ),
    test_cfg=dict(
        _delete_=True,
        rpn=dict(
            nms_pre=200, max_per_img=100, nms=dict(type="nms", iou_threshold=0.9), min_bbox_size=0
        ),
        rcnn=dict(
            score_thr=0.02,
            nms=dict(type="nms", iou_threshold=0.5),
            max_per_img=100,
            mask_thr_binary=0.5,
        ),
    ),
)

# A step takes roughly a seventh longer than the Mask R-CNN demo's, so 800 take the time of its 900.
max_iters = 800
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.05, by_epoch=False, begin=0, end=50),
    dict(type="CosineAnnealingLR", eta_min=0.0, by_epoch=False, begin=50, end=max_iters),
]

custom_hooks = [
    dict(type="ProgressBarHook"),
    dict(type="ChannelsLastHook"),
    dict(type="CategoryCountsHook"),
]
