"""How many training images contain each category: from a json file, or from the training set.

Shapes: C categories, in the order of the labels.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.logging import print_log

from mf_plugin.errors import InputError
from mf_plugin.jsonfile import parse_json
from mf_plugin.lvis.validate import is_id
from mf_plugin.mmdet.image_categories import image_categories, synthetic_flags


@lru_cache(maxsize=4)
def read_image_counts(path: str) -> tuple[int, ...]:
    """The image counts of a json file, in the order in which it lists the categories.

    Args:
        path: an LVIS json, or the list of its categories alone (dicts with ``image_count``), or a
            list of numbers. LVIS's training json takes a minute to read, the lists no time.

    Raises:
        InputError: the file is missing, damaged or holds none of these.
    """
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"image counts {path} cannot be read: {error.strerror}") from error
    data = parse_json(text, f"image counts {path}")
    rows = data.get("categories") if isinstance(data, Mapping) else data
    if isinstance(rows, list) and rows:
        counts: list[Any] = [
            row.get("image_count") if isinstance(row, Mapping) else row for row in rows
        ]
        if all(map(is_id, counts)):
            return tuple(counts)
    raise InputError(
        f"{path} has no image counts: expected an LVIS json, the list of its categories with "
        "image_count, or a list of numbers"
    )


def count_images(dataset: Any) -> np.ndarray:
    """int64[C]: the real images of a dataset that contain each category.

    Synthetic images stay out, so that both arms of a comparison train with the same loss.

    Args:
        dataset: what `image_categories` can read, with the classes in its ``metainfo``.
    """
    counts = np.zeros(len(dataset.metainfo["classes"]), dtype=np.int64)
    labels, images = image_categories(dataset).image_counts(~synthetic_flags(dataset))
    counts[labels] = images
    return counts


@HOOKS.register_module()
class CategoryCountsHook(Hook):
    """Gives every FederatedLoss without image counts those of the training set's real images."""

    priority = "VERY_HIGH"

    def before_train(self, runner: Any) -> None:
        waiting = [
            module
            for module in runner.model.modules()
            if hasattr(module, "set_counts") and module.counts is None
        ]
        if not waiting:
            return
        counts = count_images(runner.train_dataloader.dataset)
        for module in waiting:
            module.set_counts(counts)
        print_log(
            f"CategoryCountsHook: {int((counts > 0).sum())} of {len(counts)} categories are in "
            f"real training images, in {counts.min()} to {counts.max()} each",
            logger="current",
            level=logging.INFO,
        )
