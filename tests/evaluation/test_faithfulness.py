from __future__ import annotations

import numpy as np
import pytest

from mf_plugin.errors import InputError
from mf_plugin.evaluation.faithfulness import count_overlaps, mean_iou, summarise_overlaps
from mf_plugin.evaluation.valid_instances import load_dataset, load_detections, read_score

LEFT, RIGHT = [0, 0, 20, 20], [20, 0, 20, 20]
BOTH = [0, 0, 40, 20]


def compare(lvis, objects, detections, images=((), ()), score=0.5):
    dataset = load_dataset(lvis.ground_truth([images] * 2, "rcf", objects))
    results = load_detections([lvis.detection(*d) for d in detections], dataset)
    return dataset, count_overlaps(dataset, results, score)


def test_iou_of_the_unions_over_all_images(lvis):
    objects = [(1, 1, LEFT), (2, 1, RIGHT), (2, 2, LEFT)]
    # Of category 1: 400 of 400 pixels, then 400 of 400 and as many too many. Of 2: none.
    detections = [(1, 1, LEFT, 0.9), (2, 1, BOTH, 0.8), (1, 3, [60, 60, 10, 10], 0.9)]
    dataset, overlaps = compare(lvis, objects, detections)
    assert overlaps.wanted.tolist() == [[400, 0, 0], [400, 400, 0]]
    assert overlaps.seen.tolist() == [[400, 0, 100], [800, 0, 0]]
    assert overlaps.both.tolist() == [[400, 0, 0], [400, 0, 0]]
    found = summarise_overlaps(dataset, overlaps, num_draws=200)
    assert found["classes"] == {
        "thing_1": {"iou": 0.6667, "recall": 1.0, "precision": 0.6667},
        "thing_2": {"iou": 0.0, "recall": 0.0, "precision": 0.0},
    }
    assert found["miou"][0] == round((2 / 3 + 0) / 2, 4)
    # Image 1 alone: 1; image 2 alone: (0.5 + 0) / 2
    assert found["miou"][1:] == [0.25, 1.0]
    assert (found["images"], found["categories"]) == (2, 2)


def test_two_detections_of_one_object_are_one_and_the_better_lies_on_top(lvis):
    detections = [(1, 1, LEFT, 0.6), (1, 1, BOTH, 0.7), (1, 2, RIGHT, 0.8), (1, 3, BOTH, 0.4)]
    _, overlaps = compare(lvis, [(1, 1, LEFT), (1, 2, RIGHT)], detections)
    assert overlaps.seen[0].tolist() == [400, 400, 0]
    assert overlaps.both[0].tolist() == [400, 400, 0]


def test_the_smaller_mask_lies_on_top(lvis):
    for objects in ([(1, 1, BOTH), (1, 2, LEFT)], [(1, 2, LEFT), (1, 1, BOTH)]):
        _, overlaps = compare(lvis, objects, [(1, 1, BOTH, 0.9)])
        assert overlaps.wanted[0].tolist() == [400, 400, 0]
        assert overlaps.both[0].tolist() == [400, 0, 0]


def test_not_exhaustive_categories_count_inside_the_masks_alone(lvis):
    _, overlaps = compare(lvis, [(1, 1, LEFT)], [(1, 1, BOTH, 0.9)], images=((), (1,)))
    assert overlaps.seen[0].tolist() == [400, 0, 0]
    _, overlaps = compare(lvis, [(1, 1, LEFT)], [(1, 1, BOTH, 0.9)], images=((), (2,)))
    assert overlaps.seen[0].tolist() == [800, 0, 0]


def test_the_score_decides_what_counts(lvis):
    objects, detections = [(1, 1, LEFT)], [(1, 1, LEFT, 0.5), (2, 1, LEFT, 0.49)]
    _, overlaps = compare(lvis, objects, detections)
    assert overlaps.seen[:, 0].tolist() == [400, 0]


def test_weights_count_images(lvis):
    objects = [(1, 1, LEFT), (2, 1, LEFT)]
    _, overlaps = compare(lvis, objects, [(1, 1, LEFT, 0.9)])
    weights = np.array([[1, 1], [2, 0], [0, 2], [3, 1]])
    assert mean_iou(overlaps, weights).tolist() == [0.5, 1.0, 0.0, 0.75]


def test_bad_input(lvis, tmp_path):
    with pytest.raises(InputError, match="holds no score: expected what the command calibrate"):
        read_score(tmp_path / "none.json")
    for text in ("[" * 100_000, '{"score": %s}' % ("9" * 6000), '{"score": true}', "3", "\udcff"):
        (tmp_path / "c.json").write_text(text, errors="surrogateescape")
        with pytest.raises(InputError, match=r"c\.json holds no score: expected what the command"):
            read_score(tmp_path / "c.json")
    (tmp_path / "c.json").write_text('{"score": 0.35}')
    assert read_score(tmp_path / "c.json") == 0.35
