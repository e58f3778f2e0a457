"""The bench at a tiny size: what it counts, never how fast it is."""

from __future__ import annotations

import argparse
import json

import numpy as np
import pytest

pytest.importorskip("hotcoco")

from mf_plugin.bench.evaluation import add_arguments, evaluation_table, measure
from mf_plugin.bench.results_standin import image_counts, write_standin
from mf_plugin.evaluation.rare import load_ground_truth, load_results


def test_the_standin_is_skewed_as_lvis_is(tmp_path):
    files = write_standin(tmp_path, images=60, detections=60)
    truth = load_ground_truth(files["gt"])
    groups = list(truth.groups.values())
    assert [groups.count(g) for g in "rcf"] == [337, 461, 405]
    assert 5 < len(truth.data["annotations"]) / 60 < 20
    for path in files["runs"]:
        results = load_results(path, truth)
        assert results.total == 60 * 60 and results.iou_types == ("bbox", "segm")
        assert 0.05 < len(results.scores) / results.total < 0.9, "most pairs are not verified"
    counts = image_counts(20_000, np.random.default_rng(0))
    assert counts[:337].min() >= 1 and counts[:337].max() <= 4 and counts.max() > 5000


def test_all_peers_measure_the_same_ap(tmp_path):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    options = ["--images", "30", "--detections", "40", "--subset", "20", "--rounds", "1"]
    args = parser.parse_args([*options, "--bootstrap", "2", "--out", str(tmp_path)])
    result = measure(args)
    found = {name: rounds[0]["result"] for name, rounds in result["peers"].items()}
    assert {"mf_plugin", "hotcoco"} <= set(found) and found["mf_plugin"] > 1
    for name, ap in found.items():
        assert ap == pytest.approx(found["mf_plugin"], abs=1e-6), name
    assert set(result["ratio"]) == set(found) - {"mf_plugin"}
    assert result["comparison"]["peak_gb"] > 0.01
    assert "| comparison of two runs, peak GB |" in evaluation_table(json.loads(json.dumps(result)))
