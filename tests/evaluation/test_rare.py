from __future__ import annotations

import copy
import json
import logging

import numpy as np
import pytest

from mf_plugin.errors import InputError
from mf_plugin.evaluation.rare import METRICS, evaluate_lvis, frequency_group, load_ground_truth

hotcoco = pytest.importorskip("hotcoco")

BOX = [10, 10, 40, 40]


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
@pytest.mark.parametrize(("max_dets", "tie"), [(300, False), (12, False), (300, True)])
def test_equals_lvis_api(lvis, iou_type, max_dets, tie, monkeypatch):
    pytest.importorskip("lvis", reason="the oracle, PyPI's lvis 0.5.3, is not installed")
    monkeypatch.setattr(np, "float", float, raising=False)  # removed in numpy 1.24, used by lvis
    from lvis import LVIS, LVISEval, LVISResults

    logging.getLogger("lvis").setLevel(logging.ERROR)
    truth = lvis.random_truth()
    results = lvis.random_results(truth, tie=tie)

    oracle = LVIS.__new__(LVIS)
    oracle.logger = logging.getLogger("lvis")
    oracle.dataset = copy.deepcopy(truth)
    oracle._create_index()
    for annotation in oracle.dataset["annotations"]:
        annotation.setdefault("ignore", 0)
    entries = [dict(r) for r in results]
    for entry in entries:
        entry.pop("bbox" if iou_type == "segm" else "segmentation")
    evaluator = LVISEval(oracle, LVISResults(oracle, entries, max_dets=max_dets), iou_type)
    evaluator.params.max_dets = max_dets
    evaluator.run()

    found = evaluate_lvis(truth, results, max_dets=max_dets)[iou_type]
    expected = {key.split("@")[0]: value for key, value in evaluator.results.items()}
    for metric in METRICS:
        assert found[metric] == pytest.approx(100 * expected[metric], abs=1e-6), metric
    assert {"AP", "APs", "APr", "AR", "ARs", "ARm", "ARl"} < set(METRICS)
    assert 0 < found["APr"] < 100 and found["APr"] != found["APf"]


def perfect(lvis, truth):
    return [
        lvis.detection(a["image_id"], a["category_id"], a["bbox"], 0.9)
        for a in truth["annotations"]
    ]


def test_perfect_predictions_are_100(lvis):
    truth = lvis.random_truth(1)
    found = evaluate_lvis(truth, perfect(lvis, truth))
    for iou_type in ("bbox", "segm"):
        for metric in ("AP", "AP50", "AP75", "APr", "APc", "APf"):
            assert found[iou_type][metric] == pytest.approx(100)
        assert all(v == pytest.approx(100) for v in found[iou_type]["per_category"].values())


def test_half_of_the_objects_missing(lvis):
    # rare: 1 of 2 found, precision 1 up to recall 0.5 -> 51 of the 101 recall points
    # common: found, but an equally good false alarm in an image verified to lack it scores higher:
    #   precision 1/2 at every recall; frequent: not found
    truth = lvis.ground_truth(
        [([], []), ([2], [])], ["r", "c", "f"], [(1, 1, BOX), (2, 1, BOX), (1, 2, BOX), (1, 3, BOX)]
    )
    results = [
        lvis.detection(1, 1, BOX, 0.9),
        lvis.detection(1, 2, BOX, 0.5),
        lvis.detection(2, 2, BOX, 0.6),
    ]
    found = evaluate_lvis(truth, results)["segm"]
    assert found["APr"] == pytest.approx(100 * 51 / 101)
    assert found["APc"] == pytest.approx(50)
    assert found["APf"] == 0
    assert found["AP"] == pytest.approx((100 * 51 / 101 + 50) / 3)
    assert found["per_category"] == pytest.approx({1: 100 * 51 / 101, 2: 50, 3: 0})


def test_false_alarm_where_the_category_is_not_verified_costs_nothing(lvis):
    truth = lvis.ground_truth([([], []), ([], [])], ["r"], [(1, 1, BOX)])
    results = [lvis.detection(1, 1, BOX, 0.5), lvis.detection(2, 1, BOX, 0.9)]
    assert evaluate_lvis(truth, results)["bbox"]["APr"] == pytest.approx(100)


def test_absent_group_and_boxes_only_are_none(lvis):
    truth = lvis.ground_truth([([], [])], ["r"], [(1, 1, BOX)])
    results = [lvis.detection(1, 1, BOX, 0.5)]
    del results[0]["segmentation"]
    found = evaluate_lvis(truth, results)
    assert found["bbox"]["APr"] == pytest.approx(100)
    assert found["bbox"]["APc"] is None and found["bbox"]["APf"] is None
    assert found["segm"]["AP"] is None and found["segm"]["per_category"] == {1: None}


@pytest.mark.parametrize(
    ("images", "group"), [(0, "r"), (1, "r"), (10, "r"), (11, "c"), (100, "c"), (101, "f")]
)
def test_frequency_group(images, group):
    assert frequency_group(images) == group


def test_groups_from_training_json(lvis):
    truth = lvis.ground_truth([([], [])], [None, None, "c"], [(1, 1, BOX)])
    train = lvis.ground_truth(
        [([], [])] * 101, [None] * 3, [(1, 1, BOX)] * 50 + [(i, 2, BOX) for i in range(1, 102)]
    )
    without = load_ground_truth(truth)
    assert without.groups == {1: None, 2: None, 3: "c"}
    found = load_ground_truth(truth, train)
    assert found.groups == {1: "r", 2: "f", 3: "c"}  # its own group stands
    assert "frequency of" in found.group_source and "image counts of" in found.group_source
    assert load_ground_truth(lvis.ground_truth([([], [])], [None], [])).group_source is None


def test_training_json_of_another_vocabulary(lvis):
    truth = lvis.ground_truth([([], [])], [None, None], [])
    train = lvis.ground_truth([([], [])], [None], [])
    with pytest.raises(InputError, match=r"category 2 \(thing_2\)"):
        load_ground_truth(truth, train)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": 77}, "image_id 77, expected one of the 1 ground-truth images"),
        ({"category_id": 77}, "category_id 77, expected one of the 1 categories"),
        ({"score": float("nan")}, "score nan"),
        ({"bbox": [1, 2, 3]}, r"bbox \[1, 2, 3\], expected four"),
        ({"segmentation": {"size": [50, 50], "counts": "0"}}, r"expected RLE counts of size \[160"),
    ],
)
def test_bad_detection_is_named(lvis, tmp_path, change, message):
    truth = lvis.ground_truth([([], [])], ["r"], [(1, 1, BOX)])
    good = lvis.detection(1, 1, BOX, 0.5)
    path = tmp_path / "run.segm.json"
    path.write_text(json.dumps([good, good | change]))
    with pytest.raises(InputError, match=message) as caught:
        evaluate_lvis(truth, path)
    assert "run.segm.json: detection 1:" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "no detections"),
        ('[{"image_id": 1, ', "not a complete json"),
        ("{}", "expected a list"),
    ],
)
def test_bad_results_file_is_named(lvis, tmp_path, text, message):
    truth = lvis.ground_truth([([], [])], ["r"], [(1, 1, BOX)])
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        evaluate_lvis(truth, path)
    assert "run.json" in str(caught.value)
    with pytest.raises(InputError, match="other.json"):
        evaluate_lvis(truth, tmp_path / "other.json")


def test_bad_ground_truth_is_named(lvis, tmp_path):
    truth = lvis.ground_truth([([], [])], ["r"], [(1, 9, BOX)])
    with pytest.raises(InputError, match="unknown category_id 9"):
        load_ground_truth(truth)
    del truth["images"][0]["neg_category_ids"]
    with pytest.raises(InputError, match="image 0 lacks 'neg_category_ids'"):
        load_ground_truth(truth)
    path = tmp_path / "gt.json"
    path.write_text(json.dumps(truth)[:50])
    with pytest.raises(InputError, match="gt.json"):
        load_ground_truth(path)
