from __future__ import annotations

import json

import pytest

from mf_plugin.errors import InputError
from mf_plugin.evaluation.compare import compare_runs
from mf_plugin.evaluation.training_counts import count_training, instances_of, synthetic_json

BOX = [10, 10, 40, 40]
OBJECTS = [(1, 1, BOX), (1, 1, BOX), (2, 1, BOX), (2, 3, BOX)]


def test_images_and_instances(lvis, tmp_path):
    train = lvis.ground_truth([([], [])] * 2, [None] * 3, OBJECTS)
    path = tmp_path / "train.json"
    path.write_text(json.dumps(train))
    for source in (train, path):
        counts = count_training(source)
        assert counts.images == {1: 2, 3: 1} and counts.instances == {1: 3, 3: 1}
    assert count_training(counts) is counts


def test_a_synthetic_set_with_other_ids_is_matched_by_name(lvis):
    synthetic = lvis.ground_truth([([], [])] * 2, [None] * 3, OBJECTS)
    synthetic["categories"][0]["name"], synthetic["categories"][2]["name"] = "thing_3", "thing_1"
    target = lvis.ground_truth([], [None] * 3, [])["categories"]
    assert instances_of(count_training(synthetic), target) == {1: 1, 2: 0, 3: 3}
    synthetic["categories"][0]["name"] = "lamp"
    with pytest.raises(InputError, match="lamp"):
        instances_of(count_training(synthetic), target)


def test_a_folder_stands_for_its_json(tmp_path):
    with pytest.raises(InputError, match="annotations.json: no such file"):
        synthetic_json(tmp_path)
    (tmp_path / "annotations.json").write_text("{")
    assert synthetic_json(tmp_path) == tmp_path / "annotations.json"
    with pytest.raises(InputError, match="annotations.json is not valid json"):
        count_training(tmp_path / "annotations.json")
    with pytest.raises(InputError, match="no list 'annotations'"):
        count_training({"categories": []})


def test_a_report_has_both_counts(lvis, tmp_path):
    truth = lvis.random_truth(num_images=5)
    results = lvis.random_results(truth)
    train = lvis.ground_truth([([], [])] * 2, [None] * 13, OBJECTS)
    (tmp_path / "annotations.json").write_text(json.dumps(train))
    runs = [("real", results), ("both", results)]
    given = {"train": train, "synthetic": {"both": tmp_path}, "num_bootstrap": 0}
    report = compare_runs(truth, runs, **given)
    assert report["instances"]["real"] == report["instances"]["synthetic"]["both"]
    assert report["instances"]["real"]["1"] == 3 and report["instances"]["real"]["2"] == 0
    without = compare_runs(truth, runs, num_bootstrap=0)["instances"]
    assert without == {"real": None, "synthetic": {}}
    with pytest.raises(InputError, match="--synthetic other: expected a run's name: real, both"):
        compare_runs(truth, runs, synthetic={"other": tmp_path})
