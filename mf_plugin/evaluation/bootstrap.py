"""AP of one results file under resampled images.

Images are resampled with replacement, and AP is accumulated anew for each draw. Resampling an
image n times equals weighting its detections and objects by n, so that a draw is a weighted
accumulation of matches that were found once. With all weights 1 the result is ``LVISeval``'s.

numba compiles the accumulation: draws times detections are a billion steps at LVIS val's size.

Shapes: B draws, N images, T IoU thresholds, D detections, P places and M true positives of a
category, K categories.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from mf_plugin.arrays import AnyInts, FloatArray, IntArray, Mask
from mf_plugin.evaluation.matching import CategoryMatches
from mf_plugin.evaluation.rare import GroundTruth
from mf_plugin.extras import require

Weights = npt.NDArray[np.uint8]
BOOTSTRAP_METRICS = ("AP", "AP50", "AP75", "APr", "APc", "APf")
RECALL = np.linspace(0.0, 1.0, 101)


def draw_weights(num_images: int, num_draws: int, rng: np.random.Generator) -> Weights:
    """uint8[B, N]: how often each draw, of as many images as there are, holds each image."""
    shares = np.full(num_images, 1 / num_images)
    return rng.multinomial(num_images, shares, size=num_draws).astype(np.uint8)


@dataclass(frozen=True)
class Arranged:
    """One category's matches as ``_accumulate`` takes them, see there."""

    category_id: int
    num_detections: int
    num_thresholds: int
    arrays: tuple[AnyInts, ...]


def bootstrap_metrics(
    gt: GroundTruth, matches: Sequence[CategoryMatches], weights: AnyInts
) -> dict[str, FloatArray]:
    """``BOOTSTRAP_METRICS`` -> float64[B] in percent; nan where a draw leaves a group empty.

    Args:
        weights: integers [B, N] below 256, how often each draw holds each image.

    Raises:
        MissingExtra: numba is not installed.
    """
    return accumulate_draws(gt, [arrange(match) for match in matches], weights)


def accumulate_draws(
    gt: GroundTruth, arranged: Sequence[Arranged], weights: AnyInts
) -> dict[str, FloatArray]:
    """`bootstrap_metrics` of arranged matches: nearly all of it runs without Python's lock."""
    drawn = np.ascontiguousarray(weights, np.uint8)
    largest_first = sorted(arranged, key=lambda a: -a.num_detections)
    _compiled()
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        aps = list(pool.map(lambda a: _average_precision(a, drawn), largest_first))
    for ap in aps:
        ap *= 100
    return group_metrics([gt.groups[a.category_id] for a in largest_first], aps)


def group_metrics(groups: Sequence[str | None], aps: Sequence[FloatArray]) -> dict[str, FloatArray]:
    """``BOOTSTRAP_METRICS`` from each category's AP[B, T]."""
    mean = np.stack([a.mean(1) for a in aps], 1)
    at50, at75 = np.stack([a[:, 0] for a in aps], 1), np.stack([a[:, 5] for a in aps], 1)
    metrics = {"AP": _mean_defined(mean), "AP50": _mean_defined(at50), "AP75": _mean_defined(at75)}
    for group in "rcf":
        metrics[f"AP{group}"] = _mean_defined(mean[:, [g == group for g in groups]])
    return metrics


def arrange(matches: CategoryMatches) -> Arranged:
    """Leave out what no draw needs."""
    true = matches.matched & ~matches.ignored
    hits = np.flatnonzero(true.any(0))
    end = hits[-1] + 1 if len(hits) else 0  # nothing after the last true positive counts
    true, ignored = true[:, :end], matches.ignored[:, :end]
    # Most detections are ignored at no threshold: places are the others, and the hits.
    counted = ~ignored.any(0)
    sometimes = ~counted & ~ignored.all(0)
    places = np.flatnonzero(true.any(0) | sometimes)
    true, extra = true[:, places], (~ignored & sometimes)[:, places]
    held, always = np.flatnonzero(matches.num_objects), np.flatnonzero(counted)
    # Indices are unsigned: numba need not ask whether they count from the end.
    arrays = (
        held.astype(np.uint32),
        matches.num_objects[held].astype(np.int64),
        matches.image[always].astype(np.uint32),
        np.searchsorted(always, places, side="right"),
        matches.image[places].astype(np.uint32),
        *_ragged(true),
        *_ragged(extra),
        np.cumsum(extra, axis=1)[true].astype(np.uint32),
    )
    return Arranged(matches.category_id, len(matches.image), len(true), arrays)


def _average_precision(arranged: Arranged, weights: Weights) -> FloatArray:
    """float64[B, T] as fractions; weights uint8[B, N]."""
    ap = np.empty((len(weights), arranged.num_thresholds))
    _compiled()(weights, *arranged.arrays, ap)
    return ap


def _ragged(marks: Mask) -> tuple[npt.NDArray[np.uint32], IntArray]:
    """bool[T, P] -> where each row is set, one row after the other: uint32; row bounds int[T+1]."""
    bounds = np.concatenate([[0], np.cumsum(marks.sum(1))])
    return np.nonzero(marks)[1].astype(np.uint32), bounds


@cache
def _compiled() -> Callable[..., None]:
    """``_accumulate`` in machine code. Each process spends two seconds on it: numba's cache would
    need a folder to write to, and an installed package may have none."""
    compile_ = require("numba", "eval").njit(nogil=True, error_model="numpy")
    compiled: Callable[..., None] = compile_(_accumulate)
    return compiled


def _accumulate(
    weights: Weights,
    held: AnyInts,
    objects: AnyInts,
    always: AnyInts,
    until: AnyInts,
    places: AnyInts,
    hits: AnyInts,
    hit_bounds: AnyInts,
    extras: AnyInts,
    extra_bounds: AnyInts,
    extras_until: AnyInts,
    ap: FloatArray,
) -> None:
    """Fill ap[B, T] of one category.

    A hit is a true positive. One of weight 0 is left out: the recall is that of the hit before
    and the precision no higher, so that the envelope is the same without it.

    Args:
        held, objects: images with objects, and how many.
        always: images of the detections that count at every threshold, best score first.
        until: int[P], how many of ``always`` stand at each place or before.
        places: uint32[P], images of the hits and of what counts at some thresholds only.
        hits, hit_bounds: indices of places, ``hits[hit_bounds[t] : hit_bounds[t + 1]]`` at t.
        extras, extra_bounds: the same of what counts at t, and not at every threshold.
        extras_until: of each of ``hits``, how many extras of its threshold stand there or before.
    """
    totals = np.zeros(len(weights), np.int64)
    for b in range(len(weights)):
        for i in range(len(held)):
            totals[b] += weights[b, held[i]] * objects[i]
    grid = np.empty(totals.max() + 1, np.int32)
    weight = np.empty(len(places), np.int32)
    counted = np.empty(len(places), np.int32)
    extra = np.zeros(len(places) + 1, np.int32)
    found = np.empty(len(places), np.int32)
    seen = np.empty(len(places), np.int32)
    reached = np.zeros(len(places) + 1, np.int32)
    precision = np.empty(len(places))
    for b in range(len(weights)):
        total = totals[b]
        if total == 0:
            ap[b] = np.nan
            continue
        # 1. How many points of the recall grid does each number of found objects reach?
        for n in range(total + 1):
            recall = n / total
            below = int(recall * 100 + 1e-7)  # the last grid point below, or one more
            grid[n] = below + (RECALL[below] <= recall)
        # 2. The weight of each place, and of what always counts up to there.
        drawn = weights[b]
        begin, sum_always = 0, 0
        for p in range(len(places)):
            for d in range(begin, until[p]):
                sum_always += drawn[always[d]]
            begin = until[p]
            counted[p] = sum_always
            weight[p] = drawn[places[p]]
        for t in range(ap.shape[1]):
            # 3. Precision and recall at the hits.
            begin = extra_bounds[t]
            for e in range(begin, extra_bounds[t + 1]):
                extra[e - begin + 1] = extra[e - begin] + weight[extras[e]]
            length, sum_found = 0, 0
            for h in range(hit_bounds[t], hit_bounds[t + 1]):
                p = hits[h]
                sum_found += weight[p]
                found[length] = sum_found
                seen[length] = counted[p] + extra[extras_until[h]]
                reached[length + 1] = grid[sum_found]
                length += weight[p] > 0
            for i in range(length):
                precision[i] = found[i] / seen[i]
            # 4. Each hit owns the grid points that its recall adds.
            area, envelope = 0.0, 0.0
            for i in range(length - 1, -1, -1):
                envelope = max(envelope, precision[i])
                area += (reached[i + 1] - reached[i]) * envelope
            ap[b, t] = area / len(RECALL)


def _mean_defined(values: FloatArray) -> FloatArray:
    """[B, K] -> [B]: mean of what is not nan, nan where nothing is."""
    defined = ~np.isnan(values)
    total = np.where(defined, values, 0.0).sum(1)
    count = defined.sum(1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
