"""Numbers of a benchmark from its records: AP of every arm, its gain with a 95 % interval, and its
share of the oracle's gain.

Numbers agree with `mf_plugin.evaluation.compare.compare_runs` of the same two runs, intervals to
0.01, the step in which records keep draws. Shapes: B draws.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from mf_plugin.arrays import FloatArray, IntArray
from mf_plugin.benchmark.config import Arm, BenchmarkConfig, Target
from mf_plugin.benchmark.measure import unpack
from mf_plugin.benchmark.records import Key
from mf_plugin.evaluation.bootstrap import draw_weights
from mf_plugin.evaluation.compare import (
    CONFIDENCE,
    difference_interval,
    draw_seeds,
    drawn_mean,
)
from mf_plugin.evaluation.report import TABLE_METRICS, TABLE_TYPES

Record = Mapping[str, Any]


def make_report(config: BenchmarkConfig, records: Mapping[Key, Record]) -> dict[str, Any]:
    """The numbers of all tables.

    Args:
        config: what is compared.
        records: by (detector, arm, seed); arms without any are left out.

    Returns:
        JSON: "title", "preset", "split", "reduced", "images", "bootstrap" and "detectors":
        {detector: {IoU type: {arm: row}}}. A row has "label", "seeds", "mean" and "std" {metric:
        percent}; "baseline", "delta" and "interval" where there is a baseline; and "share" of the
        oracle's gain with "share_interval", fractions, where there is an oracle with the same
        baseline whose gain is beyond doubt. "targets" has a list, see `_target`.
    """
    first = next(iter(records.values()))
    report: dict[str, Any] = {
        "title": config.title,
        "preset": config.preset,
        "split": config.split,
        "reduced": config.reduced,
        "images": first["images"],
        "bootstrap": {
            "draws": first["bootstrap"]["draws"],
            "seed": first["bootstrap"]["seed"],
            "confidence": CONFIDENCE,
        },
        "detectors": {},
        "missing": [
            f"{detector.name} {arm.name} seed {seed}"
            for detector in config.detectors
            for arm in config.arms
            for seed in config.seeds_of(arm)
            if (detector.name, arm.name, seed) not in records
        ],
    }
    for detector in config.detectors:
        runs = {
            arm.name: [
                records[detector.name, arm.name, seed]
                for seed in config.seeds_of(arm)
                if (detector.name, arm.name, seed) in records
            ]
            for arm in config.arms
        }
        runs = {name: seeds for name, seeds in runs.items() if seeds}
        if runs:
            report["detectors"][detector.name] = {
                iou_type: {name: _row(config, config.arm(name), runs, iou_type) for name in runs}
                for iou_type, _ in TABLE_TYPES
            }
    report["targets"] = [_target(config, target, records) for target in config.targets]
    return report


def _target(
    config: BenchmarkConfig, target: Target, records: Mapping[Key, Record]
) -> dict[str, Any]:
    """The target's fields with "measured" and "interval", None where there is nothing to measure,
    and "seeds", the least number of an arm's."""
    over = target.over or config.baseline_of(config.arm(target.arm))
    names = [target.arm, over] + [config.oracle] * (target.aim == "share")
    runs = [
        [
            records[target.detector, name, seed]
            for seed in config.seeds_of(config.arm(name))
            if (target.detector, name, seed) in records
        ]
        if name is not None
        else []
        for name in names
    ]
    row = {**asdict(target), "over": over, "seeds": min(map(len, runs))}
    found: tuple[float | None, list[float] | None] = (None, None)
    if all(runs) and target.aim == "share":
        share = _share(runs[0], runs[2], runs[1], "segm", target.metric)
        if share is not None:
            found = (100 * share[0], [100 * bound for bound in share[1]])
    elif all(runs):
        found = (
            _delta(runs[0], runs[1], "segm", target.metric),
            _interval(runs[0], runs[1], "segm", target.metric),
        )
    return {**row, "measured": found[0], "interval": found[1]}


def _row(
    config: BenchmarkConfig, arm: Arm, runs: Mapping[str, list[Record]], iou_type: str
) -> dict[str, Any]:
    mine = runs[arm.name]
    row: dict[str, Any] = {
        "label": arm.label or arm.name,
        "seeds": [record["seed"] for record in mine],
        "mean": {m: _mean(mine, iou_type, m) for m in TABLE_METRICS},
        "std": {m: _std(mine, iou_type, m) for m in TABLE_METRICS},
    }
    baseline = config.baseline_of(arm)
    if baseline is None or baseline not in runs:
        return row
    base = runs[baseline]
    row["baseline"] = baseline
    row["delta"] = {m: _delta(mine, base, iou_type, m) for m in TABLE_METRICS}
    row["interval"] = {m: _interval(mine, base, iou_type, m) for m in TABLE_METRICS}
    oracle = config.oracle
    if oracle is None or oracle not in runs or arm.name == oracle:
        return row
    if _under(config, arm, config.arm(oracle)):
        shares = {m: _share(mine, runs[oracle], base, iou_type, m) for m in TABLE_METRICS}
        row["share"] = {m: None if s is None else s[0] for m, s in shares.items()}
        row["share_interval"] = {m: None if s is None else s[1] for m, s in shares.items()}
    return row


def _under(config: BenchmarkConfig, arm: Arm, oracle: Arm) -> bool:
    """Whether the oracle is the ceiling of an arm: same baseline, same real images."""
    return arm.train == oracle.train and config.baseline_of(arm) == config.baseline_of(oracle)


def _values(runs: list[Record], iou_type: str, metric: str) -> list[float]:
    values = [record["metrics"][iou_type][metric] for record in runs]
    return [v for v in values if v is not None]


def _mean(runs: list[Record], iou_type: str, metric: str) -> float | None:
    values = _values(runs, iou_type, metric)
    return float(np.mean(values)) if values else None


def _std(runs: list[Record], iou_type: str, metric: str) -> float | None:
    values = _values(runs, iou_type, metric)
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _delta(run: list[Record], base: list[Record], iou_type: str, metric: str) -> float | None:
    mean, start = _mean(run, iou_type, metric), _mean(base, iou_type, metric)
    return None if mean is None or start is None else mean - start


def _draws(runs: list[Record], iou_type: str, metric: str) -> FloatArray | None:
    """float64[B, seeds]; None where a run has no such draws, as boxes alone have no masks."""
    texts = [record["bootstrap"]["values"].get(iou_type) for record in runs]
    if None in texts:
        return None
    number = runs[0]["bootstrap"]["draws"]
    return np.stack([unpack(text, number)[metric] for text in texts], 1)


def _seed_draws(*runs: list[Record]) -> dict[int, IntArray]:
    """The seeds that each draw takes: those of `compare_runs` for the same runs."""
    first = runs[0][0]
    draws, images = first["bootstrap"]["draws"], first["images"]
    rng = np.random.default_rng(first["bootstrap"]["seed"])
    draw_weights(images, draws, rng)  # which draws images first
    return draw_seeds(rng, draws, [len(seeds) for seeds in runs])


def _interval(
    run: list[Record], base: list[Record], iou_type: str, metric: str
) -> list[float] | None:
    drawn = [_draws(runs, iou_type, metric) for runs in (run, base)]
    if drawn[0] is None or drawn[1] is None:
        return None
    delta = _delta(run, base, iou_type, metric)
    return difference_interval(drawn[0], drawn[1], _seed_draws(run, base), delta)


def _share(
    run: list[Record],
    oracle: list[Record],
    base: list[Record],
    iou_type: str,
    metric: str,
) -> tuple[float, list[float]] | None:
    """Share of the oracle's gain and its interval; None unless that gain's interval is above 0."""
    ceiling = _delta(oracle, base, iou_type, metric)
    gain = _delta(run, base, iou_type, metric)
    beyond = _interval(oracle, base, iou_type, metric)
    if ceiling is None or gain is None or beyond is None or beyond[0] <= 0:
        return None
    drawn = [
        values
        for runs in (run, oracle, base)
        if (values := _draws(runs, iou_type, metric)) is not None
    ]
    if len(drawn) < 3:
        return None
    seeds = _seed_draws(run, oracle, base)
    mine, best, least = (drawn_mean(values, seeds) for values in drawn)
    gains, ceilings = mine - least, best - least
    gains = gains - np.nanmean(gains) + gain
    ceilings = ceilings - np.nanmean(ceilings) + ceiling
    shares = (gains / ceilings)[ceilings > 0]
    tail = 50 * (1 - CONFIDENCE)
    interval = [float(b) for b in np.nanpercentile(shares, [tail, 100 - tail])]
    return gain / ceiling, interval
