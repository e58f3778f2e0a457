"""Detections matched to objects, once: what AP under any weights and limits is computed from.

hotcoco matches, greedily by score. A detection's match depends on better detections of its image
and category alone, so that a limit on detections, per image or per category, leaves the matches
of those within it as they are: everything is matched, limits come after.

Shapes: N images, T IoU thresholds, D detections of a category, K categories.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from mf_plugin.arrays import IntArray, Mask
from mf_plugin.evaluation.detections import Results
from mf_plugin.evaluation.rare import GroundTruth, build_evaluator
from mf_plugin.lvis.io import collection_paused

FIXED_AP_DETECTIONS = 10_000  # of a category, in all images: Dave et al., arXiv 2102.01066
CATEGORIES_AT_ONCE = 100  # bounds the memory: hotcoco gives matches as Python objects


@dataclass(frozen=True)
class CategoryMatches:
    """Detections of one category in the scored images, best score first.

    ``matched`` and ``ignored`` are bool[T, D]; ``image`` int[D] and ``num_objects`` int[N] count
    the ground truth's images by increasing id; ``detection`` int[D] are indices into the results.
    """

    category_id: int
    matched: Mask
    ignored: Mask
    image: IntArray
    num_objects: npt.NDArray[np.uint16]
    detection: IntArray


def match_detections(gt: GroundTruth, results: Results, iou_type: str) -> list[CategoryMatches]:
    """Match all detections to ground truth, for all object sizes; one record per category."""
    evaluator = build_evaluator(gt, results, iou_type, max_dets=None)
    params = evaluator.params
    num_thresholds = len(params.iou_thrs)
    every_size = params.area_rng_lbl.index("all")
    params.area_rng = [params.area_rng[every_size]]
    params.area_rng_lbl = ["all"]
    index = {image_id: i for i, image_id in enumerate(gt.scope.image_ids.tolist())}
    matches = []
    categories = list(gt.groups)
    with collection_paused():
        for begin in range(0, len(categories), CATEGORIES_AT_ONCE):
            params.cat_ids = categories[begin : begin + CATEGORIES_AT_ONCE]
            evaluator.evaluate()
            records = _by_category(evaluator)
            matches += [_join_images(c, r, index, num_thresholds) for c, r in records.items()]
            del records  # before the next ones are made
    return matches


def best_of_image(
    matches: Sequence[CategoryMatches], results: Results, max_dets: int
) -> list[CategoryMatches]:
    """The matches of each image's ``max_dets`` best detections over all categories."""
    return _limit(matches, results.rank_in_image < max_dets)


def best_of_category(
    matches: Sequence[CategoryMatches], results: Results, limit: int = FIXED_AP_DETECTIONS
) -> list[CategoryMatches]:
    """The matches of each category's ``limit`` best detections over all images."""
    return _limit(matches, results.rank_in_category < limit)


def _limit(matches: Sequence[CategoryMatches], within: Mask) -> list[CategoryMatches]:
    if within.all():
        return list(matches)
    limited = []
    for match in matches:
        keep = within[match.detection]
        limited.append(
            replace(
                match,
                matched=match.matched[:, keep],
                ignored=match.ignored[:, keep],
                image=match.image[keep],
                detection=match.detection[keep],
            )
        )
    return limited


def _by_category(evaluator: Any) -> dict[int, list[dict[str, Any]]]:
    records: dict[int, list[dict[str, Any]]] = {c: [] for c in evaluator.params.cat_ids}
    for record in evaluator.eval_imgs:
        if record is not None:
            records[record["category_id"]].append(record)
    return records


def _join_images(
    category_id: int, records: list[dict[str, Any]], index: dict[int, int], num_thresholds: int
) -> CategoryMatches:
    num_objects = np.zeros(len(index), dtype=np.uint16)
    records = sorted(records, key=lambda r: index[r["image_id"]])
    for record in records:
        if record["gtIds"]:
            num_objects[index[record["image_id"]]] = sum(record["gtInDenominator"])
    records = [r for r in records if r["dtIds"]]
    if not records:
        none, nothing = np.zeros((num_thresholds, 0), dtype=bool), np.zeros(0, np.int64)
        return CategoryMatches(category_id, none, none, nothing, num_objects, nothing)

    def joined(key: str) -> npt.NDArray[Any]:
        return np.array(list(chain.from_iterable(r[key] for r in records)))

    def joined_marks(key: str) -> Mask:  # bytes: several times as fast as lists of bool
        rows = (chain.from_iterable(r[key][t] for r in records) for t in range(num_thresholds))
        return np.frombuffer(b"".join(map(bytes, rows)), dtype=bool).reshape(num_thresholds, -1)

    counts = [len(r["dtIds"]) for r in records]
    image = np.repeat([index[r["image_id"]] for r in records], counts)
    # ties: by image, then by rank, as lvis-api
    order = np.argsort(-joined("dtScores"), kind="stable")
    return CategoryMatches(
        category_id,
        joined_marks("dtMatched")[:, order],
        joined_marks("dtIgnore")[:, order],
        image[order],
        num_objects,
        joined("dtIds")[order] - 1,  # ids count from 1, in the order of the results
    )
