"""Runs against runs: mean and spread over seeds, and paired bootstrap intervals of the difference.

The draws of images are the same for every run. hotcoco.compare (1.3.0) does not serve: it takes one
pair of files, and its draws count an image once however often they hold it, which makes intervals
about a fifth too narrow.

Repeated images agree with each other, so a draw's AP lies above the measured one, and more so for
the run that ranks better. The intervals are percentiles of the draws less this bias: centred on
the measured difference, not above it.

Shapes: B draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from mf_plugin.arrays import FloatArray, IntArray
from mf_plugin.errors import InputError
from mf_plugin.evaluation.bootstrap import (
    BOOTSTRAP_METRICS,
    Weights,
    accumulate_draws,
    arrange,
    bootstrap_metrics,
    draw_weights,
)
from mf_plugin.evaluation.detections import IOU_TYPES
from mf_plugin.evaluation.matching import (
    FIXED_AP_DETECTIONS,
    best_of_category,
    best_of_image,
    match_detections,
)
from mf_plugin.evaluation.rare import (
    METRICS,
    GroundTruth,
    evaluate_lvis,
    load_ground_truth,
    load_results,
)
from mf_plugin.evaluation.training_counts import (
    TrainingCounts,
    count_training,
    instances_of,
    synthetic_json,
)
from mf_plugin.extras import require
from mf_plugin.lvis.io import collection_paused

CONFIDENCE = 0.95
Scores = Mapping[str, Mapping[str, Any]]  # IoU type -> metric -> number


@dataclass(frozen=True)
class Measured:
    """What one results file gives.

    Attributes:
        scores: of `rare.evaluate_lvis`.
        fixed: IoU type -> ``BOOTSTRAP_METRICS`` in percent, of fixed AP.
        draws: IoU type -> what becomes ``BOOTSTRAP_METRICS`` -> float64[B] in percent.
    """

    scores: dict[str, dict[str, Any]]
    fixed: dict[str, dict[str, float | None]] = field(default_factory=dict)
    draws: dict[str, Future[dict[str, FloatArray]]] = field(default_factory=dict)


def compare_runs(
    gt: str | Path | Mapping[str, Any] | GroundTruth,
    runs: Sequence[tuple[str, Any]],
    *,
    train: str | Path | Mapping[str, Any] | TrainingCounts | None = None,
    synthetic: Mapping[str, str | Path] | None = None,
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
        train: training json; gives the groups of categories without ``frequency``, and the number
            of real training instances.
        synthetic: run's name -> the synthetic dataset that it was trained on as well, for the
            number of its instances.
        num_bootstrap: draws; 0 leaves the intervals None.
        seed: of the draws.

    Returns:
        The report of DESIGN contract 3: "runs", "std" (None with one seed), "seeds", "delta" and
        "interval" for every run but the baseline, in percent, None where a group is absent;
        and "baseline", "per_category", "categories", "ground_truth", "bootstrap", "fixed" ("runs",
        "std" and "delta" of fixed AP) and "instances" ("real" and for each run "synthetic": by
        category id).

    Raises:
        InputError: no run, or bad input in a file.
        MissingExtra: hotcoco or numba is not installed.
    """
    if not runs:
        raise InputError("no run given, expected at least one NAME=RESULTS")
    if num_bootstrap < 0:
        raise InputError(f"bootstrap {num_bootstrap}, expected 0 or more draws")
    if train is not None:
        train = count_training(train)
    truth = load_ground_truth(gt, train)
    require("numba", "eval")  # before a minute of reading
    names = list(dict.fromkeys(name for name, _ in runs))
    instances = count_instances(truth, names, train, synthetic or {})
    rng = np.random.default_rng(seed)
    num_images = len(truth.data["images"])
    weights = draw_weights(num_images, num_bootstrap, rng)
    measured: dict[str, list[Measured]] = {name: [] for name in names}
    # One bootstrap at a time, beside what comes next; millions of masks make collection slow.
    with collection_paused(), ThreadPoolExecutor(1) as background:
        for name, source in tqdm(runs, desc="evaluating", unit="file", disable=not progress):
            run = measure(truth, source, iou_types, max_dets, weights, background)
            measured[name].append(run)
    scores = {n: [m.scores for m in measured[n]] for n in names}
    fixed = {n: [m.fixed for m in measured[n]] for n in names}
    draws = {n: [{t: d.result() for t, d in m.draws.items()} for m in measured[n]] for n in names}
    report: dict[str, Any] = {
        "runs": {n: _over_seeds(scores[n], iou_types, _mean) for n in names},
        "std": {n: _over_seeds(scores[n], iou_types, _std) for n in names},
        "seeds": {n: len(scores[n]) for n in names},
    }
    base = names[0]
    seed_draws = draw_seeds(rng, num_bootstrap, report["seeds"].values())
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
    report["fixed"] = {
        "runs": {n: _over_seeds(fixed[n], iou_types, _mean, BOOTSTRAP_METRICS) for n in names},
        "std": {n: _over_seeds(fixed[n], iou_types, _std, BOOTSTRAP_METRICS) for n in names},
        "detections": FIXED_AP_DETECTIONS,
    }
    of_fixed = report["fixed"]["runs"]
    report["fixed"]["delta"] = {
        n: {t: _difference(of_fixed[n][t], of_fixed[base][t]) for t in iou_types} for n in names[1:]
    }
    report["instances"] = instances
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
        "federated": truth.federated,
    }
    report["bootstrap"] = {"draws": num_bootstrap, "seed": seed, "confidence": CONFIDENCE}
    return report


def measure(
    gt: GroundTruth,
    source: Any,
    iou_types: Sequence[str],
    max_dets: int,
    weights: Weights,
    background: Executor,
) -> Measured:
    """Measure one results file; ``weights`` uint8[B, N] are the draws, taken in the background."""
    results = load_results(source, gt)
    measured = Measured(evaluate_lvis(gt, results, iou_types, max_dets))
    once = np.ones((1, len(gt.scope.image_ids)), np.uint8)
    for iou_type in iou_types:
        if iou_type not in results.iou_types:
            measured.fixed[iou_type] = dict.fromkeys(BOOTSTRAP_METRICS)
            continue
        matches = match_detections(gt, results, iou_type)
        found = bootstrap_metrics(gt, best_of_category(matches, results), once)
        measured.fixed[iou_type] = {
            m: None if np.isnan(v[0]) else float(v[0]) for m, v in found.items()
        }
        if len(weights):
            limited = [arrange(m) for m in best_of_image(matches, results, max_dets)]
            measured.draws[iou_type] = background.submit(accumulate_draws, gt, limited, weights)
    return measured


def count_instances(
    gt: GroundTruth,
    names: Sequence[str],
    train: TrainingCounts | None,
    synthetic: Mapping[str, str | Path],
) -> dict[str, Any]:
    """``{"real": {category id: n} or None, "synthetic": {run: {category id: n}}}``.

    Raises:
        InputError: a dataset of no run, a missing one, or one of other categories.
    """
    unknown = [name for name in synthetic if name not in names]
    if unknown:
        raise InputError(f"--synthetic {unknown[0]}: expected a run's name: {', '.join(names)}")
    categories = gt.data["categories"]

    def by_id(counts: TrainingCounts) -> dict[str, int]:
        return {str(c): n for c, n in instances_of(counts, categories).items()}

    return {
        "real": None if train is None else by_id(train),
        "synthetic": {
            name: by_id(count_training(synthetic_json(path))) for name, path in synthetic.items()
        },
    }


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _std(values: list[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _over_seeds(
    seeds: Sequence[Scores],
    iou_types: Sequence[str],
    reduce: Callable[[list[float]], float | None],
    metrics: Sequence[str] = METRICS,
) -> dict[str, dict[str, float | None]]:
    return {
        t: {m: reduce([s[t][m] for s in seeds if s[t][m] is not None]) for m in metrics}
        for t in iou_types
    }


def _categories_over_seeds(
    seeds: Sequence[Scores], iou_types: Sequence[str]
) -> dict[str, dict[str, float | None]]:
    result: dict[str, dict[str, float | None]] = {}
    for t in iou_types:
        categories = seeds[0][t]["per_category"]
        result[t] = {
            str(c): _mean(
                [s[t]["per_category"][c] for s in seeds if s[t]["per_category"][c] is not None]
            )
            for c in categories
        }
    return result


def _difference(
    run: Mapping[str, float | None], base: Mapping[str, float | None]
) -> dict[str, float | None]:
    return {
        m: None if value is None or (start := base[m]) is None else value - start
        for m, value in run.items()
    }


def _intervals(
    run: list[dict[str, dict[str, FloatArray]]],
    base: list[dict[str, dict[str, FloatArray]]],
    iou_type: str,
    seed_draws: Mapping[int, IntArray],
    delta: Mapping[str, float | None],
) -> dict[str, list[float] | None]:
    """Centred percentile intervals; runs with equally many seeds share their seed draws."""
    if not all(iou_type in s for s in run + base):
        return dict.fromkeys(BOOTSTRAP_METRICS)
    return {
        metric: difference_interval(
            np.stack([s[iou_type][metric] for s in run], 1),
            np.stack([s[iou_type][metric] for s in base], 1),
            seed_draws,
            delta[metric],
        )
        for metric in BOOTSTRAP_METRICS
    }


def draw_seeds(
    rng: np.random.Generator, num_draws: int, numbers: Iterable[int]
) -> dict[int, IntArray]:
    """For each number n of seeds, int64[B, n]: the seeds that each draw takes, with repeats."""
    return {n: rng.integers(n, size=(num_draws, n)) for n in sorted(set(numbers))}


def difference_interval(
    run: FloatArray,
    base: FloatArray,
    seed_draws: Mapping[int, IntArray],
    delta: float | None,
) -> list[float] | None:
    """95 % interval of the difference of two runs' means over seeds, centred on the measured one.

    Args:
        run, base: a metric under the same B draws of images: float64[B, seeds] in percent.
        seed_draws: of `draw_seeds`, for the numbers of seeds of both.
        delta: the measured difference.

    Returns:
        [low, high]; None without a measured difference, or where no draw has both.
    """
    difference = drawn_mean(run, seed_draws) - drawn_mean(base, seed_draws)
    difference = difference[~np.isnan(difference)]
    if not len(difference) or delta is None:
        return None
    tail = 50 * (1 - CONFIDENCE)
    centred = difference - difference.mean() + delta
    return [float(b) for b in np.percentile(centred, [tail, 100 - tail])]


def drawn_mean(values: FloatArray, seed_draws: Mapping[int, IntArray]) -> FloatArray:
    """float64[B]: the mean over the seeds that each draw takes, of values[B, seeds]."""
    means: FloatArray = np.take_along_axis(values, seed_draws[values.shape[1]], axis=1).mean(1)
    return means
