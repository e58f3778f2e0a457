"""Fixed AP and limits on detections, against a plain loop over LVIS's rules."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as mask_api

from mf_plugin.evaluation.bootstrap import bootstrap_metrics
from mf_plugin.evaluation.compare import compare_runs
from mf_plugin.evaluation.matching import best_of_category, best_of_image, match_detections
from mf_plugin.evaluation.rare import evaluate_lvis, load_ground_truth, load_results

pytest.importorskip("hotcoco")

THRESHOLDS = np.linspace(0.5, 0.95, 10)
GRID = np.linspace(0, 1, 101)


def plain_fixed_ap(truth, results, iou_type, limit):
    """category id -> AP in percent, as Dave et al. say it: the best ``limit`` detections of each
    category over the dataset, then LVIS's rules without a limit per image."""
    aps = {}
    for category in (c["id"] for c in truth["categories"]):
        found = [r for r in results if r["category_id"] == category]
        found = sorted(found, key=lambda r: -r["score"])[:limit]
        marks, count = [], 0  # (score, hit or not at each threshold, ignored at each)
        for image in truth["images"]:
            objects = [
                a
                for a in truth["annotations"]
                if (a["image_id"], a["category_id"]) == (image["id"], category)
            ]
            if not objects and category not in image["neg_category_ids"]:
                continue
            count += len(objects)
            partly = category in image["not_exhaustive_category_ids"]
            taken = [set() for _ in THRESHOLDS]
            for result in (r for r in found if r["image_id"] == image["id"]):
                hits = []
                for t, threshold in enumerate(THRESHOLDS):
                    best, best_iou = None, min(threshold, 1 - 1e-10)
                    for k, annotation in enumerate(objects):
                        overlap = iou(result, annotation, iou_type)
                        if k not in taken[t] and overlap >= best_iou:
                            best, best_iou = k, overlap
                    if best is not None:
                        taken[t].add(best)
                    hits.append(best is not None)
                marks.append((result["score"], hits, [partly and not h for h in hits]))
        if count:
            marks.sort(key=lambda mark: -mark[0])
            aps[category] = 100 * np.mean([area(marks, t, count) for t in range(10)])
    return aps


def iou(result, annotation, iou_type):
    if iou_type == "bbox":
        return mask_api.iou([result["bbox"]], [annotation["bbox"]], [0])[0, 0]
    size = result["segmentation"]["size"]
    rle = mask_api.merge(mask_api.frPyObjects(annotation["segmentation"], *size))
    return mask_api.iou([result["segmentation"]], [rle], [0])[0, 0]


def area(marks, t, count):
    precision, recall, hits, seen = [], [], 0, 0
    for _, hit, ignored in marks:
        if not ignored[t]:
            seen += 1
            hits += hit[t]
            precision.append(hits / seen)
            recall.append(hits / count)
    reached = [max((p for p, r in zip(precision, recall) if r >= g), default=0) for g in GRID]
    return np.mean(reached)


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
@pytest.mark.parametrize("limit", [10_000, 12])
def test_fixed_ap_equals_a_plain_loop(lvis, iou_type, limit):
    truth = lvis.random_truth(2, num_images=12)
    data = lvis.random_results(truth, 2)
    expected = plain_fixed_ap(truth, data, iou_type, limit)
    checked = load_ground_truth(truth)
    results = load_results(data, checked)
    matches = match_detections(checked, results, iou_type)
    ones = np.ones((1, 12), np.int32)
    for match in best_of_category(matches, results, limit):
        ap = bootstrap_metrics(checked, [match], ones)["AP"][0]
        assert ap == pytest.approx(expected.get(match.category_id, np.nan), abs=1e-6, nan_ok=True)
    if limit == 12:
        assert expected != plain_fixed_ap(truth, data, iou_type, 10_000), "the limit bites"


def test_fixed_ap_has_no_limit_per_image(lvis):
    # 301 better false alarms of another category push the only hit out of LVIS AP, not of this
    box = [10, 10, 40, 40]
    truth = lvis.ground_truth([([], [])], ["r", "f"], [(1, 1, box), (1, 2, box)])
    results = [lvis.detection(1, 2, [90, 90, 9, 9], 0.9) for _ in range(301)]
    results.append(lvis.detection(1, 1, box, 0.1))
    report = compare_runs(truth, [("run", results)], num_bootstrap=0)
    for iou_type in ("bbox", "segm"):
        assert report["runs"]["run"][iou_type]["APr"] == 0
        assert report["fixed"]["runs"]["run"][iou_type]["APr"] == pytest.approx(100)
        assert report["fixed"]["runs"]["run"][iou_type]["APf"] == 0


@pytest.mark.parametrize("max_dets", [300, 12])
def test_limit_per_image_is_lvis_ap(lvis, max_dets):
    truth = load_ground_truth(lvis.random_truth(4))
    results = load_results(lvis.random_results(truth.data, 4, tie=True), truth)
    matches = match_detections(truth, results, "segm")
    ones = np.ones((1, 40), np.int32)
    found = bootstrap_metrics(truth, best_of_image(matches, results, max_dets), ones)
    expected = evaluate_lvis(truth, results, max_dets=max_dets)["segm"]
    for metric, value in found.items():
        assert value[0] == pytest.approx(expected[metric], abs=1e-9), metric


def test_no_detection_where_any_could_be_scored(lvis):
    truth = lvis.ground_truth([([], [])], ["r", "f"], [(1, 1, [10, 10, 40, 40])])
    results = [lvis.detection(1, 2, [10, 10, 40, 40], 0.9)]
    report = compare_runs(truth, [("run", results)], num_bootstrap=5)
    assert report["runs"]["run"]["segm"]["AP"] == 0
    assert report["fixed"]["runs"]["run"]["bbox"]["APr"] == 0
