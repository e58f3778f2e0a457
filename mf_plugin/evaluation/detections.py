"""Detections of a results file, checked and held as columns.

Six million detections as Python objects need 6 GB and more. So the file is read a piece at a time,
each piece is checked as columns, and only what can be scored is kept: LVIS says nothing about most
(image, category) pairs, and detections there never count (arXiv 1908.03195, section 4). What
they do is fill the limits per image and per category; each kept detection knows its ranks among
all of the file. Ids and scores are checked of all detections, boxes and masks of the kept ones.
Shapes: M detections in the file, D kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as mask_api

from mf_plugin.arrays import FloatArray, IntArray, Mask
from mf_plugin.errors import InputError, shown
from mf_plugin.evaluation.pieces import as_dict, column, pieces_of_file, pieces_of_list
from mf_plugin.extras import require
from mf_plugin.jsonfile import collection_paused
from mf_plugin.lvis.rle import rle_problem
from mf_plugin.lvis.validate import check_polygons

IOU_TYPES = ("bbox", "segm")
FIELDS = {"bbox": "bbox", "segm": "segmentation"}

Int32Array = npt.NDArray[np.int32]
# Image, category and score of each detection; which are kept; boxes and masks of those.
Checked = tuple[
    IntArray, IntArray, FloatArray, IntArray, FloatArray | None, list[dict[str, Any]] | None
]


@dataclass(frozen=True)
class Scope:
    """What a ground truth says about detections.

    Attributes:
        name: of the ground truth, for errors.
        image_ids, category_ids: int64, increasing.
        sizes: int64[images, 2], height and width.
        verified: bool[images, categories]; whether the category is annotated there, or verified
            to be absent.
    """

    name: str
    image_ids: IntArray
    category_ids: IntArray
    sizes: IntArray
    verified: Mask


@dataclass(frozen=True)
class Results:
    """The detections that can be scored, in the order of the file.

    Attributes:
        name: of the file.
        iou_types: what all kept detections can be scored on.
        image, category: int64[D], indices into the scope's ids.
        scores: float64[D].
        boxes: float64[D, 4] as x, y, width, height; None unless all kept ones have one.
        masks: D RLE masks ``{"size", "counts"}``; None unless all kept ones have one.
        rank_in_image, rank_in_category: int64[D], 0 is best; among all detections of the file, of
            equal scores the earlier first.
        total: M.
    """

    name: str
    iou_types: tuple[str, ...]
    image: IntArray
    category: IntArray
    scores: FloatArray
    boxes: FloatArray | None
    masks: list[dict[str, Any]] | None
    rank_in_image: IntArray
    rank_in_category: IntArray
    total: int

    @cached_property
    def mask_boxes(self) -> FloatArray:
        """float64[D, 4] as x, y, width, height: the masks' own, not ``boxes``."""
        return np.asarray(self._measured("to_bbox"), dtype=np.float64).reshape(-1, 4)

    @cached_property
    def mask_areas(self) -> FloatArray:
        """float64[D] pixels."""
        return np.asarray(self._measured("area"), dtype=np.float64)

    def _measured(self, measure: str) -> Any:
        """A measure of all masks.

        Raises:
            InputError: the counts of a mask are damaged; names it among the kept ones.
        """
        of_masks = getattr(require("hotcoco", "eval").mask, measure)
        masks = self.masks or []
        try:
            return of_masks(masks)
        except (ValueError, TypeError, OverflowError):
            for index, mask in enumerate(masks):
                problem = rle_problem(mask, *mask["size"])
                if problem:
                    raise InputError(
                        f"{self.name}: mask {index} of those that count: {problem}"
                    ) from None
            raise


def read_results(source: str | Path | Sequence[Mapping[str, Any]], scope: Scope) -> Results:
    """Read and check detections: d2's ``lvis_instances_results.json``, mmdet's ``*.segm.json``
    (boxes too) or ``*.bbox.json``, or such a list.

    Raises:
        InputError: names the file and the first bad entry; an empty list is bad input as well.
    """
    if isinstance(source, (str, Path)):
        name, pieces = str(source), pieces_of_file(Path(source))
    else:
        name, pieces = "results", pieces_of_list(list(source))
    columns = _Columns(name, scope)
    with collection_paused():
        for entries in pieces:
            columns.add(entries)
    return columns.finish()


class _Columns:
    """Collects pieces of entries."""

    def __init__(self, name: str, scope: Scope) -> None:
        self.name, self.scope = name, scope
        self.total = 0
        self.fields = dict.fromkeys(IOU_TYPES, True)  # whether every kept detection has it
        self.first: Any = None
        # image, category, score of every detection
        self.all: list[tuple[Int32Array, Int32Array, FloatArray]] = []
        self.kept: list[IntArray] = []  # indices into those
        self.boxes: list[FloatArray] = []
        self.masks: list[dict[str, Any]] = []

    def add(self, entries: list[Any]) -> None:
        if not entries:
            return
        try:
            checked = self._check(entries)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError):
            checked = None
        if checked is None:  # find out what is wrong, or unusual, entry by entry
            entries = self._whole(entries)
            self._complain(entries)
            checked = self._check([_usual(e, self.scope) for e in entries], partly=True)
        if checked is None:
            last = self.total + len(entries) - 1
            raise InputError(
                f"{self.name}: detections {self.total} to {last} hold a value of no json type"
            )
        image, category, scores, kept, boxes, masks = checked
        if not self.total:
            self.first = self._whole(entries[:1])[0]
        self.all.append((image.astype(np.int32), category.astype(np.int32), scores))
        self.kept.append(self.total + kept)
        self.total += len(entries)
        if len(kept):
            if boxes is None:
                self.fields["bbox"] = False
            elif self.fields["bbox"]:
                self.boxes.append(boxes)
            if masks is None:
                self.fields["segm"] = False
            elif self.fields["segm"]:
                self.masks.extend(masks)

    def _whole(self, entries: list[Any]) -> list[Any]:
        try:
            return [as_dict(entry) for entry in entries]
        except (ValueError, RecursionError) as error:
            last = self.total + len(entries) - 1
            raise InputError(
                f"{self.name}: a box or mask of detections {self.total} to {last} cannot be read: "
                f"{shown(error)}"
            ) from None

    def finish(self) -> Results:
        if not self.total:
            raise InputError(f"{self.name}: holds no detections, expected at least one")
        kept = np.concatenate(self.kept)
        if not len(kept):
            self.fields = {t: FIELDS[t] in self.first for t in IOU_TYPES}
            self.boxes = [np.zeros((0, 4))]
        iou_types = tuple(t for t in IOU_TYPES if self.fields[t])
        if not iou_types:
            raise InputError(
                f"{self.name}: some detections lack bbox and some segmentation, expected one in all"
            )
        image, category, scores = (np.concatenate(c) for c in zip(*self.all, strict=True))
        self.all.clear()
        by_score = np.argsort(-scores, kind="stable")
        return Results(
            self.name,
            iou_types,
            image[kept].astype(np.int64),
            category[kept].astype(np.int64),
            scores[kept],
            np.concatenate(self.boxes) if self.fields["bbox"] else None,
            self.masks if self.fields["segm"] else None,
            _ranks(image, by_score)[kept],
            _ranks(category, by_score)[kept],
            self.total,
        )

    def _check(self, entries: list[Any], partly: bool = False) -> Checked | None:
        """Columns of good entries; None, or an exception, where one is not as expected.

        Args:
            partly: some entries may lack a field that others have.
        """
        image = _indices(column(entries, "image_id"), self.scope.image_ids)
        category = _indices(column(entries, "category_id"), self.scope.category_ids)
        scores = _numbers(column(entries, "score"))
        if image is None or category is None or scores is None:
            return None
        kept = np.flatnonzero(self.scope.verified[image, category])
        picked = [as_dict(entries[k]) for k in kept.tolist()]
        rows, masks = _field(picked, "bbox"), _field(picked, "segmentation")
        if not partly and (_some(picked, rows, "bbox") or _some(picked, masks, "segmentation")):
            return None
        if rows is None and masks is None and not partly:
            return None
        boxes: FloatArray | None = None if rows is None else np.zeros((0, 4))
        if rows:
            numbers = _numbers(list(chain.from_iterable(rows)))
            if numbers is None or set(map(len, rows)) != {4}:
                return None
            boxes = numbers.reshape(-1, 4)
        if masks is not None:
            if [m["size"] for m in masks] != self.scope.sizes[image[kept]].tolist():
                return None
            if not {type(m["counts"]) for m in masks} <= {str, bytes}:
                return None
        return image, category, scores, kept, boxes, masks

    def _complain(self, entries: list[Any]) -> None:
        sizes = dict(zip(self.scope.image_ids.tolist(), self.scope.sizes.tolist(), strict=True))
        categories = set(self.scope.category_ids.tolist())
        for index, entry in enumerate(entries, self.total):
            problem = _entry_problem(entry, sizes, categories)
            if problem:
                raise InputError(
                    f"{self.name}: detection {index}: {problem} (ground truth {self.scope.name})"
                )


def _field(entries: list[Any], key: str) -> list[Any] | None:
    """The field of every entry; None where one lacks it."""
    try:
        return [e[key] for e in entries]
    except KeyError:
        return None


def _some(entries: list[Any], values: list[Any] | None, key: str) -> bool:
    """Whether some entries have the field and some lack it."""
    return values is None and any(key in e for e in entries)


def _indices(ids: list[Any], known: IntArray) -> IntArray | None:
    """Where each id stands among the known ones; None where one does not, or is no number."""
    values = np.array(ids)
    if values.dtype.kind not in "iuf" or not len(known) or bool in set(map(type, ids)):
        return None
    found = np.minimum(np.searchsorted(known, values), len(known) - 1)
    return found if np.array_equal(known[found], values) else None


def _numbers(values: list[Any]) -> FloatArray | None:
    """float64; None where one is no number, or not finite."""
    if any(not issubclass(t, (int, float)) or t is bool for t in set(map(type, values))):
        return None
    numbers = np.array(values, dtype=np.float64)
    return numbers if np.isfinite(numbers).all() else None


def _ranks(group: Int32Array, by_score: IntArray) -> IntArray:
    """int64: the rank of each detection in its group, best score first, earlier before later."""
    counts = np.bincount(group)
    small = group.astype(np.uint16) if len(counts) <= 1 << 16 else group  # numpy counts, not sorts
    order = by_score[np.argsort(small[by_score], kind="stable")]
    starts = np.cumsum(counts) - counts
    ranks = np.empty(len(group), dtype=np.int64)
    ranks[order] = np.arange(len(group)) - starts[group[order]]
    return ranks


def _usual(entry: Mapping[str, Any], scope: Scope) -> Mapping[str, Any]:
    """The entry with its mask as compressed RLE, whichever of COCO's forms it has."""
    mask = entry.get("segmentation")
    if mask is None or (isinstance(mask, Mapping) and isinstance(mask["counts"], (str, bytes))):
        return entry
    height, width = scope.sizes[np.searchsorted(scope.image_ids, entry["image_id"])].tolist()
    rle = mask_api.frPyObjects(mask, height, width)
    if isinstance(rle, list):
        rle = mask_api.merge(rle)
    return {**entry, "segmentation": {"size": [height, width], "counts": rle["counts"]}}


def _entry_problem(entry: Any, sizes: dict[int, list[int]], categories: set[int]) -> str | None:
    if not isinstance(entry, Mapping):
        return f"{type(entry).__name__}, expected an object with image_id, category_id and score"
    for key in ("image_id", "category_id", "score"):
        if key not in entry:
            return f"{key!r} is missing"
    image_id, category_id = entry["image_id"], entry["category_id"]
    if not _all_finite([image_id]) or image_id not in sizes:
        return f"image_id {shown(image_id)}, expected one of the {len(sizes)} ground-truth images"
    if not _all_finite([category_id]) or category_id not in categories:
        return f"category_id {shown(category_id)}, expected one of the {len(categories)} categories"
    if not _all_finite([entry["score"]]):
        return f"score {shown(entry['score'])}, expected a finite number"
    if "bbox" not in entry and "segmentation" not in entry:
        return "neither bbox nor segmentation"
    if "bbox" in entry:
        box = entry["bbox"]
        if not isinstance(box, Sequence) or len(box) != 4 or not _all_finite(box):
            return f"bbox {shown(box)}, expected four finite numbers x, y, width, height"
    if "segmentation" in entry:
        mask, size = entry["segmentation"], sizes[image_id]
        if isinstance(mask, Mapping):
            return rle_problem(mask, *size)
        if not isinstance(mask, list):
            return f"segmentation of type {type(mask).__name__}, expected RLE or polygons"
        if not mask or not all(isinstance(p, list) and len(p) >= 6 for p in mask):
            return "segmentation without polygons of three points, expected RLE or polygons"
        return check_polygons(mask, *size)
    return None


def _all_finite(values: Iterable[Any]) -> bool:
    try:
        return all(
            isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v)
            for v in values
        )
    except OverflowError:  # an integer beyond any float
        return False
