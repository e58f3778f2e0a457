"""Ground truth in COCO's form: LVIS's rules with all absent categories verified are COCO's."""

from __future__ import annotations

import contextlib
import copy
import io

import numpy as np
import pytest

from mf_plugin.errors import InputError
from mf_plugin.evaluation.rare import evaluate_lvis, load_ground_truth

pytest.importorskip("hotcoco")


def coco_truth(lvis, crowds):
    truth = lvis.random_truth(5)
    rng = np.random.default_rng(0)
    for image in truth["images"]:
        del image["neg_category_ids"], image["not_exhaustive_category_ids"]
    for category in truth["categories"]:
        del category["frequency"]
    for annotation in truth["annotations"]:
        annotation["iscrowd"] = int(crowds and rng.random() < 0.15)
    return truth


@pytest.mark.parametrize(("iou_type", "field"), [("bbox", "bbox"), ("segm", "segmentation")])
@pytest.mark.parametrize("crowds", [False, True])
def test_equals_cocoeval(lvis, iou_type, field, crowds):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth = coco_truth(lvis, crowds)
    results = lvis.random_results(truth, 5)
    with contextlib.redirect_stdout(io.StringIO()):
        oracle = COCO()
        oracle.dataset = copy.deepcopy(truth)
        oracle.createIndex()
        keys = ("image_id", "category_id", "score", field)
        loaded = oracle.loadRes([{k: r[k] for k in keys} for r in results])
        evaluator = COCOeval(oracle, loaded, iou_type)
        evaluator.params.maxDets = [300]
        evaluator.evaluate()
        evaluator.accumulate()

    def mean(values):
        return 100 * values[values > -1].mean()

    precision = evaluator.eval["precision"][..., -1]  # [T, R, K, sizes]
    recall = evaluator.eval["recall"][..., -1]
    found = evaluate_lvis(truth, results)[iou_type]
    expected = {"AP": precision[..., 0], "AP50": precision[0, :, :, 0], "AR": recall[..., 0]}
    expected["AP75"] = precision[5, :, :, 0]
    for size, letter in enumerate("sml", 1):
        expected[f"AP{letter}"], expected[f"AR{letter}"] = precision[..., size], recall[..., size]
    for metric, values in expected.items():
        assert found[metric] == pytest.approx(mean(values), abs=1e-6), metric
    for k, category_id in enumerate(evaluator.params.catIds):
        ap = found["per_category"][category_id]
        assert ap == pytest.approx(mean(precision[:, :, k, 0]), abs=1e-6)


def test_groups_come_from_the_training_set(lvis):
    truth = coco_truth(lvis, False)
    results = lvis.random_results(truth, 5)
    assert evaluate_lvis(truth, results)["segm"]["APr"] is None
    box = [10, 10, 40, 40]
    counts = dict.fromkeys(range(1, 14), 101) | {1: 10, 2: 11, 3: 100}
    train = lvis.ground_truth(
        [([], [])] * 101,
        [None] * 13,
        [(image, c, box) for c, count in counts.items() for image in range(1, count + 1)],
    )
    found = evaluate_lvis(truth, results, train=train)["segm"]
    per_category = found["per_category"]
    assert found["APr"] == pytest.approx(per_category[1])
    assert found["APc"] == pytest.approx((per_category[2] + per_category[3]) / 2)
    assert found["APf"] == pytest.approx(np.mean([per_category[c] for c in range(4, 14)]))


def test_half_federated_is_neither(lvis):
    truth = coco_truth(lvis, False)
    assert not load_ground_truth(truth).federated
    truth["images"][3]["neg_category_ids"] = []
    with pytest.raises(InputError, match="image 0 lacks 'neg_category_ids', expected LVIS's fed"):
        load_ground_truth(truth)
