"""CenterNet2 R50-FPN with masks, in the published setting.

Probabilistic two-stage detection (arXiv 2103.07461): class-agnostic CenterNet proposals, a cascade
of three box heads, score = sqrt(class x proposal). Masks and pyramid levels of the second stage
are Detic's (arXiv 2201.02605), whose "Box-Supervised" detector is MosaicFusion's baseline.
"""

channels = 256
num_classes = 1203
extractor = dict(
    type="SingleRoIExtractor",
    roi_layer=dict(type="RoIAlign", output_size=7, sampling_ratio=0),
    out_channels=channels,
    featmap_strides=[8, 16, 32],  # P3 to P5
    finest_scale=112,  # P4 from 224 pixels, as in FPN: 224 x 8 / 16
)
model = dict(
    type="CascadeRCNN",
    data_preprocessor=dict(
        type="DetDataPreprocessor",
        mean=[123.675, 116.28, 103.53],  # ImageNet's, R G B
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_mask=True,
        pad_size_divisor=32,
    ),
    backbone=dict(
        type="ResNet",
        depth=50,
        num_stages=4,
        out_indices=(1, 2, 3),  # strides 8, 16, 32
        frozen_stages=1,
        norm_cfg=dict(type="BN", requires_grad=True),
        norm_eval=True,
        style="pytorch",
        # ImageNet-1k; the published R50 starts from ImageNet-21k, whose weights mmdet has not
        init_cfg=dict(type="Pretrained", checkpoint="torchvision://resnet50"),
    ),
    neck=dict(
        type="FPN",
        in_channels=[512, 1024, 2048],
        out_channels=channels,
        start_level=0,
        add_extra_convs="on_output",  # P6 from P5, P7 from P6
        relu_before_extra_convs=True,
        num_outs=5,
    ),
    rpn_head=dict(
        type="CenterNetRPNHead",
        in_channels=channels,
        feat_channels=channels,
        stacked_convs=4,
        strides=[8, 16, 32, 64, 128],
        # Half the diagonal of an object, 4 to 10 strides; 1e8 is without end.
        regress_ranges=[(0, 80), (64, 160), (128, 320), (256, 640), (512, 1e8)],
        hm_min_overlap=0.8,
        hm_min_radius=4,
        norm_cfg=dict(type="GN", num_groups=32, requires_grad=True),
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
        type="CenterNet2RoIHead",
        num_stages=3,
        stage_loss_weights=[1.0, 1.0, 1.0],  # detectron2's; gradients are divided instead
        bbox_roi_extractor=extractor,
        bbox_head=[
            dict(
                type="Shared2FCBBoxHead",
                in_channels=channels,
                fc_out_channels=1024,
                roi_feat_size=7,
                num_classes=num_classes,
                # 1 / (10, 10, 5, 5), 1 / (20, 20, 10, 10), 1 / (30, 30, 15, 15): Cascade R-CNN's
                bbox_coder=dict(type="DeltaXYWHBBoxCoder", target_stds=stds),
                reg_class_agnostic=True,
                # 50 categories a step, drawn by image count^0.5
                loss_cls=dict(type="FederatedLoss", num_sampled=50, power=0.5),
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
            extractor, roi_layer=dict(type="RoIAlign", output_size=14, sampling_ratio=0)
        ),
        mask_head=dict(
            type="FCNMaskHead",
            num_convs=4,
            in_channels=channels,
            conv_out_channels=256,
            num_classes=num_classes,
            class_agnostic=True,
            loss_mask=dict(type="CrossEntropyLoss", use_mask=True, loss_weight=1.0),
        ),
    ),
    train_cfg=dict(
        rpn=None,  # the heatmap needs no assigner
        rpn_proposal=dict(nms_pre=4000, max_per_img=2000, nms=dict(type="nms", iou_threshold=0.9)),
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
                # The first stage draws 512 regions of proposals and true boxes, a quarter of them
                # objects, as detectron2 does; the others take what it leaves them.
                sampler=(
                    dict(type="RandomSampler", num=512, pos_fraction=0.25, add_gt_as_proposals=True)
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
        rpn=dict(nms_pre=1000, max_per_img=256, nms=dict(type="nms", iou_threshold=0.9)),
        rcnn=dict(
            score_thr=0.02,
            nms=dict(type="nms", iou_threshold=0.5),
            max_per_img=300,  # LVIS takes up to 300
            mask_thr_binary=0.5,
        ),
    ),
)
