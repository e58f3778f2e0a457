from __future__ import annotations

import math

import pytest
import torch
from mmdet.registry import MODELS

from mf_plugin.mmdet.centernet2_loss import HeatmapFocalLoss

LOGITS = torch.tensor([0.0, 0.0, math.log(9)])  # probabilities 0.5, 0.5, 0.9
HEATMAP = torch.tensor([1.0, 0.5, 0.0])
PEAK = torch.tensor([0])
POSITIVE = 0.5 * 0.25 * 0.5**2 * math.log(2)
NEAR = 0.5 * 0.75 * 0.5**2 * math.log(2) * 0.5**4
HIGH = 0.5 * 0.75 * 0.9**2 * math.log(10)


@pytest.mark.parametrize(
    "options, expected",
    [
        ({}, POSITIVE + NEAR),  # 0.9 is above 0.85 and counts as an object nobody annotated
        ({"ignore_high_fp": None}, POSITIVE + NEAR + HIGH),
        ({"ignore_high_fp": 0.95}, POSITIVE + NEAR + HIGH),
        ({"pos_weight": 0.0}, NEAR),
        ({"neg_weight": 0.0, "loss_weight": 3.0}, 3 * POSITIVE),
        ({"beta": 0.0}, POSITIVE * 1 + 0.5 * 0.75 * 0.25 * math.log(2) * 2),  # the peak, too
    ],
)
def test_loss_by_hand(options, expected):
    loss = MODELS.build(dict(type="HeatmapFocalLoss", **options))(LOGITS, HEATMAP, PEAK, 1.0)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_it_is_divided_by_the_positives_and_stays_finite():
    loss = HeatmapFocalLoss()
    whole = loss(LOGITS, HEATMAP, PEAK, 1.0)
    assert loss(LOGITS, HEATMAP, PEAK, 4.0).item() == pytest.approx(whole.item() / 4)
    extreme = torch.tensor([-100.0, 100.0], requires_grad=True)
    value = HeatmapFocalLoss(ignore_high_fp=None)(extreme, torch.zeros(2), PEAK, 1.0)
    value.backward()
    assert torch.isfinite(value) and torch.isfinite(extreme.grad).all()


def test_without_objects_only_background_is_learnt():
    none = torch.zeros(0, dtype=torch.int64)
    loss = HeatmapFocalLoss()(torch.zeros(2), torch.zeros(2), none, 1.0)
    assert loss.item() == pytest.approx(2 * 0.5 * 0.75 * 0.25 * math.log(2), rel=1e-5)
