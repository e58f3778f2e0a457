"""The second stage with weights set by hand: what it predicts does not depend on the features."""

from __future__ import annotations

import math

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

from mf_plugin.errors import InputError
from mf_plugin.mmdet.centernet2_roi import combine_scores

STDS = ([0.1, 0.1, 0.2, 0.2], [0.05, 0.05, 0.1, 0.1], [0.025, 0.025, 0.05, 0.05])
META = dict(img_shape=(64, 64), ori_shape=(32, 32), scale_factor=(2.0, 2.0))


def extractor(size):
    layer = dict(type="RoIAlign", output_size=size, sampling_ratio=1)
    return dict(type="SingleRoIExtractor", roi_layer=layer, out_channels=4, featmap_strides=[8, 16])


def make_head(loss=None, score_thr=0.02, agnostic=True, mask=True, **options):
    def stage_cfg(iou):
        assigner = dict(
            type="MaxIoUAssigner",
            pos_iou_thr=iou,
            neg_iou_thr=iou,
            min_pos_iou=iou,
            match_low_quality=False,
        )
        sampler = (
            dict(type="RandomSampler", num=8, pos_fraction=0.5, add_gt_as_proposals=True)
            if iou == 0.6
            else dict(type="PseudoSampler")
        )
        return dict(assigner=assigner, sampler=sampler, mask_size=8, pos_weight=-1)

    cfg = dict(
        type="CenterNet2RoIHead",
        num_stages=3,
        stage_loss_weights=[1, 1, 1],
        bbox_roi_extractor=extractor(2),
        bbox_head=[
            dict(
                type="Shared2FCBBoxHead",
                in_channels=4,
                fc_out_channels=6,
                roi_feat_size=2,
                num_classes=3,
                reg_class_agnostic=agnostic,
                bbox_coder=dict(type="DeltaXYWHBBoxCoder", target_stds=stds),
                loss_cls=loss or dict(type="FederatedLoss", counts=[1, 4, 9]),
                loss_bbox=dict(type="L1Loss"),
            )
            for stds in STDS
        ],
        mask_roi_extractor=extractor(4) if mask else None,
        mask_head=dict(
            type="FCNMaskHead",
            num_convs=1,
            in_channels=4,
            conv_out_channels=4,
            num_classes=3,
            class_agnostic=True,
        )
        if mask
        else None,
        train_cfg=[stage_cfg(iou) for iou in (0.6, 0.7, 0.8)],
        test_cfg=dict(
            score_thr=score_thr,
            nms=dict(type="nms", iou_threshold=0.5),
            max_per_img=10,
            mask_thr_binary=0.5,
        ),
        **options,
    )
    torch.manual_seed(0)
    return MODELS.build(ConfigDict(cfg))


def set_outputs(head, logits, delta):
    """All stages predict these logits (a row a stage) and the same delta for every region."""
    with torch.no_grad():
        for stage, box_head in enumerate(head.bbox_head):
            for layer in (box_head.fc_cls, box_head.fc_reg):
                layer.weight.zero_()
            box_head.fc_cls.bias.copy_(torch.tensor(logits[stage]))
            box_head.fc_reg.bias.copy_(torch.tensor(delta))


def maps(images=1):
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(images, 4, n, n, generator=generator) for n in (8, 4))


def proposals(*rows):
    rows = torch.tensor(rows).reshape(-1, 5)
    return InstanceData(bboxes=rows[:, :4], scores=rows[:, 4], labels=torch.zeros(len(rows)).long())


def truth(*boxes):
    bboxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    masks = torch.zeros(len(bboxes), 64, 64, dtype=torch.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, bboxes.int().tolist()):
        mask[y1:y2, x1:x2] = 1
    sample = DetDataSample(metainfo=META)
    sample.gt_instances = InstanceData(
        bboxes=bboxes, labels=torch.arange(len(bboxes)), masks=BitmapMasks(masks.numpy(), 64, 64)
    )
    return sample


def logit(p):
    return math.log(p / (1 - p))


def test_scores_are_roots_of_products():
    stages = torch.tensor([[[0.2, 0.9]], [[0.4, 0.9]], [[0.6, 0.9]]])
    scores = combine_scores(stages, torch.tensor([0.25]))
    assert scores[0].tolist() == pytest.approx([math.sqrt(0.4 * 0.25), math.sqrt(0.9 * 0.25)])


def test_scores_and_boxes_by_hand():
    # Mean probabilities over the stages: 0.5, 0.16, 0.0001. A delta of (1, 0, 0, 0) moves a box of
    # width 20 by 2, 1 and 0.5 pixels in the three stages.
    stages = [[0.3, 0.1, 1e-4], [0.5, 0.16, 1e-4], [0.7, 0.22, 1e-4]]
    head = make_head().eval()
    set_outputs(head, [[logit(p) for p in stage] for stage in stages], [1.0, 0, 0, 0])
    given = [proposals([10.0, 20, 30, 40, 0.81]), proposals()]
    first, second = head.predict_bbox(maps(2), [META, META], given, head.test_cfg)
    assert first.labels.tolist() == [0, 1], "class 2 is below score_thr"
    expected = [math.sqrt(0.5 * 0.81), math.sqrt(0.16 * 0.81)]
    assert first.scores.tolist() == pytest.approx(expected, rel=1e-4)
    assert first.bboxes[0].tolist() == pytest.approx([13.5, 20, 33.5, 40])
    assert len(second) == 0


def test_softmax_heads_leave_background_out():
    head = make_head(loss=dict(type="CrossEntropyLoss", use_sigmoid=False)).eval()
    logits = [math.log(p) for p in (0.5, 0.2, 0.1, 0.2)]
    set_outputs(head, [logits] * 3, [0.0] * 4)
    given = [proposals([10.0, 20, 30, 40, 1.0])]
    (found,) = head.predict_bbox(maps(), [META], given, head.test_cfg)
    assert found.scores.tolist() == pytest.approx([math.sqrt(p) for p in (0.5, 0.2, 0.1)])


def test_detections_go_back_to_the_image_with_their_masks():
    head = make_head().eval()
    set_outputs(head, [[3.0, -9, -9]] * 3, [0.0] * 4)
    with torch.no_grad():
        head.mask_head.conv_logits.weight.zero_()
        head.mask_head.conv_logits.bias.fill_(5.0)  # everything in the box is object
    given = [proposals([8.0, 16, 40, 32, 0.9])]
    sample = DetDataSample(metainfo=META)
    (found,) = head.predict(maps(), given, [sample], rescale=True)
    assert found.bboxes.tolist() == [[4, 8, 20, 16]]
    mask = found.masks[0]
    assert mask.shape == (32, 32) and mask.sum() == 16 * 8 and bool(mask[8:16, 4:20].all())


def test_nothing_to_detect():
    head = make_head().eval()
    sample = DetDataSample(metainfo=META)
    (found,) = head.predict(maps(), [proposals()], [sample], rescale=True)
    assert len(found) == 0 and found.masks.shape == (0, 32, 32)
    set_outputs(head, [[-20.0] * 3] * 3, [0.0] * 4)
    given = [proposals([8.0, 16, 40, 32, 0.9])]
    (found,) = head.predict(maps(), given, [sample], rescale=True)
    assert len(found) == 0 and found.masks.shape == (0, 32, 32)


def test_three_box_losses_and_one_mask_loss():
    head = make_head()
    given = [proposals([9.0, 17, 41, 33, 0.9], [30.0, 30, 60, 60, 0.5])]
    losses = head.loss(maps(), given, [truth([8, 16, 40, 32])])
    assert {key for key in losses if "loss" in key} == {
        *(f"s{stage}.loss_{kind}" for stage in range(3) for kind in ("cls", "bbox")),
        "s0.loss_mask",
    }
    sum(value for key, value in losses.items() if "loss" in key).backward()
    assert all(p.grad is not None for p in head.parameters())


@pytest.mark.parametrize("boxes", [[], [[8, 16, 40, 32]]])
def test_images_without_objects_or_proposals_train(boxes):
    head = make_head()
    given = [proposals([9.0, 17, 41, 33, 0.9])] if not boxes else [proposals()]
    losses = head.loss(maps(), given, [truth(*boxes)])
    assert all(torch.isfinite(torch.as_tensor(value)).all() for value in losses.values())


def test_a_stage_sends_a_third_of_its_gradient_into_the_features():
    head = make_head()
    rois = torch.tensor([[0, 8.0, 16, 40, 32]])
    gradients = []
    for forward in (
        lambda x: head._bbox_forward(1, x, rois)["cls_score"],
        lambda x: head.bbox_head[1](head.bbox_roi_extractor[1](x, rois))[0],
    ):
        x = tuple(level.requires_grad_() for level in maps())
        forward(x).sum().backward()
        gradients.append(x[0].grad)
    assert gradients[1].abs().sum() > 0
    assert torch.allclose(3 * gradients[0], gradients[1])


def test_boxes_alone():
    head = make_head(mask=False)
    losses = head.loss(maps(), [proposals([9.0, 17, 41, 33, 0.9])], [truth([8, 16, 40, 32])])
    assert not any("mask" in key for key in losses)
    set_outputs(head, [[3.0, -9, -9]] * 3, [0.0] * 4)
    given = [proposals([8.0, 16, 40, 32, 0.9])]
    (found,) = head.eval().predict(maps(), given, [DetDataSample(metainfo=META)], rescale=True)
    assert found.bboxes.tolist() == [[4, 8, 20, 16]] and "masks" not in found


def test_regression_by_class_is_refused():
    with pytest.raises(InputError, match="reg_class_agnostic=False"):
        make_head(agnostic=False)
