"""Panoptic quality (https://arxiv.org/abs/1801.00868, eq. 1), by hotcoco, and COCO's format for it.

A panoptic PNG is that of `generation.panoptic`: each pixel holds the id of its segment.
panopticapi, which mmdet and detectron2 use, is on no package index.

Shapes: a map of segment ids is int[H, W].
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mf_plugin.arrays import AnyInts, Pixels
from mf_plugin.errors import InputError
from mf_plugin.extras import require

PARTS = {"": "All", "_th": "Things", "_st": "Stuff"}


def pixels_of_ids(ids: AnyInts) -> Pixels:
    """uint8[H, W, 3], R G B: the inverse of `decode_panoptic`, for ids below 256^3."""
    return np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)


def panoptic_scores(
    truth: str | Path,
    truth_folder: str | Path,
    prediction: str | Path | Mapping[str, Any],
    prediction_folder: str | Path,
) -> dict[str, float]:
    """PQ, SQ and RQ in percent, of all categories, of things (``_th``) and of stuff (``_st``).

    Args:
        truth: COCO's panoptic json, with ``isthing`` of each category.
        truth_folder: its PNGs.
        prediction: a json of the same form, or what is in it.
        prediction_folder: its PNGs.

    Returns:
        name -> percent; nan where a part has no category with a segment.

    Raises:
        InputError: a json does not fit its PNGs, or an image has no prediction.
        MissingExtra: hotcoco is not installed.
    """
    panoptic = require("hotcoco.panoptic", "eval")
    if isinstance(prediction, Mapping):
        path = Path(prediction_folder).with_suffix(".json")
        path.write_text(json.dumps(prediction), encoding="utf-8")
        prediction = path
    try:
        evaluator = panoptic.PanopticEval(
            str(truth),
            str(prediction),
            gt_folder=str(truth_folder),
            pred_folder=str(prediction_folder),
        )
        evaluator.evaluate()
        found = evaluator.results()
    except (ValueError, OSError) as error:
        raise InputError(f"panoptic quality of {prediction}: {error}") from None
    scores = {}
    for suffix, part in PARTS.items():
        for name in ("pq", "sq", "rq"):
            value = found[part][name]
            scores[f"{name.upper()}{suffix}"] = 100.0 * value if value >= 0 else float("nan")
    return scores
