"""How often each category stands in a training set: what groups come from, and gains go with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from mf_plugin.data.categories import labels_by_id, match_categories
from mf_plugin.data.provider import ANNOTATIONS
from mf_plugin.errors import InputError
from mf_plugin.jsonfile import read_json
from mf_plugin.lvis.validate import check_categories


@dataclass(frozen=True)
class TrainingCounts:
    """``images`` and ``instances`` are by category id, without the categories that have none."""

    name: str
    categories: list[dict[str, Any]]
    images: dict[int, int]
    instances: dict[int, int]


def count_training(source: str | Path | Mapping[str, Any] | TrainingCounts) -> TrainingCounts:
    """Count images and instances of each category of an LVIS or COCO json, or its content.

    Raises:
        InputError: names the file and what is wrong.
    """
    if isinstance(source, TrainingCounts):
        return source
    name = "training json"
    data: Any = source
    if isinstance(source, (str, Path)):
        name, data = str(source), _read_without_masks(Path(source))
    for key in ("annotations", "categories"):
        if not isinstance(data, Mapping) or not isinstance(data.get(key), list):
            raise InputError(f"{name}: no list {key!r}, expected an LVIS training json")
    try:
        pairs = [(a["category_id"], a["image_id"]) for a in data["annotations"]]
    except (KeyError, TypeError):
        raise InputError(f"{name}: an annotation without category_id and image_id") from None
    if any(type(one) is not int for one in chain.from_iterable(pairs)):
        raise InputError(f"{name}: an annotation whose category_id or image_id is no integer")
    try:
        check_categories(data["categories"])
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    images = Counter(category for category, _ in set(pairs))
    instances = Counter(category for category, _ in pairs)
    return TrainingCounts(name, data["categories"], dict(images), dict(instances))


def instances_of(counts: TrainingCounts, categories: list[dict[str, Any]]) -> dict[int, int]:
    """Instances of each of ``categories``, by its id there; matched by name, whatever the ids.

    Raises:
        InputError: a category with instances has no counterpart; lists them.
    """
    labels = labels_by_id(categories)
    label_of = match_categories(counts.categories, labels, counts.instances, counts.name)
    found = dict.fromkeys((c["id"] for c in categories), 0)
    for category_id, label in label_of.items():
        found[labels[label].id] += counts.instances.get(category_id, 0)
    return found


def synthetic_json(path: str | Path) -> Path:
    """The json of a synthetic dataset: of its folder, or the json itself.

    Raises:
        InputError: there is none.
    """
    path = Path(path)
    found = path / ANNOTATIONS if path.is_dir() else path
    if not found.is_file():
        raise InputError(f"{found}: no such file, expected the folder of a synthetic dataset")
    return found


def _read_without_masks(path: Path) -> Any:
    """The json less its masks, which are most of it: LVIS's training set takes gigabytes whole."""

    def drop(item: dict[str, Any]) -> dict[str, Any]:
        item.pop("segmentation", None)
        return item

    return read_json(path, "an LVIS training json", hook=drop)
