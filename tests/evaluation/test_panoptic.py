from __future__ import annotations

import json
import math

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("hotcoco", reason="hotcoco is not installed")

from mf_plugin.errors import InputError
from mf_plugin.evaluation.panoptic import panoptic_scores, pixels_of_ids
from mf_plugin.generation.panoptic import decode_panoptic

CATEGORIES = [
    dict(id=1, name="cup", isthing=1),
    dict(id=2, name="sky", isthing=0),
    dict(id=3, name="anvil", isthing=1),
]


def write(folder, ids, segments, name):
    """A json and its PNG: segment id -> category id."""
    (folder / name).mkdir(parents=True)
    Image.fromarray(pixels_of_ids(ids)).save(folder / name / "1.png")
    infos = []
    for segment, category_id in segments.items():
        rows, columns = np.nonzero(ids == segment)
        x, y = int(columns.min()), int(rows.min())
        infos.append(
            dict(
                id=segment,
                category_id=category_id,
                area=len(rows),
                bbox=[x, y, int(columns.max()) + 1 - x, int(rows.max()) + 1 - y],
                iscrowd=0,
            )
        )
    data = dict(
        images=[dict(id=1, file_name="1.jpg", height=10, width=10)],
        annotations=[dict(image_id=1, file_name="1.png", segments_info=infos)],
        categories=CATEGORIES,
    )
    (folder / f"{name}.json").write_text(json.dumps(data))
    return folder / f"{name}.json", folder / name


@pytest.fixture()
def truth(tmp_path):
    """A sky on five rows, two cups of 5 x 5 below it."""
    ids = np.full((10, 10), 70_000)
    ids[5:, :5], ids[5:, 5:] = 300, 2
    return write(tmp_path, ids, {70_000: 2, 300: 1, 2: 1}, "truth")


def test_pixels_hold_ids():
    ids = np.array([[0, 300], [70_000, 16_777_215]])
    assert pixels_of_ids(ids)[1, 0].tolist() == [112, 17, 1]
    assert np.array_equal(decode_panoptic(pixels_of_ids(ids)), ids)


def test_a_perfect_prediction(truth):
    scores = panoptic_scores(*truth, *truth)
    assert (scores["PQ"], scores["PQ_th"], scores["PQ_st"]) == (100, 100, 100)


def test_the_quality_of_a_prediction_by_hand(truth, tmp_path):
    ids = np.full((10, 10), 1)
    ids[4:, :5] = 2  # 30 pixels for a cup of 25: IoU 25 / 30
    ids[5:7, 5:] = 3  # 10 of the other cup's 25: no match; one of each wrong
    found = write(tmp_path, ids, {1: 2, 2: 1, 3: 1}, "found")
    scores = panoptic_scores(*truth, *found)
    # cup: one match, one false, one missed: SQ 25/30, RQ 1 / (1 + 1/2 + 1/2)
    assert scores["SQ_th"] == pytest.approx(2500 / 30)
    assert scores["RQ_th"] == pytest.approx(50)
    assert scores["PQ_th"] == pytest.approx(1250 / 30)
    # sky: 45 of the truth's 50 pixels among 60 that are predicted, in 65 together
    assert scores["PQ_st"] == pytest.approx(4500 / 65)
    assert scores["PQ"] == pytest.approx((1250 / 30 + 4500 / 65) / 2)


def test_a_part_without_segments_has_no_score(tmp_path):
    one = write(tmp_path, np.ones((10, 10), int), {1: 1}, "things")
    assert math.isnan(panoptic_scores(*one, *one)["PQ_st"])


def test_a_prediction_that_does_not_fit_is_named(truth, tmp_path):
    found = write(tmp_path, np.ones((10, 10), int), {1: 1}, "found")
    data = json.loads(found[0].read_text())
    data["annotations"][0]["segments_info"][0]["id"] = 5
    found[0].write_text(json.dumps(data))
    with pytest.raises(InputError, match="panoptic quality of .*found.json"):
        panoptic_scores(*truth, *found)
