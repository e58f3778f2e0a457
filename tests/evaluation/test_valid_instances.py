"""Verdicts on hand-made squares, exact; the score that is set; shares and their intervals."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pycocotools import mask as mask_api

from mf_plugin.errors import InputError
from mf_plugin.evaluation.valid_instances import (
    as_json,
    calibrate,
    judge_instances,
    load_dataset,
    load_detections,
    summarise,
    to_rle,
)

SQUARE = [0, 0, 20, 20]
FAR = [100, 100, 20, 20]


@pytest.fixture
def judge(lvis):
    """Objects [(image, category, box)] and detections [(image, category, box, score)] ->
    [(outcome, IoU, named, detection)]; categories 1 to 3 are r, c and f."""

    def run(objects, detections, score=0.5, num_images=2):
        dataset = load_dataset(lvis.ground_truth([((), ())] * num_images, "rcf", objects))
        results = load_detections([lvis.detection(*d) for d in detections], dataset)
        verdicts = judge_instances(dataset, results, score)
        assert [v.annotation_id for v in verdicts] == list(range(1, len(objects) + 1))
        assert [(v.image_id, v.category_id) for v in verdicts] == [o[:2] for o in objects]
        return [(v.outcome, pytest.approx(v.iou), v.named, v.detection) for v in verdicts]

    return run


@pytest.mark.parametrize(
    "detection, expected",
    [
        ((1, 1, SQUARE, 0.9), ("valid", 1.0, 1, 0)),
        ((1, 1, SQUARE, 0.5), ("valid", 1.0, 1, 0)),  # the score itself counts
        ((1, 1, SQUARE, 0.49), ("no mask", 0.0, None, None)),
        ((1, 1, [0, 0, 20, 40], 0.9), ("valid", 0.5, 1, 0)),  # so does the IoU
        ((1, 1, [0, 0, 20, 41], 0.9), ("no mask", 20 / 41, None, 0)),
        ((1, 3, SQUARE, 0.9), ("wrong class", 1.0, 3, 0)),
        ((1, 1, FAR, 0.9), ("no mask", 0.0, None, None)),
        ((2, 1, SQUARE, 0.9), ("no mask", 0.0, None, None)),  # another image
    ],
)
def test_one_instance_and_one_detection(detection, expected, judge):
    assert judge([(1, 1, SQUARE)], [detection]) == [expected]


def test_the_best_scored_detection_of_a_place_counts_whatever_its_category(judge):
    near = [0, 0, 20, 22]
    detections = [(1, 1, SQUARE, 0.8), (1, 2, near, 0.9)]
    assert judge([(1, 1, SQUARE)], detections) == [("wrong class", 20 / 22, 2, 1)]
    apart = [(1, 1, SQUARE, 0.8), (1, 2, [0, 0, 20, 41], 0.9)]  # IoU under 0.5: another place
    assert judge([(1, 1, SQUARE)], apart) == [("valid", 1.0, 1, 0)]


def test_two_instances_under_one_mask_are_not_both_valid(judge):
    objects, detections = [(1, 1, SQUARE), (1, 1, [0, 0, 20, 24])], [(1, 1, [0, 0, 20, 24], 0.9)]
    # The better pair goes first; what is left of the other is no detection at all.
    expected = [("no mask", 0.0, None, None), ("valid", 1.0, 1, 0)]
    assert judge(objects, detections) == expected
    assert judge(objects[::-1], detections) == expected[::-1]
    more = [*detections, (1, 1, [0, 0, 20, 8], 0.8)]
    assert judge(objects, more) == [("no mask", 8 / 20, None, 1), expected[1]]


def test_images_come_in_any_order(judge):
    objects = [(2, 3, SQUARE), (1, 1, SQUARE), (2, 2, FAR)]
    detections = [(1, 1, SQUARE, 0.7), (2, 3, FAR, 0.9), (2, 3, SQUARE, 0.6)]
    assert judge(objects, detections) == [
        ("valid", 1.0, 3, 2),
        ("valid", 1.0, 1, 0),
        ("wrong class", 1.0, 3, 1),
    ]


def test_the_score_of_the_highest_f1_is_set(lvis):
    boxes = [SQUARE, FAR, [50, 50, 10, 10]]
    dataset = load_dataset(lvis.ground_truth([((), ())], "rcf", [(1, 1, b) for b in boxes]))
    detections = [
        (1, 1, SQUARE, 0.9),  # right
        (1, 1, FAR, 0.5),  # right
        (1, 1, [0, 100, 9, 9], 0.295),  # nothing is there
        (1, 2, boxes[2], 0.2),  # wrong class
    ]
    results = load_detections([lvis.detection(*d) for d in detections], dataset)
    found = calibrate(dataset, results)
    # F1: 4 / 7 from 0.05 on, 4 / 6 from 0.21, 4 / 5 from 0.30, 2 / 4 from 0.51
    assert (found.score, found.f1) == (0.3, 4 / 5)
    assert (found.precision, found.recall) == (1.0, pytest.approx(2 / 3))
    assert (found.instances, found.images) == (3, 1)


def summary_of(lvis, objects, detections, num_images=2):
    dataset = load_dataset(lvis.ground_truth([((), ())] * num_images, "rcf", objects))
    results = load_detections([lvis.detection(*d) for d in detections], dataset)
    verdicts = judge_instances(dataset, results, 0.5)
    return summarise(dataset, verdicts, num_draws=400), verdicts


def test_shares_go_by_group_and_category(lvis):
    objects = [(1, 1, SQUARE), (1, 1, FAR), (2, 1, SQUARE), (2, 1, FAR), (2, 3, [50, 50, 9, 9])]
    detections = [
        (1, 1, SQUARE, 0.9),
        (1, 2, FAR, 0.9),
        (2, 2, SQUARE, 0.9),
        (2, 3, [50, 50, 9, 9], 0.9),
    ]
    summary, verdicts = summary_of(lvis, objects, detections)
    assert [row[0] for row in list(summary["all"].values())[1:]] == [0.4, 0.4, 0.2]
    assert list(summary["groups"]) == ["r", "f"]
    rare = summary["groups"]["r"]
    assert rare["instances"] == 4
    assert (rare["valid"][0], rare["wrong class"][0], rare["no mask"][0]) == (0.25, 0.5, 0.25)
    assert summary["groups"]["f"]["valid"] == [1.0, 1.0, 1.0]
    assert list(summary["categories"]) == ["thing_1", "thing_3"]
    assert summary["categories"]["thing_1"] == {**rare, "named": {"thing_2": 2}}
    assert summary["iou"] == [1, 0, 0, 0, 0, 0, 0, 0, 0, 4]
    assert json.loads(json.dumps(summary)) == summary
    assert as_json(verdicts)[1] == dict(
        annotation_id=2,
        image_id=1,
        category_id=1,
        outcome="wrong class",
        iou=1.0,
        named=2,
        detection=1,
    )


def test_intervals_resample_images_not_instances(lvis):
    boxes = [SQUARE, FAR, [50, 50, 9, 9], [0, 100, 9, 9], [100, 0, 9, 9], [50, 0, 9, 9]]
    objects = [(image, 1, box) for image in (1, 2) for box in boxes]
    # All of image 1 and none of image 2: a draw holds both, or one of them twice.
    summary, _ = summary_of(lvis, objects, [(1, 1, box, 0.9) for box in boxes])
    assert summary["all"]["valid"] == [0.5, 0.0, 1.0]
    # Half of each: every draw has the same share.
    half = [(image, 1, box, 0.9) for image in (1, 2) for box in boxes[:3]]
    assert summary_of(lvis, objects, half)[0]["all"]["valid"] == [0.5, 0.5, 0.5]


def test_images_without_instances_change_nothing(lvis):
    objects, detections = [(1, 1, SQUARE)], [(2, 1, SQUARE, 0.9), (1, 1, SQUARE, 0.9)]
    summary, _ = summary_of(lvis, objects, detections, num_images=40)
    assert summary["all"] == {
        "instances": 1,
        "valid": [1.0] * 3,
        "wrong class": [0.0] * 3,
        "no mask": [0.0] * 3,
    }


def test_masks_of_every_form():
    polygons = [[2.0, 1.0, 6.0, 1.0, 6.0, 4.0, 2.0, 4.0]]
    expected = np.zeros((8, 10), np.uint8)
    expected[1:4, 2:6] = 1
    rle = mask_api.encode(np.asfortranarray(expected))
    counts = np.diff(np.flatnonzero(np.diff(expected.ravel("F"), prepend=2, append=2)))
    text = {**rle, "counts": rle["counts"].decode()}
    for form in (polygons, rle, text, {"size": [8, 10], "counts": counts.tolist()}):
        assert (mask_api.decode(to_rle(form, (8, 10))) == expected).all()


def test_bad_input_is_named(lvis, tmp_path):
    with pytest.raises(InputError, match="has no instances: expected some to judge"):
        load_dataset(lvis.ground_truth([((), ())], "r", []))
    with pytest.raises(InputError, match="annotations.json is not a file"):
        load_dataset(tmp_path)
    dataset = load_dataset(lvis.ground_truth([((), ())], "r", [(1, 1, SQUARE)]))
    boxes = [dict(image_id=1, category_id=1, bbox=[0.0, 0.0, 2.0, 2.0], score=0.5)]
    with pytest.raises(InputError, match="without masks, expected a judge with masks"):
        load_detections(boxes, dataset)
