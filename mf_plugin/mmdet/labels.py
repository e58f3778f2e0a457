"""Which classes a dataset of mmdet has: the names and ids behind its labels.

CocoDataset and LVISV1Dataset number the classes by the order of the categories in the json,
whatever order ``metainfo`` names them in, and keep neither the names nor the json. So the json is
asked again, for its categories alone: of LVIS's gigabyte a few hundred kilobytes are parsed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from mmdet.datasets import CocoDataset
from mmengine.dataset import BaseDataset
from mmengine.fileio import get_local_path

from mf_plugin.data.categories import Label
from mf_plugin.errors import InputError
from mf_plugin.lvis.io import read_categories


def labels_of(dataset: Any) -> tuple[Label, ...]:
    """The classes of a dataset, wrapped or not, by label.

    Args:
        dataset: of mmdet or made by a user; of a union the first part is asked.

    Raises:
        InputError: it has no classes, or the names of its labels cannot be told.
    """
    while not isinstance(dataset, BaseDataset):
        dataset = dataset.datasets[0] if hasattr(dataset, "datasets") else dataset.dataset
    dataset.full_init()
    if hasattr(dataset, "class_labels"):
        return dataset.class_labels
    if isinstance(dataset, CocoDataset):
        return _labels_of_json(dataset)
    classes = dataset.metainfo.get("classes")
    if not classes:
        raise InputError(
            f"{describe(dataset)} names no classes: expected metainfo=dict(classes=(...))"
        )
    return tuple(Label((name,)) for name in classes)


def json_labels(
    categories: Iterable[Mapping[str, Any]], cat2label: Mapping[int, int]
) -> tuple[Label, ...]:
    """The labels that ``cat2label`` gives to the categories of a json.

    A class also goes by its category's first synonym: detectron2 calls LVIS's classes so.

    Raises:
        InputError: an id is not in the json, or a label has no category.
    """
    by_id = {category["id"]: category for category in categories}
    missing = [category_id for category_id in cat2label if category_id not in by_id]
    if missing:
        raise InputError(f"the json has no category with the id {missing[0]!r}")
    taken = Counter(category["name"] for category in by_id.values())
    names: dict[int, list[str]] = defaultdict(list)
    ids: dict[int, int] = {}
    for category_id, label in cat2label.items():
        category = by_id[category_id]
        synonyms = category.get("synonyms") or ()
        names[label] += [category["name"], *(s for s in synonyms[:1] if s not in taken)]
        ids.setdefault(label, category_id)
    gap = next((label for label in range(len(names)) if label not in names), None)
    if gap is not None:
        raise InputError(f"label {gap} has no category")
    return tuple(Label(tuple(names[label]), ids[label]) for label in range(len(names)))


def describe(dataset: Any) -> str:
    """What an error calls a dataset: its annotation file, or its type."""
    while not isinstance(dataset, BaseDataset) and hasattr(dataset, "dataset"):
        dataset = dataset.dataset
    return str(getattr(dataset, "ann_file", "") or type(dataset).__name__)


def _labels_of_json(dataset: CocoDataset) -> tuple[Label, ...]:
    cat2label = getattr(dataset, "cat2label", None)
    if cat2label is None:  # a subclass that loads in its own way
        return tuple(Label((name,)) for name in dataset.metainfo["classes"])
    try:
        with get_local_path(dataset.ann_file, backend_args=dataset.backend_args) as path:
            return json_labels(read_categories(path), cat2label)
    except InputError as error:
        raise InputError(
            f"{describe(dataset)}: the names of its labels cannot be told: {error}"
        ) from None
