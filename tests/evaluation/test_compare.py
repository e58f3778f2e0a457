from __future__ import annotations

import numpy as np
import pytest

from mf_plugin.errors import InputError
from mf_plugin.evaluation.bootstrap import BOOTSTRAP_METRICS
from mf_plugin.evaluation.compare import compare_runs
from mf_plugin.evaluation.rare import evaluate_lvis

pytest.importorskip("hotcoco")


def test_compare_runs(lvis):
    truth = lvis.random_truth()
    weak = [lvis.random_results(truth, s, hit=0.4, noise=6) for s in range(2)]
    strong = [lvis.random_results(truth, s, hit=0.9, noise=2) for s in range(2)]
    runs = [
        ("real", weak[0]),
        ("synthetic", strong[0]),
        ("real", weak[1]),
        ("synthetic", strong[1]),
    ]
    report = compare_runs(truth, runs, num_bootstrap=200, seed=3)

    assert report["baseline"] == "real" and report["seeds"] == {"real": 2, "synthetic": 2}
    single = [evaluate_lvis(truth, r)["segm"] for r in strong]
    values = [s["APr"] for s in single]
    assert report["runs"]["synthetic"]["segm"]["APr"] == pytest.approx(np.mean(values))
    assert report["std"]["synthetic"]["segm"]["APr"] == pytest.approx(np.std(values, ddof=1))
    for iou_type in ("bbox", "segm"):
        for metric in BOOTSTRAP_METRICS:
            delta = report["delta"]["synthetic"][iou_type][metric]
            means = [report["runs"][n][iou_type][metric] for n in ("real", "synthetic")]
            low, high = report["interval"]["synthetic"][iou_type][metric]
            assert delta == pytest.approx(means[1] - means[0])
            assert low < delta < high
        assert report["interval"]["synthetic"][iou_type]["AP"][0] > 0
    assert list(report["delta"]) == ["synthetic"]
    assert report == compare_runs(truth, runs, num_bootstrap=200, seed=3)
    other = compare_runs(truth, runs, num_bootstrap=200, seed=4)
    assert other["interval"] != report["interval"] and other["runs"] == report["runs"]


def test_run_against_itself_differs_by_nothing(lvis):
    truth = lvis.random_truth()
    results = lvis.random_results(truth)
    report = compare_runs(truth, [("a", results), ("b", results)], num_bootstrap=50)
    assert report["std"]["a"]["segm"]["AP"] is None
    assert all(v == 0 for v in report["delta"]["b"]["segm"].values())
    assert all(v == [0, 0] for v in report["interval"]["b"]["segm"].values())


def test_absent_groups_and_no_bootstrap(lvis):
    truth = lvis.random_truth(groups="ccff")
    results = lvis.random_results(truth)
    report = compare_runs(truth, [("a", results), ("b", results)], num_bootstrap=20)
    assert report["runs"]["a"]["segm"]["APr"] is None
    assert report["delta"]["b"]["segm"]["APr"] is None
    assert report["interval"]["b"]["segm"]["APr"] is None
    report = compare_runs(truth, [("a", results), ("b", results)], num_bootstrap=0)
    assert report["interval"]["b"]["segm"]["AP"] is None
    with pytest.raises(InputError, match="no run"):
        compare_runs(truth, [])
