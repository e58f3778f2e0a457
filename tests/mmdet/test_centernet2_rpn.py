"""Proposals of hand-made feature maps: the head's convolutions pass channels through."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

from mf_plugin.errors import InputError
from mf_plugin.mmdet.centernet2_rpn import RANGES, STRIDES, CenterNetRPNHead

SIZES = ((8, 8), (4, 4))  # of a 64 x 64 image at strides 8 and 16
PROPOSALS = ConfigDict(nms_pre=10, max_per_img=5, nms=dict(type="nms", iou_threshold=0.9))
COLD = -8.0  # logit of a cell without an object


def make_head(**options) -> CenterNetRPNHead:
    """Channel 0 of the features is the heatmap's logit, 1 to 4 are distances in cells."""
    head = CenterNetRPNHead(
        in_channels=5,
        stacked_convs=0,
        strides=[8, 16],
        regress_ranges=[(0, 20), (15, 1e8)],
        test_cfg=PROPOSALS,
        **options,
    )
    with torch.no_grad():
        for conv, channels in ((head.conv_heatmap, [0]), (head.conv_sides, [1, 2, 3, 4])):
            conv.weight.zero_()
            conv.bias.zero_()
            for output, channel in enumerate(channels):
                conv.weight[output, channel, 1, 1] = 1
    return head


def features(*objects, images: int = 1) -> tuple[torch.Tensor, ...]:
    """Feature maps with (level, row, column, logit, four distances in cells) set."""
    maps = tuple(torch.zeros(images, 5, *size) for size in SIZES)
    for level_map in maps:
        level_map[:, 0] = COLD
    for level, row, column, logit, sides in objects:
        maps[level][0, :, row, column] = torch.tensor([logit, *sides])
    return maps


def sample(*boxes) -> DetDataSample:
    bboxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    labels = torch.zeros(len(bboxes), dtype=torch.int64)
    data = DetDataSample(metainfo=dict(img_shape=(64, 60), scale_factor=(2.0, 2.0)))
    data.gt_instances = InstanceData(bboxes=bboxes, labels=labels)
    data.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=labels[:0])
    return data


# Cell (2, 4) of stride 8 has its centre at (36, 20), cell (1, 2) of stride 16 at (40, 24).
OBJECTS = ((0, 2, 4, 2.0, (1, 0.5, 1.5, 1)), (1, 1, 2, 0.0, (2, 1, 0.5, 2)))
BOXES = [[28, 16, 48, 28], [8, 8, 48, 56]]
SCORES = [math.sqrt(1 / (1 + math.exp(-2))), math.sqrt(0.5)]


@pytest.mark.parametrize("training", [True, False])
def test_boxes_are_decoded_in_pixels_in_training_and_in_testing(training):
    head = make_head().train(training)
    x, data = features(*OBJECTS), [sample(*BOXES)]
    if training:
        _, (proposals,) = head.loss_and_predict(x, data, proposal_cfg=PROPOSALS)
    else:
        (proposals,) = head.predict(x, data)
    assert proposals.bboxes[:2].tolist() == BOXES
    assert proposals.scores[:2].tolist() == pytest.approx(SCORES)
    assert proposals.labels.unique().tolist() == [0]
    assert len(proposals) == 2, "a cell with four distances of 0 has an empty box"


def test_rescaled_proposals_are_in_pixels_of_the_image():
    (proposals,) = make_head().eval().predict(features(*OBJECTS), [sample()], rescale=True)
    assert proposals.bboxes.tolist() == [[v / 2 for v in box] for box in BOXES]


def test_boxes_end_at_the_image():
    wide = (1, 3, 3, 1.0, (9, 9, 9, 9))
    (proposals,) = make_head().eval().predict(features(wide), [sample()])
    assert proposals.bboxes.tolist() == [[0, 0, 60, 64]], "img_shape is rows, columns"


@pytest.mark.parametrize(
    "changes, count",
    [
        ({}, 3),
        (dict(max_per_img=1), 1),
        (dict(nms_pre=1), 2),  # on each level
        (dict(nms_pre=-1), 3),
        (dict(nms=dict(type="nms", iou_threshold=0.2)), 2),
        (dict(score_thr=0.6), 1),  # of the heatmap: 0.88, 0.5 and 0.5
        (dict(min_bbox_size=11), 2),
    ],
)
def test_what_is_kept(changes, count):
    # the third overlaps the first by 120 / (240 + 160 - 120) and is of 16 x 10 pixels
    other = (0, 2, 5, 0.0, (1, 0.5, 1, 0.75))
    cfg = ConfigDict({**PROPOSALS, **changes})
    x = features(*OBJECTS, other)
    outs = make_head()(x)
    (proposals,) = make_head().predict_by_feat(*outs, batch_img_metas=[sample().metainfo], cfg=cfg)
    assert len(proposals) == count
    assert proposals.scores.tolist() == sorted(proposals.scores.tolist(), reverse=True)
    assert proposals.bboxes[0].tolist() == BOXES[0]


def test_perfect_features_have_hardly_any_loss():
    boxes = [[28.0, 12, 44, 28]]  # centre (36, 20), that of cell (2, 4); half diagonal 11.3
    maps = features()
    for row in (1, 2, 3):
        for column in (3, 4, 5):
            x, y = column * 8 + 4, row * 8 + 4
            sides = [(x - 28) / 8, (y - 12) / 8, (44 - x) / 8, (28 - y) / 8]
            maps[0][0, 1:, row, column] = torch.tensor(sides)
    maps[0][0, 0, 2, 4] = 8.0
    perfect = make_head().loss(maps, [sample(*boxes)])
    assert perfect["loss_rpn_bbox"].item() == pytest.approx(0, abs=1e-5)
    assert perfect["loss_rpn_heatmap"].item() < 1e-3

    doubled = copy.deepcopy(maps)
    doubled[0][:, 1:] *= 2  # twice as wide: IoU 1/4, and the enclosing box is the wide one itself
    assert make_head().loss(doubled, [sample(*boxes)])["loss_rpn_bbox"].item() == pytest.approx(
        0.75, abs=0.02
    )
    missed = copy.deepcopy(maps)
    missed[0][0, 0, 2, 4] = COLD
    assert make_head().loss(missed, [sample(*boxes)])["loss_rpn_heatmap"].item() > 0.5


def test_the_loss_of_a_batch_is_a_mean_over_objects():
    boxes = [[28.0, 12, 44, 28]]
    one = make_head().loss(features(), [sample(*boxes)])
    two = make_head().loss(features(images=2), [sample(*boxes), sample(*boxes)])
    for key in one:
        assert two[key].item() == pytest.approx(one[key].item(), rel=1e-5)


def test_images_without_objects_are_background_and_reach_all_weights():
    head = make_head()
    hot = features((0, 0, 0, 1.0, (1, 1, 1, 1)))
    losses, _ = head.loss_and_predict(hot, [sample()], proposal_cfg=PROPOSALS)
    assert losses["loss_rpn_bbox"].item() == 0
    p = 1 / (1 + math.exp(-1))
    assert losses["loss_rpn_heatmap"].item() == pytest.approx(
        0.5 * 0.75 * p**2 * -math.log(1 - p), rel=1e-3
    )
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in head.parameters())


def test_published_defaults_and_start():
    head = MODELS.build(dict(type="CenterNetRPNHead", in_channels=32, feat_channels=32))
    head.init_weights()
    assert head.strides == STRIDES == (8, 16, 32, 64, 128) and head.regress_ranges == RANGES
    assert len(head.convs) == 4
    heatmaps, sides = head(tuple(torch.zeros(1, 32, 2, 2) for _ in STRIDES))
    assert [round(h.sigmoid().mean().item(), 3) for h in heatmaps] == [0.01] * 5
    assert [s.mean().item() for s in sides] == [8 * stride for stride in STRIDES]


def test_mistakes_are_named():
    with pytest.raises(InputError, match="5 strides and 1 regress_ranges"):
        CenterNetRPNHead(8, regress_ranges=[(0, 9)])
    with pytest.raises(InputError, match="num_classes 3: proposals know one class"):
        CenterNetRPNHead(8, num_classes=3)
    with pytest.raises(InputError, match="got 1 feature maps for strides .8, 16."):
        make_head()(features()[:1])
