"""Where the images of a training set come from: which synthetic folder, which real image.

Shapes: N images of a dataset.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset
from tqdm import tqdm

from mf_plugin.data.draws import Sources
from mf_plugin.mmdet.image_categories import BAR_FROM, ids_of_records, kept_ids, synthetic_flags


def synthetic_folders(dataset: Any) -> np.ndarray:
    """int64[N]: -1 for a real image, else the number of its synthetic folder, in their order."""
    roots = _per_image(dataset, _root_of_leaf)
    numbers: dict[str, int] = {}
    found = (-1 if root is None else numbers.setdefault(root, len(numbers)) for root in roots)
    return np.fromiter(found, np.int64, len(roots))


def image_sources(dataset: Any) -> Sources:
    """The N images' own ids, and of synthetic ones those of the real images behind them."""
    ids = _per_image(dataset, _ids_of_leaf).tolist()
    return [own for own, _ in ids], [source for _, source in ids]


def _per_image(dataset: Any, of_leaf: Callable[[Any], np.ndarray]) -> np.ndarray:
    """object[N]: what ``of_leaf`` says of the images of each dataset inside the wrappers."""
    if hasattr(dataset, "datasets"):
        return np.concatenate([_per_image(d, of_leaf) for d in dataset.datasets])
    if hasattr(dataset, "repeat_indices"):
        return _per_image(dataset.dataset, of_leaf)[np.asarray(dataset.repeat_indices)]
    if hasattr(dataset, "dataset"):
        inner = _per_image(dataset.dataset, of_leaf)
        return inner[np.arange(len(dataset)) % max(1, len(inner))]
    return of_leaf(dataset)


def _root_of_leaf(dataset: Any) -> np.ndarray:
    roots = np.full(len(dataset), None, dtype=object)
    roots[synthetic_flags(dataset)] = str(getattr(dataset, "root", ""))
    return roots


def _ids_of_leaf(dataset: Any) -> np.ndarray:
    pairs = np.empty(len(dataset), dtype=object)
    if not isinstance(dataset, BaseDataset):  # a user's own, which names no ids
        pairs[:] = [(None, None)] * len(dataset)
        return pairs
    dataset.full_init()
    kept = kept_ids(dataset)
    if kept is None and not dataset.serialize_data:
        kept = ids_of_records(dataset.data_list)
    if kept is None:
        images = range(len(dataset))
        bar = tqdm(images, desc="ids of images", disable=len(images) < BAR_FROM)
        kept = ids_of_records(map(dataset.get_data_info, bar))
    pairs[:] = kept
    return pairs
