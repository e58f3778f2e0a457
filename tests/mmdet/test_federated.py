from __future__ import annotations

import json
import math
from types import SimpleNamespace

import pytest
import torch
from mmdet.registry import HOOKS, MODELS
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

from mf_plugin.errors import InputError
from mf_plugin.mmdet import LVISConcatDataset, LVISJsonDataset, SyntheticLVISDataset
from mf_plugin.mmdet.federated import FederatedLoss, sample_categories
from mf_plugin.mmdet.federated_counts import count_images, read_image_counts


def cross_entropy(logit, target):
    p = 1 / (1 + math.exp(-logit))
    return -math.log(p if target else 1 - p)


SCORES = [[0.0, 1.0, -2.0, 3.0], [0.5, -1.0, 0.0, 2.0]]
LABELS = torch.tensor([1, 4])  # the second region is background
ROWS = [
    [cross_entropy(s, k == label) for k, s in enumerate(row)]
    for row, label in zip(SCORES, LABELS.tolist())
]


@pytest.mark.parametrize(
    "options, weight, expected",
    [
        # as many categories as there are: plain sigmoid classification
        (dict(num_sampled=4), None, (sum(ROWS[0]) + sum(ROWS[1])) / 2),
        (dict(num_sampled=50, loss_weight=3.0), None, 3 * (sum(ROWS[0]) + sum(ROWS[1])) / 2),
        (dict(num_sampled=4), [1.0, 0.0], sum(ROWS[0]) / 2),
        # the region's category alone
        (dict(num_sampled=1), None, (ROWS[0][1] + ROWS[1][1]) / 2),
        # and one more: category 3 is the only one with images left
        (
            dict(num_sampled=2, counts=[0, 5, 0, 7]),
            None,
            (ROWS[0][1] + ROWS[0][3] + ROWS[1][1] + ROWS[1][3]) / 2,
        ),
    ],
)
def test_loss_by_hand(options, weight, expected):
    loss = MODELS.build(dict(type="FederatedLoss", **{"counts": [1, 2, 3, 4], **options}))
    weight = None if weight is None else torch.tensor(weight)
    value = loss(torch.tensor(SCORES), LABELS, weight, avg_factor=2)
    assert value.item() == pytest.approx(expected, rel=1e-5)


def test_reductions():
    loss = FederatedLoss(counts=[1, 2, 3, 4])
    scores = torch.tensor(SCORES)
    rows = [sum(row) for row in ROWS]
    assert loss(scores, LABELS, reduction_override="none").tolist() == pytest.approx(rows)
    assert loss(scores, LABELS, reduction_override="sum").item() == pytest.approx(sum(rows))
    assert loss(scores, LABELS).item() == pytest.approx(sum(rows) / 2)


def test_categories_out_of_the_sample_learn_nothing():
    scores = torch.tensor(SCORES, requires_grad=True)
    FederatedLoss(num_sampled=1, counts=[1, 2, 3, 4])(scores, LABELS).backward()
    assert (scores.grad != 0).tolist() == [[False, True, False, False]] * 2


def test_all_categories_of_the_regions_count():
    counted = sample_categories(torch.tensor([0, 2, 3, 3, 5]), torch.ones(5), 2)
    assert counted.tolist() == [True, False, True, True, False]
    none = torch.zeros(0, dtype=torch.int64)
    assert sample_categories(none, torch.tensor([0.0, 2, 0, 1]), 9).tolist() == [
        False,
        True,
        False,
        True,
    ]


def test_draws_follow_the_root_of_the_image_counts():
    loss = FederatedLoss(num_sampled=2)
    loss.set_counts([16, 1, 4, 100, 0])
    assert loss.weights.tolist() == [4, 1, 2, 10, 0]
    generator = torch.Generator().manual_seed(0)
    label = torch.tensor([3, 5])  # one category of the regions, so one is drawn of the others
    draws = sum(sample_categories(label, loss.weights, 2, generator).double() for _ in range(7000))
    assert draws[3] == 7000 and draws[4] == 0
    assert draws[:3].tolist() == pytest.approx([4000, 1000, 2000], rel=0.08)


def test_draws_repeat_with_the_seed():
    weights = torch.rand(100, generator=torch.Generator().manual_seed(1))
    a, b, c = (
        sample_categories(torch.tensor([7]), weights, 50, torch.Generator().manual_seed(seed))
        for seed in (0, 0, 1)
    )
    assert a.sum() == 50 and torch.equal(a, b) and not torch.equal(a, c)


def test_what_box_heads_ask_a_loss():
    loss = FederatedLoss()
    assert loss.get_cls_channels(4) == 4
    scores = torch.tensor([[0.0, math.log(3)]])
    assert loss.get_activation(scores).tolist() == [pytest.approx([0.5, 0.75, 0.0])]
    found = loss.get_accuracy(torch.tensor([[1.0, 0], [1.0, 0], [0, 1.0]]), torch.tensor([0, 1, 2]))
    assert found == {"acc_classes": 50.0}


def test_it_goes_into_a_box_head_by_its_config():
    """Mask R-CNN's head: C outputs, exact loss, detections from sigmoids."""
    head = MODELS.build(
        ConfigDict(
            type="Shared2FCBBoxHead",
            in_channels=2,
            fc_out_channels=4,
            roi_feat_size=1,
            num_classes=4,
            reg_class_agnostic=True,
            loss_cls=dict(type="FederatedLoss", num_sampled=1, counts=[1, 2, 3, 4]),
            init_cfg=dict(type="Normal", std=0.01, bias_prob=0.01, override=dict(name="fc_cls")),
        )
    )
    head.init_weights()
    assert head.fc_cls.bias.tolist() == pytest.approx([-math.log(99)] * 4)
    logits, deltas = head(torch.zeros(2, 2, 1, 1))
    assert logits.shape == (2, 4)

    ones, boxes = torch.ones(2), torch.zeros(2, 4)
    rois = torch.tensor([[0, 0.0, 0, 8, 8], [0, 20.0, 20, 30, 30]])
    losses = head.loss(torch.tensor(SCORES), deltas, rois, LABELS, ones, boxes, torch.ones(2, 4))
    assert losses["loss_cls"].item() == pytest.approx((ROWS[0][1] + ROWS[1][1]) / 2, rel=1e-5)
    assert losses["acc_classes"] == 0, "category 3 has the highest logit, 1 is right"

    cfg = ConfigDict(score_thr=0.6, nms=dict(type="nms", iou_threshold=0.5), max_per_img=9)
    meta = dict(img_shape=(32, 32), scale_factor=(1.0, 1.0))
    (found,) = head.predict_by_feat(
        (rois,), (torch.tensor(SCORES),), (boxes,), [meta], rcnn_test_cfg=cfg
    )
    assert isinstance(found, InstanceData)
    sigmoids = [1 / (1 + math.exp(-x)) for x in (3, 2, 1, 0.5)]
    assert found.scores.tolist() == pytest.approx(sigmoids)
    assert found.labels.tolist() == [3, 3, 1, 0]


@pytest.mark.parametrize(
    "data, expected",
    [
        ([3, 0, 7], (3, 0, 7)),
        ([{"id": 2, "image_count": 4}, {"id": 1, "image_count": 9}], (4, 9)),
        ({"categories": [{"id": 5, "image_count": 1}], "images": []}, (1,)),
    ],
)
def test_counts_from_a_file(tmp_path, data, expected):
    path = tmp_path / "counts.json"
    path.write_text(json.dumps(data))
    assert read_image_counts(str(path)) == expected
    loss = FederatedLoss(counts=str(path))
    loss(torch.zeros(1, len(expected)), torch.tensor([0]))
    assert loss.weights.tolist() == pytest.approx([math.sqrt(count) for count in expected])


@pytest.mark.parametrize(
    "text, message",
    [
        (None, "absent.json cannot be read: No such file"),
        ("[1, 2", "is not valid json"),
        ("[]", "has no image counts"),
        ('[{"id": 3}]', "has no image counts"),
        ("[1.5]", "has no image counts"),
        ("[-1]", "has no image counts"),
        ("[" * 100_000, "absent.json is nested too deep"),
        ("[%s]" % ("9" * 6000), "absent.json is not valid json"),
        ("\udcff", "absent.json is not valid json"),
        ('{"images": []}', "has no image counts"),
    ],
)
def test_a_file_without_counts_is_named(tmp_path, text, message):
    path = tmp_path / "absent.json"
    if text is not None:
        path.write_text(text, errors="surrogateescape")
    with pytest.raises(InputError, match=message):
        read_image_counts(str(path))


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(num_sampled=0), "num_sampled 0: expected 1 or more"),
        (dict(), "no image counts: give it counts=, or put"),
        (dict(counts=[1, 2]), "image counts of 2 categories, the box head classifies 4"),
        (dict(counts=[0, 0, 0, 0]), "not all 0"),
        (dict(counts=[1, -1, 0, 0]), "0 or more a category"),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(InputError, match=message):
        FederatedLoss(**options)(torch.tensor(SCORES), LABELS)


def test_counts_from_the_training_set_leave_synthetic_images_out(real, synthetic):
    union = LVISConcatDataset(
        [
            LVISJsonDataset("annotations.json", str(real / "train")),
            SyntheticLVISDataset(str(synthetic)),
        ]
    )
    assert count_images(union).tolist() == [3, 1, 2], "[7], [7, 2], [7, 5, 7], [5] and no [2]"
    losses = torch.nn.ModuleList([FederatedLoss(), FederatedLoss(counts=[1, 1, 1])])
    runner = SimpleNamespace(model=losses, train_dataloader=SimpleNamespace(dataset=union))
    HOOKS.build(dict(type="CategoryCountsHook")).before_train(runner)
    assert losses[0].weights.tolist() == pytest.approx([math.sqrt(3), 1, math.sqrt(2)])
    assert losses[1].weights is None, "its own counts stay"


def test_weights_stay_out_of_checkpoints():
    loss = FederatedLoss(counts=[1, 2])
    loss(torch.zeros(1, 2), torch.tensor([0]))
    assert loss.state_dict() == {}
