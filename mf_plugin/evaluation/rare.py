"""LVIS average precision by frequency group, from a ground-truth json and a results json.

The metric is LVIS's federated AP (Gupta et al., arXiv 1908.03195, section 4): a category is scored
only on images that hold it or are verified not to. The numbers are hotcoco's ``LVISeval``, which
agrees with lvis-api. Shapes: T = 10 IoU thresholds, R = 101 recall thresholds, K categories.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mf_plugin.errors import InputError
from mf_plugin.extras import require
from mf_plugin.lvis.io import read_lvis

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "APr", "APc", "APf")
IOU_TYPES = ("bbox", "segm")
GROUPS = ("r", "c", "f")
RARE_MAX_IMAGES, COMMON_MAX_IMAGES = 10, 100  # LVIS: rare in 1-10 images, common in 11-100


@dataclass(frozen=True)
class GroundTruth:
    """A checked LVIS ground truth; every category that has a group carries it as ``frequency``.

    ``group_source`` says where the groups come from; None where there are none.
    """

    name: str
    data: dict[str, Any]
    group_source: str | None

    @property
    def groups(self) -> dict[int, str | None]:
        """category id -> "r", "c", "f" or None, in the order of the json."""
        return {c["id"]: c.get("frequency") for c in self.data["categories"]}


@dataclass(frozen=True)
class Results:
    """Checked detections in COCO-results form; ``iou_types`` are what they can be scored on."""

    name: str
    entries: list[dict[str, Any]]
    iou_types: tuple[str, ...]


def load_ground_truth(
    source: str | Path | Mapping[str, Any] | GroundTruth,
    train: str | Path | Mapping[str, Any] | None = None,
) -> GroundTruth:
    """Read and check an LVIS ground truth.

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
    _check_ground_truth(name, data)
    categories = [dict(c) for c in data["categories"]]
    without = [c for c in categories if c.get("frequency") not in GROUPS]
    group_source = f"frequency of {name}" if len(without) < len(categories) else None
    if without and train is not None:
        train_name, train_data = _read(train, "training json")
        counts = count_images(train_data)
        known = {c["id"] for c in train_data["categories"]}
        for category in without:
            if category["id"] not in known:
                raise InputError(
                    f"{train_name}: category {category['id']} ({category.get('name')}) of {name} "
                    "is missing, expected a training json of the same vocabulary"
                )
            category["frequency"] = frequency_group(counts.get(category["id"], 0))
        images = f"image counts of {train_name}"
        group_source = f"{group_source}, {images} where it is missing" if group_source else images
    else:
        for category in without:
            category.pop("frequency", None)
    return GroundTruth(name, {**data, "categories": categories}, group_source)


def load_results(source: str | Path | Sequence[Mapping] | Results, gt: GroundTruth) -> Results:
    """Read and check detections: d2's ``lvis_instances_results.json``, mmdet's ``*.segm.json``
    (boxes too) or ``*.bbox.json``, or such a list.

    Raises:
        InputError: names the file and the first bad entry; an empty list is bad input as well.
    """
    if isinstance(source, Results):
        return source
    if isinstance(source, (str, Path)):
        name, entries = str(source), _read_json(Path(source), "results")
    else:
        name, entries = "results", list(source)
    if not isinstance(entries, list):
        raise InputError(
            f"{name}: {type(entries).__name__} at the top, expected a list of detections"
        )
    if not entries:
        raise InputError(f"{name}: holds no detections, expected at least one")
    sizes = {i["id"]: [i["height"], i["width"]] for i in gt.data["images"]}
    categories = {c["id"] for c in gt.data["categories"]}
    for index, entry in enumerate(entries):
        problem = _entry_problem(entry, sizes, categories)
        if problem:
            raise InputError(f"{name}: detection {index}: {problem} (ground truth {gt.name})")
    iou_types = tuple(t for t in IOU_TYPES if all(_FIELD[t] in e for e in entries))
    if not iou_types:
        raise InputError(
            f"{name}: some detections lack bbox and some segmentation, expected one in all"
        )
    return Results(name, entries, iou_types)


def evaluate_lvis(
    gt: str | Path | Mapping[str, Any] | GroundTruth,
    results: str | Path | Sequence[Mapping] | Results,
    iou_types: Sequence[str] = IOU_TYPES,
    max_dets: int = 300,
    train: str | Path | None = None,
) -> dict[str, dict[str, Any]]:
    """LVIS AP of one results file.

    Returns:
        ``{iou_type: {"AP": ..., ..., "APf": ..., "per_category": {category id: AP}}}`` in percent.
        A group or category without ground truth is None; so is every metric of an IoU type that
        the results cannot be scored on (boxes only).

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
        found = evaluator.get_results()
        metrics = {m: _percent(found[m]) for m in METRICS}
        metrics["per_category"] = _category_aps(evaluator, truth)
        scores[iou_type] = metrics
    return scores


def build_evaluator(gt: GroundTruth, results: Results, iou_type: str, max_dets: int = 300):
    """hotcoco's LVIS evaluator, not yet run; as in Detectron2 and MMDetection the best ``max_dets``
    detections of an image count, over all categories, and mask detections have mask areas."""
    hotcoco = require("hotcoco", "eval")
    keys = ("image_id", "category_id", "score", _FIELD[iou_type])
    entries = [{k: e[k] for k in keys} for e in results.entries]
    truth = hotcoco.COCO(gt.data)
    return hotcoco.LVISeval(truth, hotcoco.LVISResults(truth, entries, max_dets), iou_type)


def count_images(data: Mapping[str, Any]) -> dict[int, int]:
    """category id -> number of images with at least one annotation of it."""
    pairs = {(a["category_id"], a["image_id"]) for a in data["annotations"]}
    counts: dict[int, int] = {}
    for category_id, _ in pairs:
        counts[category_id] = counts.get(category_id, 0) + 1
    return counts


def frequency_group(images: int) -> str:
    """LVIS's group of a category that ``images`` training images hold."""
    if images <= RARE_MAX_IMAGES:
        return "r"
    return "c" if images <= COMMON_MAX_IMAGES else "f"


_FIELD = {"bbox": "bbox", "segm": "segmentation"}


def _read(source: str | Path | Mapping[str, Any], what: str) -> tuple[str, Mapping[str, Any]]:
    if isinstance(source, Mapping):
        return what, source
    return str(source), read_lvis(source)


def _read_json(path: Path, what: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file, expected a {what} json") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: not a complete json ({error}), expected a {what} json"
        ) from error


def _check_ground_truth(name: str, data: Mapping[str, Any]) -> None:
    for key in ("images", "annotations", "categories"):
        if not isinstance(data.get(key), list):
            raise InputError(f"{name}: no list {key!r}, expected an LVIS ground truth")
    for index, image in enumerate(data["images"]):
        for key in ("id", "width", "height", "neg_category_ids", "not_exhaustive_category_ids"):
            if key not in image:
                raise InputError(
                    f"{name}: image {index} lacks {key!r}, expected LVIS's federated format"
                )
    images = {i["id"] for i in data["images"]}
    categories = {c["id"] for c in data["categories"]}
    for index, annotation in enumerate(data["annotations"]):
        for key in ("id", "image_id", "category_id", "bbox", "area", "segmentation"):
            if key not in annotation:
                raise InputError(f"{name}: annotation {index} lacks {key!r}")
        if annotation["image_id"] not in images:
            raise InputError(
                f"{name}: annotation {index}: unknown image_id {annotation['image_id']}"
            )
        if annotation["category_id"] not in categories:
            raise InputError(
                f"{name}: annotation {index}: unknown category_id {annotation['category_id']}"
            )


def _entry_problem(entry: Any, sizes: dict[int, list[int]], categories: set[int]) -> str | None:
    if not isinstance(entry, Mapping):
        return f"{type(entry).__name__}, expected an object with image_id, category_id and score"
    for key in ("image_id", "category_id", "score"):
        if key not in entry:
            return f"{key!r} is missing"
    if entry["image_id"] not in sizes:
        return (
            f"image_id {entry['image_id']!r}, expected one of the {len(sizes)} ground-truth images"
        )
    if entry["category_id"] not in categories:
        expected = f"one of the {len(categories)} categories"
        return f"category_id {entry['category_id']!r}, expected {expected}"
    if not _all_finite([entry["score"]]):
        return f"score {entry['score']!r}, expected a finite number"
    if "bbox" not in entry and "segmentation" not in entry:
        return "neither bbox nor segmentation"
    if "bbox" in entry:
        box = entry["bbox"]
        if not isinstance(box, Sequence) or len(box) != 4 or not _all_finite(box):
            return f"bbox {box!r}, expected four finite numbers x, y, width, height"
    if "segmentation" in entry:
        mask = entry["segmentation"]
        if isinstance(mask, Mapping):
            if list(mask.get("size", ())) != sizes[entry["image_id"]] or "counts" not in mask:
                size = sizes[entry["image_id"]]
                return f"mask of size {mask.get('size')}, expected RLE counts of size {size}"
        elif not isinstance(mask, list):
            return f"segmentation of type {type(mask).__name__}, expected RLE or polygons"
    return None


def _all_finite(values: Iterable[Any]) -> bool:
    return all(
        isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v) for v in values
    )


def _percent(value: float) -> float | None:
    return None if value < 0 else 100.0 * float(value)


def _category_aps(evaluator, gt: GroundTruth) -> dict[int, float | None]:
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
