"""LVIS average precision by frequency group, from a ground-truth json and a results json.

The metric is LVIS's federated AP (Gupta et al., arXiv 1908.03195, section 4): a category is scored
only on images that hold it or are verified not to. The numbers are hotcoco's ``LVISeval``, which
agrees with lvis-api. Shapes: T = 10 IoU thresholds, R = 101 recall thresholds, K categories.

A ground truth in COCO's form has no verified-absent categories: every image is annotated for every
category. LVIS's rules with all absent categories verified are COCO's, crowds included.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mf_plugin.arrays import IntArray
from mf_plugin.errors import InputError
from mf_plugin.evaluation.detections import IOU_TYPES, Results, Scope, read_results
from mf_plugin.evaluation.training_counts import TrainingCounts, count_training
from mf_plugin.evaluation.truth_checks import FEDERATED_KEYS, check_ground_truth
from mf_plugin.extras import require
from mf_plugin.lvis.io import read_lvis

logger = logging.getLogger(__name__)

METRICS = (
    *("AP", "AP50", "AP75", "APs", "APm", "APl", "APr", "APc", "APf"),
    *("AR", "ARs", "ARm", "ARl"),
)
GROUPS = ("r", "c", "f")
RARE_MAX_IMAGES, COMMON_MAX_IMAGES = 10, 100  # LVIS: rare in 1-10 images, common in 11-100


@dataclass(frozen=True)
class GroundTruth:
    """A checked LVIS ground truth; every category that has a group carries it as ``frequency``.

    ``group_source`` says where the groups come from; None where there are none. ``federated`` is
    False for one in COCO's form, whose ``data`` has LVIS's keys filled in.
    """

    name: str
    data: dict[str, Any]
    group_source: str | None
    federated: bool = True

    @property
    def groups(self) -> dict[int, str | None]:
        """category id -> "r", "c", "f" or None, in the order of the json."""
        return {c["id"]: c.get("frequency") for c in self.data["categories"]}

    @cached_property
    def coco(self) -> Any:
        """hotcoco's form of it."""
        try:
            return require("hotcoco", "eval").COCO(self.data)
        except (ValueError, TypeError, OverflowError) as error:
            line = " ".join(str(error).split())
            raise InputError(f"{self.name}: {line}") from error

    @cached_property
    def scope(self) -> Scope:
        """What it says about detections."""
        images = sorted(self.data["images"], key=lambda image: image["id"])
        image_ids = np.array([i["id"] for i in images], dtype=np.int64)
        category_ids = np.sort(np.array(list(self.groups), dtype=np.int64))
        place = {c: k for k, c in enumerate(category_ids.tolist())}
        row = {i: n for n, i in enumerate(image_ids.tolist())}
        verified = np.zeros((len(image_ids), len(category_ids)), dtype=bool)
        for n, image in enumerate(images):
            verified[n, [place[c] for c in image["neg_category_ids"] if c in place]] = True
        annotations = self.data["annotations"]
        rows = [row[a["image_id"]] for a in annotations]
        verified[rows, [place[a["category_id"]] for a in annotations]] = True
        sizes = np.array([[i["height"], i["width"]] for i in images], dtype=np.int64)
        return Scope(self.name, image_ids, category_ids, sizes.reshape(-1, 2), verified)


def load_ground_truth(
    source: str | Path | Mapping[str, Any] | GroundTruth,
    train: str | Path | Mapping[str, Any] | TrainingCounts | None = None,
) -> GroundTruth:
    """Read and check a ground truth in LVIS's form, or in COCO's.

    Args:
        source: path of the json, or its content.
        train: training json; gives the groups of the categories for which the ground truth has no
            ``frequency``, from the number of training images that hold them (r <= 10, c <= 100).

    Raises:
        InputError: names the file and the first problem.
    """
    if isinstance(source, GroundTruth):
        return source
    name, data = _read(source, "ground truth")
    check_ground_truth(name, data)
    categories = [dict(c) for c in data["categories"]]
    without = [c for c in categories if c.get("frequency") not in GROUPS]
    group_source = f"frequency of {name}" if len(without) < len(categories) else None
    if without and train is not None:
        counts = count_training(train)
        known = {c["id"] for c in counts.categories}
        for category in without:
            if category["id"] not in known:
                raise InputError(
                    f"{counts.name}: category {category['id']} ({category.get('name')}) of {name} "
                    "is missing, expected a training json of the same vocabulary"
                )
            category["frequency"] = frequency_group(counts.images.get(category["id"], 0))
        images = f"image counts of {counts.name}"
        group_source = f"{group_source}, {images} where it is missing" if group_source else images
    else:
        for category in without:
            category.pop("frequency", None)
    federated = any(key in image for image in data["images"] for key in FEDERATED_KEYS)
    data = {**data, "categories": categories}
    if not federated:
        data["images"] = _annotated_in_full(data)
    return GroundTruth(name, data, group_source, federated)


def load_results(
    source: str | Path | Sequence[Mapping[str, Any]] | Results, gt: GroundTruth
) -> Results:
    """Read and check detections, see `detections.read_results`.

    Raises:
        InputError: names the file and the first bad entry; an empty list is bad input as well.
    """
    return source if isinstance(source, Results) else read_results(source, gt.scope)


def evaluate_lvis(
    gt: str | Path | Mapping[str, Any] | GroundTruth,
    results: str | Path | Sequence[Mapping[str, Any]] | Results,
    iou_types: Sequence[str] = IOU_TYPES,
    max_dets: int = 300,
    train: str | Path | None = None,
) -> dict[str, dict[str, Any]]:
    """LVIS AP of one results file.

    Returns:
        ``{iou_type: {METRIC: ..., "per_category": {category id: AP}}}`` in percent. AR is recall at
        ``max_dets``, the mean over T. A group or category without ground truth is None; so is every
        metric of an IoU type that the results cannot be scored on (boxes only).

    Raises:
        InputError: bad ground truth, results or IoU type.
        MissingExtra: hotcoco is not installed.
    """
    truth = load_ground_truth(gt, train)
    detections = load_results(results, truth)
    scores: dict[str, dict[str, Any]] = {}
    for iou_type in iou_types:
        if iou_type not in IOU_TYPES:
            raise InputError(f"IoU type {iou_type!r}, expected one of {', '.join(IOU_TYPES)}")
        if iou_type not in detections.iou_types:
            scores[iou_type] = {
                **dict.fromkeys(METRICS),
                "per_category": dict.fromkeys(truth.groups),
            }
            continue
        evaluator = build_evaluator(truth, detections, iou_type, max_dets)
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summary_lines()  # fills the metrics; summarize() would print them
        found = {key.split("@")[0]: value for key, value in evaluator.get_results().items()}
        scores[iou_type] = {
            **{m: _percent(found[m]) for m in METRICS},
            "per_category": _category_aps(evaluator, truth),
        }
    return scores


def evaluate_predictions(
    gt: GroundTruth, predictions: Sequence[Mapping[str, Any]], max_dets: int = 300
) -> dict[str, dict[str, float]]:
    """What a framework's evaluator reports: ``{iou_type: {METRIC: percent}}`` as plain floats.

    Boxes, and masks where predictions have some. An absent group is nan; without predictions
    every metric is nan, with a warning.
    """
    tasks = ["bbox"] + ["segm"] * any("segmentation" in p for p in predictions)
    if not predictions:
        logger.warning("no detections at all: nothing to measure")
        return {task: dict.fromkeys(METRICS, math.nan) for task in tasks}
    scores = evaluate_lvis(gt, predictions, tasks, max_dets)
    return {
        task: {m: math.nan if scores[task][m] is None else scores[task][m] for m in METRICS}
        for task in tasks
    }


def build_evaluator(
    gt: GroundTruth, results: Results, iou_type: str, max_dets: int | None = 300
) -> Any:
    """hotcoco's LVIS evaluator, not yet run; as in Detectron2 and MMDetection the best ``max_dets``
    detections of an image count, over all categories, and mask detections have mask areas.

    Without ``max_dets`` all count. Detection n of the results has the id n + 1 then.
    """
    hotcoco = require("hotcoco", "eval")
    kept: IntArray = np.arange(len(results.scores))
    if max_dets is not None:
        kept = kept[results.rank_in_image < max_dets]
    rows = np.empty((len(kept), 7))
    rows[:, 0] = gt.scope.image_ids[results.image[kept]]
    rows[:, 5] = results.scores[kept]
    rows[:, 6] = gt.scope.category_ids[results.category[kept]]
    if iou_type == "bbox":
        assert results.boxes is not None  # see Results.iou_types
        rows[:, 1:5] = results.boxes[kept]
        detections = gt.coco.load_res(rows)
    else:
        assert results.masks is not None
        masks = [results.masks[k] for k in kept.tolist()]
        rows[:, 1:5] = results.mask_boxes[kept]
        detections = gt.coco.load_res(rows, segmentation=masks)
        detections.update_anns(ids=np.arange(1, len(kept) + 1), area=results.mask_areas[kept])
    evaluator = hotcoco.LVISeval(gt.coco, detections.cap_detections_per_image(None), iou_type)
    most = np.bincount(results.image[kept]).max() if len(kept) else 0
    evaluator.params.max_dets = [max_dets if max_dets is not None else int(max(most, 1))]
    return evaluator


def frequency_group(images: int) -> str:
    """LVIS's group of a category that ``images`` training images hold."""
    if images <= RARE_MAX_IMAGES:
        return "r"
    return "c" if images <= COMMON_MAX_IMAGES else "f"


def _read(source: str | Path | Mapping[str, Any], what: str) -> tuple[str, Mapping[str, Any]]:
    if isinstance(source, Mapping):
        return what, source
    return str(source), read_lvis(source)


def _annotated_in_full(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """COCO's images with LVIS's keys: every category that an image lacks is verified absent."""
    ids = [c["id"] for c in data["categories"]]
    present: dict[int, set[int]] = {image["id"]: set() for image in data["images"]}
    for annotation in data["annotations"]:
        present[annotation["image_id"]].add(annotation["category_id"])
    return [
        {
            **image,
            "neg_category_ids": [c for c in ids if c not in present[image["id"]]],
            "not_exhaustive_category_ids": [],
        }
        for image in data["images"]
    ]


def _percent(value: float) -> float | None:
    return None if value < 0 else 100.0 * float(value)


def _category_aps(evaluator: Any, gt: GroundTruth) -> dict[int, float | None]:
    """Per-category AP in percent: the mean over T and R of precision[T, R, K] for all areas."""
    params = evaluator.params
    precision = np.asarray(evaluator.eval["precision"])[
        :, :, :, params.area_rng_lbl.index("all"), -1
    ]
    aps = dict.fromkeys(gt.groups)
    for k, category_id in enumerate(params.cat_ids):
        valid = precision[:, :, k][precision[:, :, k] > -1]
        aps[category_id] = 100.0 * float(valid.mean()) if valid.size else None
    return aps
