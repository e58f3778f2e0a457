"""One results file measured for later comparison: AP, and AP under resampled images, compactly.

Intervals of differences need every run's AP under the same draws of images. Kept as hundredths of a
percent in two bytes, they are small enough to be committed: any two recorded runs can be compared
without their results files, with `compare.compare_runs`'s numbers to 0.01.

Shapes: B draws.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from mf_plugin.arrays import FloatArray
from mf_plugin.errors import InputError
from mf_plugin.evaluation.bootstrap import draw_weights
from mf_plugin.evaluation.compare import measure
from mf_plugin.evaluation.detections import IOU_TYPES
from mf_plugin.evaluation.rare import METRICS, load_ground_truth
from mf_plugin.evaluation.report import TABLE_METRICS
from mf_plugin.extras import require

SCALE = 100  # steps in a percent
ABSENT = 2**16 - 1
DIGITS = 4  # of percentages


def measure_run(
    gt: str | Path | Mapping[str, Any],
    results: str | Path | Sequence[Mapping[str, Any]],
    *,
    num_draws: int = 1000,
    seed: int = 0,
    max_dets: int = 300,
) -> dict[str, Any]:
    """Measure one results file.

    Args:
        gt: ground truth.
        results: detections.
        num_draws, seed: of the bootstrap; runs measured with the same ones can be compared.

    Returns:
        JSON: "metrics" {IoU type: {metric: percent}}, "fixed" the same of fixed AP, "per_category"
        {IoU type: {category id: AP}}, "categories" {id: [name, group]}, "images" their number, and
        "bootstrap" {"draws", "seed", "values": {IoU type: text}}, see `pack`.

    Raises:
        InputError: bad input in a file.
        MissingExtra: hotcoco or numba is not installed.
    """
    truth = load_ground_truth(gt)
    require("numba", "eval")  # before reading
    images = len(truth.data["images"])
    weights = draw_weights(images, num_draws, np.random.default_rng(seed))
    with ThreadPoolExecutor(1) as background:
        measured = measure(truth, results, IOU_TYPES, max_dets, weights, background)
        draws = {t: found.result() for t, found in measured.draws.items()}
    scores = measured.scores
    return {
        "metrics": {t: _rounded({m: scores[t][m] for m in METRICS}) for t in IOU_TYPES},
        "fixed": {t: _rounded(measured.fixed[t]) for t in IOU_TYPES},
        "per_category": {
            t: _rounded({str(c): ap for c, ap in scores[t]["per_category"].items()})
            for t in IOU_TYPES
        },
        "categories": {
            str(c["id"]): [c.get("name", str(c["id"])), c.get("frequency")]
            for c in truth.data["categories"]
        },
        "images": images,
        "bootstrap": {
            "draws": num_draws,
            "seed": seed,
            "values": {t: pack([found[m] for m in TABLE_METRICS]) for t, found in draws.items()},
        },
    }


def pack(draws: Sequence[FloatArray]) -> str:
    """Text that holds ``TABLE_METRICS`` under B draws, float64[B] in percent each, to 0.01; nan
    stays nan."""
    values = np.stack(draws) * SCALE
    small = np.where(np.isnan(values), ABSENT, np.rint(values)).astype("<u2")
    halves = small.view(np.uint8).reshape(-1, 2).T  # high bytes differ little: they pack well
    return base64.b85encode(zlib.compress(halves.tobytes(), 9)).decode()


def unpack(text: str, num_draws: int) -> dict[str, FloatArray]:
    """Metric -> float64[B] in percent, of what `pack` has made.

    Raises:
        InputError: the text is damaged, or of another number of draws.
    """
    try:
        data = zlib.decompress(base64.b85decode(text))
    except (ValueError, zlib.error) as error:
        raise InputError(f"draws of a record are damaged: {error}") from error
    halves = np.frombuffer(data, np.uint8)
    if len(halves) != 2 * len(TABLE_METRICS) * num_draws:
        raise InputError(
            f"draws of a record are {len(halves)} bytes; expected {num_draws} draws of "
            f"{', '.join(TABLE_METRICS)}"
        )
    small = np.ascontiguousarray(halves.reshape(2, -1).T).view("<u2").reshape(-1, num_draws)
    values = np.where(small == ABSENT, np.nan, small / SCALE)
    return dict(zip(TABLE_METRICS, values, strict=True))


def _rounded(values: Mapping[str, float | None]) -> dict[str, float | None]:
    return {name: None if v is None else round(v, DIGITS) for name, v in values.items()}
