from __future__ import annotations

import math

import numpy as np
import pytest

from mf_plugin.errors import InputError
from mf_plugin.evaluation.semantic import count_pixels, semantic_scores

TRUTH = np.array([[0, 0, 1], [1, 1, 255]])
FOUND = np.array([[0, 1, 1], [1, 0, 0]])


def test_the_scores_of_a_small_map():
    confusion = count_pixels(TRUTH, FOUND, 3)
    assert confusion.tolist() == [[1, 1, 0], [1, 2, 0], [0, 0, 0]]
    scores = semantic_scores(confusion)
    # class 0: 1 of 3 pixels in truth or prediction; class 1: 2 of 4; class 2 is nowhere
    assert scores.iou[:2] == pytest.approx((100 / 3, 50)) and math.isnan(scores.iou[2])
    assert scores.miou == pytest.approx((100 / 3 + 50) / 2)
    assert scores.accuracy == pytest.approx(60)


def test_the_scores_are_hotcocos():
    semantic = pytest.importorskip("hotcoco.semantic", reason="hotcoco is not installed")
    rng = np.random.default_rng(0)
    truth, found = rng.integers(0, 7, (2, 40, 50))
    truth[:5] = 255
    evaluator = semantic.SemanticEval(7)
    evaluator.update(truth, found)
    theirs, ours = evaluator.results(), semantic_scores(count_pixels(truth, found, 7))
    assert ours.miou == pytest.approx(100 * theirs["mIoU"])
    assert ours.accuracy == pytest.approx(100 * theirs["aAcc"])


def test_nothing_is_no_score():
    scores = semantic_scores(np.zeros((2, 2), np.int64))
    assert math.isnan(scores.miou) and math.isnan(scores.accuracy)


@pytest.mark.parametrize(
    "truth, found, message",
    [
        (TRUTH, FOUND[:1], r"maps of \(2, 3\) and \(1, 3\)"),
        (TRUTH, FOUND + 3, "the prediction has labels 3 to 4: expected 0 to 2"),
        (TRUTH + 2, FOUND, "the truth has labels 2 to 257"),
    ],
)
def test_bad_maps_are_named(truth, found, message):
    with pytest.raises(InputError, match=message):
        count_pixels(truth, found, 3)
