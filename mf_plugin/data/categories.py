"""Which category of a json is which class of a detector, checked by name and id.

Two LVIS-format jsons may number or order their categories differently, or hold a part of them.
Trusting ids alone then trains on wrong labels without a word.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mf_plugin.errors import InputError

logger = logging.getLogger(__name__)

SHOWN = 10  # categories that an error lists


@dataclass(frozen=True)
class Label:
    """One class of a detector; its position in a sequence is the label.

    Attributes:
        names: its name, and others that it goes by.
        id: category id in the dataset that defines the classes; None where that has none.
    """

    names: tuple[str, ...]
    id: int | None = None


def labels_by_id(categories: Iterable[Mapping[str, Any]]) -> tuple[Label, ...]:
    """A json's own categories as labels, by ascending id: detectron2 numbers classes so."""
    ordered = sorted(categories, key=lambda category: category["id"])
    return tuple(Label((category["name"],), category["id"]) for category in ordered)


def match_categories(
    categories: Sequence[Mapping[str, Any]],
    labels: Sequence[Label],
    used: Iterable[int],
    where: str,
) -> dict[int, int]:
    """The label of each category id of a json.

    A category fits the class that has its name, whatever the id ("_" and " ", upper and lower
    case are one); where several classes have that name, the one with its id too.

    Args:
        categories: LVIS dicts with ``id`` and ``name``.
        labels: the detector's classes.
        used: ids of the categories that have annotations.
        where: the json, for errors and the log.

    Returns:
        category id -> label, for every category that fits a class.

    Raises:
        InputError: a category with annotations fits no class, or two fit the same; lists them.
    """
    by_name: dict[str, set[int]] = defaultdict(set)
    for label, known in enumerate(labels):
        for name in known.names:
            by_name[_normal(name)].add(label)
    by_id = {known.id: label for label, known in enumerate(labels) if known.id is not None}

    label_of: dict[int, int] = {}
    without: list[Mapping[str, Any]] = []
    for category in categories:
        fitting = by_name.get(_normal(category["name"]), set())
        same_id = by_id.get(category["id"])
        if same_id in fitting:
            label_of[category["id"]] = same_id
        elif len(fitting) == 1:
            label_of[category["id"]] = min(fitting)
        else:
            without.append(category)

    needed = set(used)
    problems = [_describe(c, labels, by_id) for c in without if c["id"] in needed]
    problems += _doubles(categories, label_of, labels)
    if problems:
        shown = "; ".join(problems[:SHOWN])
        more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise InputError(
            f"{where}: {len(problems)} of its {len(categories)} categories fit none of the "
            f"detector's {len(labels)} classes by name: {shown}{more}"
        )
    _log(label_of, labels, without, where)
    return label_of


def _normal(name: str) -> str:
    return " ".join(name.replace("_", " ").split()).casefold()


def _describe(
    category: Mapping[str, Any], labels: Sequence[Label], by_id: Mapping[int, int]
) -> str:
    text = f"{category['name']!r} (id {category['id']}"
    if category["id"] in by_id:
        text += f", which is {labels[by_id[category['id']]].names[0]!r} there"
    return text + ")"


def _doubles(
    categories: Sequence[Mapping[str, Any]], label_of: Mapping[int, int], labels: Sequence[Label]
) -> list[str]:
    names = {category["id"]: category["name"] for category in categories}
    fitting: dict[int, list[int]] = defaultdict(list)
    for category_id, label in label_of.items():
        fitting[label].append(category_id)
    return [
        f"{' and '.join(f'{names[i]!r} (id {i})' for i in ids)} are both {labels[label].names[0]!r}"
        for label, ids in fitting.items()
        if len(ids) > 1
    ]


def _log(
    label_of: Mapping[int, int],
    labels: Sequence[Label],
    without: Sequence[Mapping[str, Any]],
    where: str,
) -> None:
    moved = sum(labels[label].id not in (None, i) for i, label in label_of.items())
    if moved:
        logger.info("%s: %d categories have other ids here; matched by name", where, moved)
    if without:
        logger.info("%s: %d unused categories are no class here; passed over", where, len(without))
