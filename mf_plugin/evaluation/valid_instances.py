"""How many annotated instances of a dataset a detector sees as they are labelled.

The detector is a judge: trained on plentiful real renderings, it measures a synthetic dataset and
never filters, ranks or selects any of it. The rule, for each instance:

    no mask       no detection has a mask of IoU >= 0.5 with the instance's
    wrong class   one has, and names another category
    valid         one has, and names the instance's category

Of detections that lie in one place (mask IoU >= 0.5) the best scored counts, whatever its
category, and a detection serves one instance: two objects under one mask are not both valid. The
score from which detections count is set on real images (`calibrate`), never on synthetic ones. What
the judge itself misses is its share on an oracle, whose labels and masks are exact: a dataset's
share is to be read against that.

Shapes: I instances and D detections of an image, N images, B bootstrap draws.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as mask_api

from mf_plugin.arrays import FloatArray, IntArray, Mask
from mf_plugin.errors import InputError
from mf_plugin.evaluation.bootstrap import Weights, draw_weights
from mf_plugin.evaluation.detections import Results, read_results
from mf_plugin.evaluation.rare import GROUPS, GroundTruth, load_ground_truth
from mf_plugin.jsonfile import read_json

MIN_IOU = 0.5
VALID, WRONG_CLASS, NO_MASK = OUTCOMES = ("valid", "wrong class", "no mask")
SCORES = tuple(k / 100 for k in range(5, 100))  # that `calibrate` tries
INTERVAL = (0.025, 0.975)


@dataclass(frozen=True)
class Verdict:
    """What the judge says of one instance.

    Attributes:
        outcome: one of ``OUTCOMES``.
        iou: of its mask with the detection that serves it, or, where the outcome is "no mask", with
            the nearest one that serves no other instance; 0 where there is none.
        named: category id of the detection that serves it; None where the outcome is "no mask".
        detection: of which ``iou`` is, as an index into the results; None where there is none.
    """

    annotation_id: int
    image_id: int
    category_id: int
    outcome: str
    iou: float
    named: int | None
    detection: int | None


@dataclass(frozen=True)
class Calibration:
    """The score from which detections count, and how well the judge does there on real images.

    Attributes:
        recall: valid instances over instances.
        precision: the same number over detections.
        f1: their harmonic mean.
    """

    score: float
    f1: float
    precision: float
    recall: float
    instances: int
    images: int


def load_dataset(source: str | Path | Mapping[str, Any]) -> GroundTruth:
    """A dataset to judge: a folder with annotations.json, or the content of such a json.

    Raises:
        InputError: names the file and the first problem; a dataset without instances is one.
    """
    if not isinstance(source, Mapping):
        source = Path(source) / "annotations.json"
    dataset = load_ground_truth(source)
    if not dataset.data["annotations"]:
        raise InputError(f"{dataset.name} has no instances: expected some to judge")
    if any(annotation["segmentation"] == [] for annotation in dataset.data["annotations"]):
        raise InputError(f"{dataset.name} has instances without a mask: expected one of each")
    return dataset


def load_detections(
    source: str | Path | Sequence[Mapping[str, Any]], dataset: GroundTruth
) -> Results:
    """What the judge sees in the dataset, all categories in all images, see `read_results`.

    Raises:
        InputError: names the first bad entry; detections without masks are bad input as well.
    """
    everywhere = np.ones_like(dataset.scope.verified)
    results = read_results(source, replace(dataset.scope, verified=everywhere))
    if results.masks is None:
        raise InputError(f"{results.name}: detections without masks, expected a judge with masks")
    results.mask_areas  # noqa: B018  finds damaged masks, which pycocotools would not
    return results


def judge_instances(
    dataset: GroundTruth, results: Results, score: float, min_iou: float = MIN_IOU
) -> list[Verdict]:
    """Judge every instance of a dataset.

    Args:
        dataset: of `load_dataset`.
        results: of `load_detections`.
        score: from which detections count.
        min_iou: from which a detection's mask is an instance's.

    Returns:
        One verdict an instance, in the order of the annotations.
    """
    annotations = dataset.data["annotations"]
    named = dataset.scope.category_ids[results.category]
    verdicts: dict[int, Verdict] = {}
    for place in _places(dataset, results):
        ious = place.above(results.scores, score)
        served_by = _match(ious, min_iou)
        free = np.setdiff1d(np.arange(ious.shape[1]), served_by)
        for row, index in enumerate(place.instances.tolist()):
            asked = annotations[index]
            column, category_id = int(served_by[row]), None
            if column >= 0:
                category_id = int(named[place.detections[column]])
                outcome = VALID if category_id == asked["category_id"] else WRONG_CLASS
            else:
                outcome = NO_MASK
                column = int(free[ious[row, free].argmax()]) if len(free) else -1
            iou = float(ious[row, column]) if column >= 0 else 0.0
            detection = int(place.detections[column]) if iou > 0 else None
            verdicts[index] = Verdict(
                asked["id"], asked["image_id"], asked["category_id"],
                outcome, iou, category_id, detection,
            )  # fmt: skip
    return [verdicts[index] for index in range(len(annotations))]


def calibrate(dataset: GroundTruth, results: Results) -> Calibration:
    """The score of the highest F1 under the rule, on real images; of equal ones the lowest."""
    annotations = dataset.data["annotations"]
    asked = np.array([a["category_id"] for a in annotations])
    named = dataset.scope.category_ids[results.category]
    places = list(_places(dataset, results))
    best: Calibration | None = None
    for score in SCORES:
        valid = detections = 0
        for place in places:
            ious = place.above(results.scores, score)
            served_by = _match(ious)
            served = served_by >= 0
            names = named[place.detections[served_by[served]]]
            valid += int((names == asked[place.instances[served]]).sum())
            detections += ious.shape[1]
        f1 = 2 * valid / (len(annotations) + detections)
        if best is None or f1 > best.f1:
            precision = valid / detections if detections else 0.0
            recall = valid / len(annotations)
            num_images = len(dataset.data["images"])
            best = Calibration(score, f1, precision, recall, len(annotations), num_images)
    assert best is not None  # there are scores to try
    return best


def read_score(path: str | Path) -> float:
    """The score of a calibration json; InputError where the file holds none."""
    try:
        score = read_json(path)["score"]
    except (OSError, InputError, KeyError, TypeError):
        score = None
    if type(score) not in (int, float) or not 0 <= score <= 1:
        raise InputError(f"{path} holds no score: expected what the command calibrate writes")
    return float(score)


def summarise(
    dataset: GroundTruth, verdicts: Sequence[Verdict], *, num_draws: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Shares of the outcomes with 95 % intervals; images are resampled, not instances, since those
    of a canvas depend on each other.

    Returns:
        JSON: "all", "groups" {"r", "c", "f"} and "categories" {name} of rows ``{"instances": n,
        outcome: [share, low, high]}``, shares in 0..1; a group or category without instances is
        left out. A category's row has "named" {wrong name: times} as well. "iou" counts the
        instances in ten equal bins of IoU.
    """
    place = {image_id: n for n, image_id in enumerate(dataset.scope.image_ids.tolist())}
    image = np.array([place[v.image_id] for v in verdicts])
    outcome = np.array([OUTCOMES.index(v.outcome) for v in verdicts])
    category = np.array([v.category_id for v in verdicts])
    group = np.array([dataset.groups[c] for c in category.tolist()])
    weights = draw_weights(len(place), num_draws, np.random.default_rng(seed))

    def row(mine: Mask) -> dict[str, Any]:
        return _shares(image[mine], outcome[mine], weights)

    names = {c["id"]: c["name"] for c in dataset.data["categories"]}
    wrong: dict[int, Counter[str]] = {c: Counter() for c in names}
    for verdict in verdicts:
        if verdict.outcome == WRONG_CLASS and verdict.named is not None:
            wrong[verdict.category_id][names[verdict.named]] += 1
    present = [c for c in names if (category == c).any()]
    bins = np.linspace(0, 1, 11)
    return {
        "all": row(np.ones(len(verdicts), dtype=bool)),
        "groups": {g: row(group == g) for g in GROUPS if (group == g).any()},
        "categories": {
            names[c]: {**row(category == c), "named": dict(wrong[c].most_common())} for c in present
        },
        "iou": np.histogram([v.iou for v in verdicts], bins)[0].tolist(),
    }


def as_json(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """The verdicts as json, IoU to four decimals."""
    return [{**asdict(verdict), "iou": round(verdict.iou, 4)} for verdict in verdicts]


@dataclass(frozen=True)
class _Place:
    """An image with instances.

    Attributes:
        instances: int[I], indices into the annotations.
        detections: int[D], indices into the results, best score first, one a place.
        ious: float64[I, D].
    """

    instances: IntArray
    detections: IntArray
    ious: FloatArray

    def above(self, scores: FloatArray, score: float) -> FloatArray:
        """``ious`` with the detections of this score and more: best first, so the first columns.

        What is suppressed by a better detection is so at every score: none comes back.
        """
        return self.ious[:, : int((scores[self.detections] >= score).sum())]


def _places(dataset: GroundTruth, results: Results) -> Iterator[_Place]:
    assert results.masks is not None  # see load_detections
    sizes = dict(zip(dataset.scope.image_ids.tolist(), dataset.scope.sizes.tolist(), strict=True))
    instances: dict[int, list[int]] = {image_id: [] for image_id in sizes}
    for index, annotation in enumerate(dataset.data["annotations"]):
        instances[annotation["image_id"]].append(index)
    order = np.argsort(-results.scores, kind="stable")
    for number, (image_id, size) in enumerate(sizes.items()):
        if not instances[image_id]:
            continue
        mine = order[results.image[order] == number]
        masks = [results.masks[k] for k in mine.tolist()]
        kept = _keep_best(_iou(masks, masks))
        wanted = [
            to_rle(dataset.data["annotations"][index]["segmentation"], size)
            for index in instances[image_id]
        ]
        ious = _iou(wanted, [masks[k] for k in kept])
        yield _Place(np.array(instances[image_id]), mine[kept], ious)


def to_rle(segmentation: Any, size: Sequence[int]) -> dict[str, Any]:
    """An annotation's polygons, or RLE of any kind, as compressed RLE; ``size`` (height, width)."""
    if isinstance(segmentation, Mapping) and not isinstance(segmentation["counts"], list):
        return dict(segmentation)
    rle = mask_api.frPyObjects(segmentation, *size)
    merged: dict[str, Any] = mask_api.merge(rle) if isinstance(rle, list) else rle
    return merged


def _iou(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> FloatArray:
    """float64[len(first), len(second)]"""
    if not first or not second:
        return np.zeros((len(first), len(second)))
    ious: FloatArray = mask_api.iou(first, second, [False] * len(second))
    return ious


def _keep_best(ious: FloatArray) -> list[int]:
    """Non-maximum suppression of masks [D, D], best first, without regard to categories."""
    kept: list[int] = []
    for index in range(len(ious)):
        if not (ious[index, kept] >= MIN_IOU).any():
            kept.append(index)
    return kept


def _match(ious: FloatArray, min_iou: float = MIN_IOU) -> IntArray:
    """int[I]: the detection that serves each instance, -1 for none; pairs of high IoU first."""
    served_by = np.full(len(ious), -1)
    rows, columns = np.nonzero(ious >= min_iou)
    order = np.argsort(-ious[rows, columns], kind="stable")
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if served_by[row] < 0 and column not in served_by:
            served_by[row] = column
    return served_by


def _shares(image: IntArray, outcome: IntArray, weights: Weights) -> dict[str, Any]:
    """Of instances by their image and outcome; weights uint8[B, N]."""
    counts = np.zeros((weights.shape[1], len(OUTCOMES)))
    np.add.at(counts, (image, outcome), 1)
    shown = np.unique(image)
    drawn = weights[:, shown].astype(np.float64) @ counts[shown]
    drawn = drawn[drawn.sum(1) > 0]
    shares = drawn / drawn.sum(1, keepdims=True)
    low, high = np.quantile(shares, INTERVAL, axis=0)
    total = counts.sum(0) / len(image)
    row: dict[str, Any] = {"instances": len(image)}
    for k, name in enumerate(OUTCOMES):
        row[name] = [round(float(value), 4) for value in (total[k], low[k], high[k])]
    return row
