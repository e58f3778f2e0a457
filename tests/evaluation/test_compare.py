from __future__ import annotations

import numpy as np
import pytest

from mf_plugin.errors import InputError
from mf_plugin.evaluation.compare import (
    BOOTSTRAP_METRICS,
    CategoryMatches,
    bootstrap_ap,
    bootstrap_metrics,
    compare_runs,
    match_detections,
)
from mf_plugin.evaluation.rare import evaluate_lvis, load_ground_truth, load_results

pytest.importorskip("hotcoco")


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
@pytest.mark.parametrize("tie", [False, True])
def test_without_resampling_it_is_lvis_ap(lvis, iou_type, tie):
    truth = load_ground_truth(lvis.random_truth())
    results = load_results(lvis.random_results(truth.data, tie=tie), truth)
    expected = evaluate_lvis(truth, results)[iou_type]
    matches = match_detections(truth, results, iou_type)
    ones = np.ones((1, len(truth.data["images"])), np.float32)
    found = bootstrap_metrics(truth, matches, ones)
    for metric in BOOTSTRAP_METRICS:
        assert found[metric][0] == pytest.approx(expected[metric], abs=1e-9)
    for match in matches:
        ap = bootstrap_ap(match, ones).mean()
        assert 100 * ap == pytest.approx(expected["per_category"][match.category_id], abs=1e-9)


def test_weights_equal_copies_of_images(lvis):
    # an image drawn n times is n images with the same objects and detections
    truth = lvis.random_truth(3, num_images=25)
    results = lvis.random_results(truth, 3)
    weights = np.random.default_rng(0).multinomial(25, np.full(25, 1 / 25))
    copied_truth = {**truth, "images": [], "annotations": []}
    copied_results = []
    for image, count in zip(truth["images"], weights, strict=True):
        for copy in range(count):
            new_id = image["id"] * 1000 + copy
            copied_truth["images"].append({**image, "id": new_id})
            for annotation in truth["annotations"]:
                if annotation["image_id"] == image["id"]:
                    new = {**annotation, "image_id": new_id}
                    new["id"] = len(copied_truth["annotations"]) + 1
                    copied_truth["annotations"].append(new)
            copied_results += [
                {**r, "image_id": new_id} for r in results if r["image_id"] == image["id"]
            ]
    expected = evaluate_lvis(copied_truth, copied_results)["segm"]
    checked = load_ground_truth(truth)
    matches = match_detections(checked, load_results(results, checked), "segm")
    found = bootstrap_metrics(checked, matches, weights[None].astype(np.float32))
    for metric in BOOTSTRAP_METRICS:
        assert found[metric][0] == pytest.approx(expected[metric], abs=1e-9)


def test_category_absent_from_a_draw_is_nan():
    # image 0: a hit; image 1: a higher-scored false alarm; one object, in image 0
    matches = CategoryMatches(
        category_id=1,
        matched=np.array([[False, True]]),
        ignored=np.zeros((1, 2), bool),
        image=np.array([1, 0]),
        num_objects=np.array([1, 0]),
    )
    weights = np.array([[1, 1], [2, 0], [0, 2], [1, 3]], np.float32)
    ap = bootstrap_ap(matches, weights)[:, 0]
    np.testing.assert_allclose(ap, [1 / 2, 1, np.nan, 1 / 4])


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
