from __future__ import annotations

import numpy as np
import pytest

from mf_plugin.evaluation.bootstrap import BOOTSTRAP_METRICS, bootstrap_metrics
from mf_plugin.evaluation.matching import CategoryMatches, best_of_image, match_detections
from mf_plugin.evaluation.rare import (
    GroundTruth,
    evaluate_lvis,
    load_ground_truth,
    load_results,
)

pytest.importorskip("hotcoco")
pytest.importorskip("numba")

ONE_CATEGORY = GroundTruth("one category", {"categories": [{"id": 1}]}, None)
THRESHOLDS = 6  # the first is AP50's, the last AP75's


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
@pytest.mark.parametrize("tie", [False, True])
def test_without_resampling_it_is_lvis_ap(lvis, iou_type, tie):
    truth = load_ground_truth(lvis.random_truth())
    results = load_results(lvis.random_results(truth.data, tie=tie), truth)
    expected = evaluate_lvis(truth, results)[iou_type]
    matches = best_of_image(match_detections(truth, results, iou_type), results, 300)
    ones = np.ones((1, len(truth.data["images"])), np.int32)
    found = bootstrap_metrics(truth, matches, ones)
    for metric in BOOTSTRAP_METRICS:
        assert found[metric][0] == pytest.approx(expected[metric], abs=1e-9)
    for match in matches:
        ap = bootstrap_metrics(truth, [match], ones)["AP"][0]
        assert ap == pytest.approx(expected["per_category"][match.category_id], abs=1e-9)


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
    found = bootstrap_metrics(checked, matches, weights[None].astype(np.int32))
    for metric in BOOTSTRAP_METRICS:
        assert found[metric][0] == pytest.approx(expected[metric], abs=1e-9)


def test_category_absent_from_a_draw_is_nan():
    # image 0: a hit; image 1: a higher-scored false alarm; one object, in image 0
    matches = CategoryMatches(
        category_id=1,
        matched=np.tile([False, True], (THRESHOLDS, 1)),
        ignored=np.zeros((THRESHOLDS, 2), bool),
        image=np.array([1, 0]),
        num_objects=np.array([1, 0]),
        detection=np.array([0, 1]),
    )
    weights = np.array([[1, 1], [2, 0], [0, 2], [1, 3]], np.int32)
    found = bootstrap_metrics(ONE_CATEGORY, [matches], weights)
    for metric in ("AP", "AP50", "AP75"):
        np.testing.assert_allclose(found[metric], [50, 100, np.nan, 25])


def plain_ap(matched, ignored, image, num_objects, weights):
    """AP at one threshold with every detection and object copied as its image's weight says."""
    total = int(weights @ num_objects)
    if not total:
        return np.nan
    precision, recall, hits, seen = [], [], 0, 0
    for hit, skip, i in zip(matched, ignored, image, strict=True):
        if not skip:
            hits, seen = hits + weights[i] * hit, seen + weights[i]
            precision.append(hits / max(seen, 1))
            recall.append(hits / total)
    precision = np.maximum.accumulate(np.array(precision)[::-1])[::-1]
    first = np.searchsorted(recall, np.linspace(0, 1, 101))
    return np.where(first < len(recall), np.append(precision, 0)[first], 0).mean()


@pytest.mark.parametrize("size", [1, 3, 400])
def test_weighted_ap_equals_a_plain_loop_over_copies(size):
    # hits of weight 0, and detections that are ignored at some thresholds and count at others
    rng = np.random.default_rng(size)
    image = rng.integers(0, 20, size)
    matched = rng.random((THRESHOLDS, size)) < 0.6
    ignored = (rng.random((THRESHOLDS, size)) < 0.2) & ~matched
    objects = np.bincount(image[matched.any(0)], minlength=20) + rng.integers(0, 2, 20)
    matches = CategoryMatches(1, matched, ignored, image, objects, np.arange(size))
    weights = rng.multinomial(20, np.full(20, 1 / 20), size=30).astype(np.int32)
    found = bootstrap_metrics(ONE_CATEGORY, [matches], weights)
    expected = 100 * np.array(
        [[plain_ap(*marks, image, objects, w) for marks in zip(matched, ignored)] for w in weights]
    )
    np.testing.assert_allclose(found["AP50"], expected[:, 0], atol=1e-10)
    np.testing.assert_allclose(found["AP75"], expected[:, -1], atol=1e-10)
    np.testing.assert_allclose(found["AP"], expected.mean(1), atol=1e-10)


def test_a_category_without_hits_has_ap_0():
    none = np.zeros((THRESHOLDS, 3), bool)
    matches = CategoryMatches(1, none, ~none, np.arange(3), np.array([0, 1, 0]), np.arange(3))
    found = bootstrap_metrics(ONE_CATEGORY, [matches], np.array([[1, 1, 1], [2, 0, 1]]))
    for metric in ("AP", "AP50", "AP75"):
        np.testing.assert_array_equal(found[metric], [0, np.nan])
