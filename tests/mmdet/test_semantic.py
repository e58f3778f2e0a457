from __future__ import annotations

import pytest
import torch
from mmdet.registry import METRICS

from mf_plugin.mmdet.semantic import pixel_scores


def test_the_score_of_a_pixel_by_hand():
    # two queries, two classes: p = (0.5, 0.25) and (0.1, 0.8), the rest is no object
    logits = torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]]).log()
    masks = torch.logit(torch.tensor([[[0.9, 0.5]], [[0.2, 0.5]]]))
    scores = pixel_scores(logits, masks)
    expected = [[[0.45 + 0.02, 0.25 + 0.05]], [[0.225 + 0.16, 0.125 + 0.4]]]
    assert torch.allclose(scores, torch.tensor(expected))
    assert scores.argmax(dim=0).tolist() == [[0, 1]]


def test_the_mean_over_images():
    metric = METRICS.build(dict(type="SemanticIoU"))
    metric.dataset_meta = dict(classes=("cup", "sky", "moon"))
    truth = [torch.tensor([[[0, 0, 1]]]), torch.tensor([[[1, 1, 255]]])]
    found = [torch.tensor([[[0, 1, 1]]]), torch.tensor([[[1, 0, 0]]])]
    samples = [
        dict(gt_sem_seg=dict(sem_seg=t), pred_sem_seg=dict(sem_seg=f)) for t, f in zip(truth, found)
    ]
    metric.process(None, samples[:1])
    metric.process(None, samples[1:])
    scores = metric.evaluate(size=2)
    assert scores["semantic/mIoU"] == pytest.approx((100 / 3 + 50) / 2)
    assert scores["semantic/aAcc"] == pytest.approx(60)
