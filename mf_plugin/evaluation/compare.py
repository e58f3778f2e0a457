"""Runs against runs: mean and spread over seeds, and paired bootstrap intervals of the difference.

Images are resampled with replacement, the same draw for every run, and AP is accumulated anew for
each draw. Resampling an image n times equals weighting its detections and objects by n, so that a
draw is a weighted accumulation of matches that were found once. With all weights 1 the result is
``LVISeval``'s. hotcoco.compare (1.3.0) does not serve: it takes one pair of files, and its draws
count an image once however often they hold it: intervals about a fifth too narrow.

Repeated images agree with each other, so a draw's AP lies above the measured one, and more so for
the run that ranks better. The intervals are percentiles of the draws less this bias: centred on
the measured difference, not above it.

Shapes: B draws, N images, T IoU thresholds, D detections and M true positives of a category, K
categories.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from mf_plugin.errors import InputError
from mf_plugin.evaluation.rare import (
    IOU_TYPES,
    METRICS,
    GroundTruth,
    Results,
    build_evaluator,
    evaluate_lvis,
    load_ground_truth,
    load_results,
)

BOOTSTRAP_METRICS = ("AP", "AP50", "AP75", "APr", "APc", "APf")
CONFIDENCE = 0.95


@dataclass(frozen=True)
class CategoryMatches:
    """Every detection of one category in the scored images, best score first.

    ``matched`` and ``ignored`` are bool[T, D]; ``image`` int[D] and ``num_objects`` int[N] count
    the ground truth's images by increasing id.
    """

    category_id: int
    matched: np.ndarray
    ignored: np.ndarray
    image: np.ndarray
    num_objects: np.ndarray


def match_detections(
    gt: GroundTruth, results: Results, iou_type: str, max_dets: int = 300
) -> list[CategoryMatches]:
    """Match detections to ground truth once, for all object sizes; one record per category."""
    evaluator = build_evaluator(gt, results, iou_type, max_dets)
    params = evaluator.params
    every_size = params.area_rng_lbl.index("all")
    params.area_rng = [params.area_rng[every_size]]
    params.area_rng_lbl = ["all"]
    evaluator.evaluate()
    index = {image_id: i for i, image_id in enumerate(sorted(i["id"] for i in gt.data["images"]))}
    by_category: dict[int, list[dict]] = {c: [] for c in gt.groups}
    for record in evaluator.eval_imgs:
        if record is not None:
            by_category[record["category_id"]].append(record)
    num_thresholds = len(params.iou_thrs)
    return [
        _join_images(category_id, records, index, num_thresholds)
        for category_id, records in by_category.items()
    ]


def bootstrap_ap(matches: CategoryMatches, weights: np.ndarray) -> np.ndarray:
    """AP of one category under image weights.

    Args:
        matches: the category's matches.
        weights: float32[B, N], how often each draw holds each image.

    Returns:
        float64[B, T] as fractions; nan where a draw holds no object of the category.
    """
    objects = weights @ matches.num_objects.astype(np.float32)
    num_draws, num_thresholds = len(weights), len(matches.matched)
    if not len(matches.image):
        ap = np.zeros((num_draws, num_thresholds))
    else:
        images, local = np.unique(matches.image, return_inverse=True)
        ap = _weighted_ap(matches, weights[:, images], local, len(images), objects)
    ap[objects == 0] = np.nan
    return ap


def bootstrap_metrics(
    gt: GroundTruth, matches: Sequence[CategoryMatches], weights: np.ndarray
) -> dict[str, np.ndarray]:
    """``BOOTSTRAP_METRICS`` -> float64[B] in percent; nan where a draw leaves a group empty."""
    aps = [bootstrap_ap(m, weights) for m in matches]  # K of [B, T]
    mean = 100.0 * np.stack([a.mean(1) for a in aps], 1)
    at50 = 100.0 * np.stack([a[:, 0] for a in aps], 1)
    at75 = 100.0 * np.stack([a[:, 5] for a in aps], 1)
    groups = [gt.groups[m.category_id] for m in matches]
    metrics = {"AP": _mean_defined(mean), "AP50": _mean_defined(at50), "AP75": _mean_defined(at75)}
    for group in "rcf":
        metrics[f"AP{group}"] = _mean_defined(mean[:, [g == group for g in groups]])
    return metrics


def compare_runs(
    gt: str | Path | Mapping[str, Any] | GroundTruth,
    runs: Sequence[tuple[str, Any]],
    *,
    train: str | Path | None = None,
    iou_types: Sequence[str] = IOU_TYPES,
    max_dets: int = 300,
    num_bootstrap: int = 1000,
    seed: int = 0,
    progress: bool = False,
) -> dict[str, Any]:
    """Evaluate and compare runs; the first is the baseline.

    Args:
        gt: ground truth.
        runs: (name, results) pairs, results a path or list; a repeated name adds a seed to its run,
            and the n-th seeds of two runs are a pair.
        train: training json for the groups of categories without ``frequency``.
        num_bootstrap: draws; 0 leaves the intervals None.
        seed: of the draws.

    Returns:
        The report of DESIGN contract 3: "runs", "std" (None with one seed), "seeds", "delta" and
        "interval" for every run but the baseline, in percent, None where a group is absent;
        and "baseline", "per_category", "categories", "ground_truth", "bootstrap".

    Raises:
        InputError: no run, or bad input in a file.
    """
    if not runs:
        raise InputError("no run given, expected at least one NAME=RESULTS")
    if num_bootstrap < 0:
        raise InputError(f"bootstrap {num_bootstrap}, expected 0 or more draws")
    truth = load_ground_truth(gt, train)
    rng = np.random.default_rng(seed)
    num_images = len(truth.data["images"])
    weights = rng.multinomial(num_images, np.full(num_images, 1 / num_images), size=num_bootstrap)
    weights = weights.astype(np.float32)
    scores: dict[str, list[dict]] = {}
    draws: dict[str, list[dict[str, dict[str, np.ndarray]]]] = {}
    for name, source in tqdm(runs, desc="evaluating", unit="file", disable=not progress):
        results = load_results(source, truth)
        scores.setdefault(name, []).append(evaluate_lvis(truth, results, iou_types, max_dets))
        resampled = {}
        for iou_type in set(iou_types) & set(results.iou_types) if num_bootstrap else ():
            matches = match_detections(truth, results, iou_type, max_dets)
            resampled[iou_type] = bootstrap_metrics(truth, matches, weights)
        draws.setdefault(name, []).append(resampled)
    names = list(scores)
    report: dict[str, Any] = {
        "runs": {n: _over_seeds(scores[n], iou_types, _mean) for n in names},
        "std": {n: _over_seeds(scores[n], iou_types, _std) for n in names},
        "seeds": {n: len(scores[n]) for n in names},
    }
    base = names[0]
    seed_draws = {
        n: rng.integers(n, size=(num_bootstrap, n)) for n in sorted(set(report["seeds"].values()))
    }
    report["delta"] = {
        n: {t: _difference(report["runs"][n][t], report["runs"][base][t]) for t in iou_types}
        for n in names[1:]
    }
    report["interval"] = {
        n: {
            t: _intervals(draws[n], draws[base], t, seed_draws, report["delta"][n][t])
            for t in iou_types
        }
        for n in names[1:]
    }
    report["baseline"] = base
    report["per_category"] = {n: _categories_over_seeds(scores[n], iou_types) for n in names}
    report["categories"] = [
        {"id": c["id"], "name": c.get("name", str(c["id"])), "frequency": c.get("frequency")}
        for c in truth.data["categories"]
    ]
    report["ground_truth"] = {
        "file": truth.name,
        "images": num_images,
        "objects": len(truth.data["annotations"]),
        "groups": truth.group_source,
    }
    report["bootstrap"] = {"draws": num_bootstrap, "seed": seed, "confidence": CONFIDENCE}
    return report


def _join_images(
    category_id: int, records: list[dict], index: dict[int, int], num_thresholds: int
) -> CategoryMatches:
    num_objects = np.zeros(len(index), dtype=np.int64)
    scores, image, matched, ignored = [], [], [], []
    for record in sorted(records, key=lambda r: index[r["image_id"]]):
        i = index[record["image_id"]]
        num_objects[i] = sum(record["gtInDenominator"])
        count = len(record["dtScores"])
        if count:
            scores.extend(record["dtScores"])
            image.extend([i] * count)
            matched.append(np.array(record["dtMatched"], dtype=bool))
            ignored.append(np.array(record["dtIgnore"], dtype=bool))
    if not scores:
        none = np.zeros((num_thresholds, 0), dtype=bool)
        return CategoryMatches(category_id, none, none, np.zeros(0, np.int64), num_objects)
    order = np.argsort(
        -np.array(scores), kind="stable"
    )  # ties: by image, then by rank, as lvis-api
    return CategoryMatches(
        category_id,
        np.concatenate(matched, 1)[:, order],
        np.concatenate(ignored, 1)[:, order],
        np.array(image)[order],
        num_objects,
    )


def _weighted_ap(
    matches: CategoryMatches,
    weights: np.ndarray,
    local: np.ndarray,
    num_images: int,
    objects: np.ndarray,
) -> np.ndarray:
    """AP[B, T] of weights[B, num_images]; ``local`` int[D] are the detections' images among those.

    Precision is needed at true positives only: between them recall stands still and precision
    falls, so the envelope never takes a value there. Up to the j-th true positive there
    are sum_i weight_i * count_ij true positives and detections: two products of matrices.
    """
    recall_grid = np.linspace(0.0, 1.0, 101)
    ap = np.zeros((len(weights), len(matches.matched)))
    total = np.maximum(objects, 1)[:, None].astype(np.float64)
    for t, (matched, ignored) in enumerate(zip(matches.matched, matches.ignored, strict=True)):
        true = matched & ~ignored
        last = np.flatnonzero(true)
        if not len(last):
            continue
        # 1. counts[num_images, M]: detections of each image at or before each true positive
        stage = np.searchsorted(last, np.arange(len(true)), side="left")
        true_counts = _count_up_to(local, stage, true, num_images, len(last))
        all_counts = _count_up_to(
            local, stage, ~ignored & (stage < len(last)), num_images, len(last)
        )
        # 2. weighted recall and precision at the true positives, float64[B, M]
        true_weight = (weights @ true_counts).astype(np.float64)
        precision = true_weight / ((weights @ all_counts).astype(np.float64) + np.spacing(1))
        recall = true_weight / total
        # 3. precision envelope from the right
        precision = np.maximum.accumulate(precision[:, ::-1], 1)[:, ::-1]
        # 4. mean over the recall grid: each true positive owns the grid points its recall adds
        reached = np.searchsorted(recall_grid, recall, side="right")
        ap[:, t] = (np.diff(reached, axis=1, prepend=0) * precision).sum(1) / len(recall_grid)
    return ap


def _count_up_to(
    local: np.ndarray, stage: np.ndarray, chosen: np.ndarray, num_images: int, num_stages: int
) -> np.ndarray:
    cells = local[chosen] * num_stages + stage[chosen]
    counts = np.bincount(cells, minlength=num_images * num_stages).reshape(num_images, num_stages)
    return counts.cumsum(1).astype(np.float32)


def _mean_defined(values: np.ndarray) -> np.ndarray:
    """[B, K] -> [B]: mean of what is not nan, nan where nothing is."""
    defined = ~np.isnan(values)
    total = np.where(defined, values, 0.0).sum(1)
    count = defined.sum(1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _std(values: list[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _over_seeds(seeds: list[dict], iou_types: Sequence[str], reduce) -> dict[str, dict]:
    return {
        t: {m: reduce([s[t][m] for s in seeds if s[t][m] is not None]) for m in METRICS}
        for t in iou_types
    }


def _categories_over_seeds(seeds: list[dict], iou_types: Sequence[str]) -> dict[str, dict]:
    result: dict[str, dict] = {}
    for t in iou_types:
        categories = seeds[0][t]["per_category"]
        result[t] = {
            str(c): _mean(
                [s[t]["per_category"][c] for s in seeds if s[t]["per_category"][c] is not None]
            )
            for c in categories
        }
    return result


def _difference(run: dict, base: dict) -> dict[str, float | None]:
    return {m: None if None in (run[m], base[m]) else run[m] - base[m] for m in METRICS}


def _intervals(
    run: list[dict],
    base: list[dict],
    iou_type: str,
    seed_draws: dict[int, np.ndarray],
    delta: Mapping[str, float | None],
) -> dict[str, list[float] | None]:
    """Centred percentile intervals; runs with equally many seeds share their seed draws."""
    if not all(iou_type in s for s in run + base):
        return dict.fromkeys(BOOTSTRAP_METRICS)
    intervals: dict[str, list[float] | None] = {}
    tail = 50 * (1 - CONFIDENCE)
    for metric in BOOTSTRAP_METRICS:
        difference = _drawn_mean(run, iou_type, metric, seed_draws) - _drawn_mean(
            base, iou_type, metric, seed_draws
        )
        difference = difference[~np.isnan(difference)]
        if not len(difference) or delta[metric] is None:
            intervals[metric] = None
            continue
        centred = difference - difference.mean() + delta[metric]
        intervals[metric] = [float(b) for b in np.percentile(centred, [tail, 100 - tail])]
    return intervals


def _drawn_mean(
    seeds: list[dict], iou_type: str, metric: str, seed_draws: dict[int, np.ndarray]
) -> np.ndarray:
    values = np.stack([s[iou_type][metric] for s in seeds], 1)  # [B, seeds]
    return np.take_along_axis(values, seed_draws[len(seeds)], axis=1).mean(1)
