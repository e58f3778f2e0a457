"""How well a generated image keeps to the mask it was painted over: a judge's mean IoU.

The annotations of a synthetic dataset are the masks that Mask2Img was given. A judge detector, that
has seen plentiful real renderings and never filters or selects anything, is run on the images; what
it sees, as a map of categories, is compared with the masks:

    IoU of a category = pixels of both / pixels of either, over all images (as mIoU is counted on
    ADE20K, arXiv 1608.05442, section 5.1)
    mIoU = mean over the categories that the masks have; the background is no category

Where masks overlap, the smaller one lies on top; where detections do, the better scored one. The
score from which detections count is calibrated on real images (`valid_instances.calibrate`). What
the judge itself misses is its mIoU on real images with their own masks: a dataset's is read
against that. Shapes: N images, K categories, B bootstrap draws, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as mask_api

from mf_plugin.errors import InputError
from mf_plugin.evaluation.bootstrap import draw_weights
from mf_plugin.evaluation.detections import Results
from mf_plugin.evaluation.rare import GroundTruth
from mf_plugin.evaluation.valid_instances import INTERVAL, to_rle

LabelMap = npt.NDArray[np.int32]
Counts = npt.NDArray[np.int64]

BACKGROUND = -1


@dataclass(frozen=True, eq=False)
class Overlaps:
    """Pixels of each category in each image.

    Attributes:
        both: int64[N, K], where the masks and the judge have the category.
        wanted: int64[N, K], where the masks have it.
        seen: int64[N, K], where the judge has it.
    """

    both: Counts
    wanted: Counts
    seen: Counts


def count_overlaps(dataset: GroundTruth, results: Results, score: float) -> Overlaps:
    """Compare the masks of a dataset with what a judge sees.

    An object that the image shows and the masks do not have counts against it, so instances that
    were dropped from the annotations do as well; pixels of ``not_exhaustive_category_ids`` outside
    the masks do not count.

    Args:
        dataset: of `valid_instances.load_dataset`.
        results: of `valid_instances.load_detections`.
        score: from which detections count.
    """
    if results.masks is None:
        raise InputError(f"{results.name}: detections without masks, expected a judge with masks")
    scope = dataset.scope
    place = {c: k for k, c in enumerate(scope.category_ids.tolist())}
    annotations: dict[int, list[dict[str, Any]]] = {i: [] for i in scope.image_ids.tolist()}
    for annotation in dataset.data["annotations"]:
        annotations[annotation["image_id"]].append(annotation)
    open_ended = {
        image["id"]: [place[c] for c in image["not_exhaustive_category_ids"] if c in place]
        for image in dataset.data["images"]
    }
    counting = np.flatnonzero(results.scores >= score)
    counting = counting[np.argsort(results.scores[counting], kind="stable")]
    shape = (len(scope.image_ids), len(place))
    both, wanted, seen = (np.zeros(shape, np.int64) for _ in range(3))
    for row, (image_id, size) in enumerate(
        zip(scope.image_ids.tolist(), scope.sizes.tolist(), strict=True)
    ):
        asked = [
            (place[a["category_id"]], _to_mask(to_rle(a["segmentation"], size)))
            for a in annotations[image_id]
        ]
        asked.sort(key=lambda item: -int(item[1].sum()))
        found = [
            (int(results.category[k]), _to_mask(results.masks[k]))
            for k in counting[results.image[counting] == row].tolist()
        ]
        first, second = draw_labels(asked, size), draw_labels(found, size)
        second[np.isin(second, open_ended[image_id]) & (first != second)] = BACKGROUND
        wanted[row] = _count(first, len(place))
        seen[row] = _count(second, len(place))
        both[row] = _count(np.where(first == second, first, BACKGROUND), len(place))
    return Overlaps(both, wanted, seen)


def draw_labels(masks: list[tuple[int, npt.NDArray[np.bool_]]], size: list[int]) -> LabelMap:
    """int32[H, W]: the last of the masks (label, bool[H, W]) at each pixel, else BACKGROUND."""
    labels = np.full(tuple(size), BACKGROUND, np.int32)
    for label, mask in masks:
        labels[mask] = label
    return labels


def summarise_overlaps(
    dataset: GroundTruth, overlaps: Overlaps, *, num_draws: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Mean IoU with its 95 % interval over resampled images.

    Returns:
        JSON: "miou" [value, low, high], "images" and "categories" (counts of those with masks),
        "classes" {name: {"iou", "recall", "precision"}}, of pixels; all in 0..1.

    Raises:
        InputError: no mask covers a pixel.
    """
    present = overlaps.wanted.sum(0) > 0
    if not present.any():
        raise InputError(f"{dataset.name}: no mask covers a pixel, expected some to compare")
    weights = draw_weights(len(overlaps.wanted), num_draws, np.random.default_rng(seed))
    drawn = mean_iou(overlaps, weights)
    low, high = np.nanquantile(drawn, INTERVAL)
    ones = np.ones((1, len(overlaps.wanted)))
    total = float(mean_iou(overlaps, ones)[0])
    names = {c["id"]: c["name"] for c in dataset.data["categories"]}
    both, wanted, seen = (c.sum(0) for c in (overlaps.both, overlaps.wanted, overlaps.seen))
    classes: dict[str, Mapping[str, float]] = {}
    for k in np.flatnonzero(present).tolist():
        classes[names[int(dataset.scope.category_ids[k])]] = {
            "iou": round(float(both[k] / (wanted[k] + seen[k] - both[k])), 4),
            "recall": round(float(both[k] / wanted[k]), 4),
            "precision": round(float(both[k] / seen[k]), 4) if seen[k] else 0.0,
        }
    return {
        "miou": [round(float(v), 4) for v in (total, low, high)],
        "images": int((overlaps.wanted.sum(1) > 0).sum()),
        "categories": int(present.sum()),
        "classes": classes,
    }


def mean_iou(overlaps: Overlaps, weights: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """float64[B]: of images counted ``weights`` [B, N] times; nan where a draw has no mask."""
    both, wanted, seen = (
        weights.astype(np.float64) @ counts
        for counts in (overlaps.both, overlaps.wanted, overlaps.seen)
    )
    iou = both / np.maximum(wanted + seen - both, 1)
    held = wanted > 0
    count = held.sum(1)
    mean: npt.NDArray[np.float64] = np.where(
        count > 0, np.where(held, iou, 0).sum(1) / np.maximum(count, 1), np.nan
    )
    return mean


def _to_mask(rle: Mapping[str, Any]) -> npt.NDArray[np.bool_]:
    mask: npt.NDArray[np.bool_] = mask_api.decode(rle).astype(bool)
    return mask


def _count(labels: LabelMap, num_categories: int) -> Counts:
    return np.bincount(labels.ravel() + 1, minlength=num_categories + 1)[1:]
