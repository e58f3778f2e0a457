"""The picture of outcomes: which instances stand on it, and where the masks are drawn."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mf_plugin.errors import InputError
from mf_plugin.evaluation.valid_instances import judge_instances, load_dataset, load_detections
from mf_plugin.evaluation.valid_instances_sheet import (
    GAP,
    GREEN,
    HEAD,
    MAGENTA,
    SIDE,
    TEXT,
    draw_outcomes,
)

ROW = SIDE + 2 * TEXT + GAP


@pytest.fixture
def judged(lvis, tmp_path):
    """Two valid instances and one without a mask, one object at the border of the image."""
    objects = [(1, 1, [0, 0, 40, 40]), (1, 1, [100, 100, 20, 20]), (2, 1, [60, 60, 20, 20])]
    seen = [(1, 1, [0, 0, 40, 40], 0.9), (1, 1, [100, 100, 20, 20], 0.9)]
    seen += [(2, 1, [60, 60, 20, 9], 0.9)]
    dataset = load_dataset(lvis.ground_truth([((), ())] * 2, "r", objects))
    results = load_detections([lvis.detection(*d) for d in seen], dataset)
    (tmp_path / "images").mkdir()
    for image in dataset.data["images"]:
        cv2.imwrite(str(tmp_path / image["coco_url"]), np.full((160, 160, 3), 40, np.uint8))
    return dataset, tmp_path, results, judge_instances(dataset, results, 0.5)


def is_near(pixels: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return (np.abs(pixels.astype(int) - colour) < 3).all(-1)


def test_each_outcome_has_its_tiles_with_both_masks(judged):
    sheet = np.asarray(draw_outcomes(*judged, columns=2))
    assert sheet.shape == (GAP + 3 * HEAD + 2 * ROW, GAP + 2 * (2 * SIDE + GAP), 3)
    top = GAP + 2 * HEAD + HEAD + ROW  # "valid" with a row, "wrong class" without any
    plain = sheet[top : top + SIDE, GAP : GAP + SIDE]
    assert is_near(plain, (40, 40, 40)).all()
    drawn = sheet[top : top + SIDE, GAP + SIDE : GAP + 2 * SIDE]
    green, magenta = is_near(drawn, GREEN), is_near(drawn, MAGENTA)
    rows, columns = np.nonzero(green)
    side = SIDE * 20 / 33  # the crop is 20 / 0.6 pixels wide
    assert np.ptp(rows) + 1 == pytest.approx(side, abs=4)
    assert np.ptp(columns) + 1 == pytest.approx(side, abs=4)
    # Of the judge's mask, the upper part of the instance's, the lower edge is to be seen.
    assert 0.35 < (np.nonzero(magenta)[0].max() - rows.min()) / side < 0.55


def test_few_of_many_are_drawn_and_the_same_ones_again(judged):
    one = draw_outcomes(*judged, per_outcome=1, columns=1)
    assert one.size == (GAP + 2 * SIDE + GAP, GAP + 3 * HEAD + 2 * ROW)
    assert one.tobytes() == draw_outcomes(*judged, per_outcome=1, columns=1).tobytes()


def test_a_missing_image_is_named(judged):
    dataset, folder, results, verdicts = judged
    (folder / dataset.data["images"][0]["coco_url"]).unlink()
    with pytest.raises(InputError, match="000000000001.jpg cannot be read"):
        draw_outcomes(dataset, folder, results, verdicts)
