"""Vocabulary: the ordered categories of a dataset, their LVIS names, definitions and groups.

The unit is the LVIS category (https://arxiv.org/abs/1908.03195, Sec. 3): an id, a name, a WordNet
synset and a frequency group, "r" (1-10 training images), "c" (11-100) or "f" (more than 100).
Order matters: mmdet derives its labels from the order of the categories in a json.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

from mf_plugin.errors import InputError, shown
from mf_plugin.fields import check_fields
from mf_plugin.jsonfile import read_json

GROUPS = ("r", "c", "f")
RARE_MAX_IMAGES = 10  # LVIS v1: rare in 1 to 10 training images
COMMON_MAX_IMAGES = 100  # common in 11 to 100, frequent in more

_LARGEST_NUMBER = (1 << 53) - 1  # every reader of json has it exact
_MOST_LETTERS = 1000

# "bow_(weapon)" -> "bow"; LVIS has one name that goes on behind its qualifier,
# "monitor_(computer_equipment) computer_monitor", and it is cut there too.
_QUALIFIER = re.compile(r"[_\s]*\(.*$")


@dataclass(frozen=True)
class Category:
    """One LVIS category.

    Attributes:
        id: LVIS category id, from 1.
        name: LVIS name, e.g. ``"bow_(weapon)"``.
        synset: WordNet synset, e.g. ``"bow.n.04"``; empty where unknown.
        frequency: ``"r"``, ``"c"``, ``"f"``, or None where no training set has given it.
        definition: LVIS's ``def``; empty where unknown.
        synonyms: LVIS's synonyms, the name's own word among them.
        image_count: training images that contain the category.
        instance_count: training instances of the category.
    """

    id: int
    name: str
    synset: str = ""
    frequency: str | None = None
    definition: str = ""
    synonyms: tuple[str, ...] = ()
    image_count: int | None = None
    instance_count: int | None = None

    @property
    def clean_name(self) -> str:
        """The name as words for a prompt: ``"bow_(weapon)"`` -> ``"bow"``."""
        return _clean(self.name)

    @property
    def clean_names(self) -> tuple[str, ...]:
        """The clean name, then the synonyms as words, each once whatever its case."""
        names = {self.clean_name.casefold(): self.clean_name}
        for synonym in filter(None, map(_clean, self.synonyms)):
            names.setdefault(synonym.casefold(), synonym)
        return tuple(names.values())


class Vocabulary(Sequence[Category]):
    """An immutable, ordered, non-empty set of categories with unique ids and unique names."""

    def __init__(self, categories: Iterable[Category]) -> None:
        """
        Raises:
            InputError: no category at all, two with one id or one name, an unknown group.
        """
        self._categories = tuple(categories)
        if not self._categories:
            raise InputError("the vocabulary is empty: expected at least one category")
        self._by_id: dict[int, Category] = {}
        self._by_name: dict[str, Category] = {}
        for category in self._categories:
            check_category(category)
            if not category.name.strip():
                raise InputError(f"category {category.id} has an empty name")
            if category.frequency not in (None, *GROUPS):
                raise InputError(
                    f"category {category.name!r} has frequency {category.frequency!r}: "
                    "expected 'r', 'c' or 'f'"
                )
            if category.id in self._by_id:
                raise InputError(
                    f"category id {category.id} appears twice: "
                    f"{self._by_id[category.id].name!r} and {category.name!r}"
                )
            if category.name in self._by_name:
                raise InputError(
                    f"category name {category.name!r} appears twice: "
                    f"ids {self._by_name[category.name].id} and {category.id}"
                )
            self._by_id[category.id] = category
            self._by_name[category.name] = category

    @classmethod
    def from_lvis_json(cls, path: str | Path) -> Vocabulary:
        """Read an LVIS annotation json, or a json that is only its list of categories.

        Raises:
            InputError: the file is missing, is no json, or has no categories.
        """
        path = Path(path)
        data = read_json(path, "an LVIS json")
        categories = data.get("categories") if isinstance(data, dict) else data
        if not isinstance(categories, list):
            raise InputError(f"{path} has no list of categories")
        try:
            return cls.from_categories(categories)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None

    @classmethod
    def from_categories(cls, categories: Iterable[Mapping[str, Any]]) -> Vocabulary:
        """Build from LVIS category dicts; LVIS's key ``def`` is the definition."""
        return cls(_parse_category(category) for category in categories)

    @classmethod
    def from_names(cls, names: Iterable[str]) -> Vocabulary:
        """Build from bare names: ids from 1 in the order given, no groups, no definitions."""
        if isinstance(names, str):
            raise InputError(f"expected a list of category names, got the string {names!r}")
        return cls(Category(id=i, name=name) for i, name in enumerate(names, start=1))

    def by_id(self, id: int) -> Category:
        """The category with this id; InputError names the id where there is none."""
        try:
            return self._by_id[id]
        except KeyError:
            known = list(self._by_id)
            raise InputError(
                f"unknown category id {id!r}: the vocabulary has {len(known)} ids "
                f"from {min(known)} to {max(known)}"
            ) from None

    def by_name(self, name: str) -> Category:
        """The category with this LVIS name; InputError names it and up to 3 close matches."""
        try:
            return self._by_name[name]
        except KeyError:
            raise InputError(f"unknown category {name!r}{self._suggestion(name)}") from None

    def group(self, frequency: str) -> list[Category]:
        """The categories of one frequency group, in the vocabulary's order.

        Raises:
            InputError: the group is not "r", "c" or "f", or a category has no group.
        """
        if frequency not in GROUPS:
            raise InputError(f"unknown frequency group {frequency!r}: expected 'r', 'c' or 'f'")
        for category in self._categories:
            if category.frequency is None:
                raise InputError(
                    f"category {category.name!r} has no frequency group: "
                    "read the vocabulary from a training json, or use with_image_counts"
                )
        return [category for category in self._categories if category.frequency == frequency]

    def with_image_counts(self, image_counts: Mapping[int, int]) -> Vocabulary:
        """The same categories with counts, and groups by LVIS's rule (1-10, 11-100, more).

        Args:
            image_counts: category id -> number of training images; 0 where absent, which is rare.
        """
        for category_id in image_counts:
            self.by_id(category_id)

        def counted(category: Category) -> Category:
            count = int(image_counts.get(category.id, 0))
            group = "r" if count <= RARE_MAX_IMAGES else "c" if count <= COMMON_MAX_IMAGES else "f"
            return dataclasses.replace(category, image_count=count, frequency=group)

        return Vocabulary(map(counted, self._categories))

    def to_lvis(self) -> list[dict[str, Any]]:
        """All categories as LVIS dicts in this order; what is unknown (None) is left out."""
        return [_to_lvis(category) for category in self._categories]

    def _suggestion(self, name: str) -> str:
        cleaned = Category(0, str(name)).clean_name.lower()
        words = {category.clean_name.lower(): category.name for category in self._categories}
        # Twins such as bow_(weapon) and bow_(decorative_ribbons) share their clean name.
        close = [c.name for c in self._categories if c.clean_name.lower() == cleaned]
        close += difflib.get_close_matches(str(name), list(self._by_name), n=3)
        close += [words[w] for w in difflib.get_close_matches(cleaned, list(words), n=3)]
        close = list(dict.fromkeys(close))[:3]
        if close:
            return f": did you mean {', '.join(map(repr, close))}?"
        return f": the vocabulary has {len(self)} categories, none with a name like it"

    @overload
    def __getitem__(self, index: int) -> Category: ...

    @overload
    def __getitem__(self, index: slice) -> Vocabulary: ...

    def __getitem__(self, index: int | slice) -> Category | Vocabulary:
        """``vocabulary[i]`` is a Category; a slice is a Vocabulary of it (never empty)."""
        if isinstance(index, slice):
            return Vocabulary(self._categories[index])
        return self._categories[index]

    def __len__(self) -> int:
        return len(self._categories)

    def __contains__(self, value: object) -> bool:
        return isinstance(value, Category) and self._by_id.get(value.id) == value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self._categories == other._categories

    def __hash__(self) -> int:
        return hash(self._categories)

    def __repr__(self) -> str:
        names = ", ".join(category.name for category in self._categories[:3])
        return f"Vocabulary({len(self)} categories: {names}{', ...' if len(self) > 3 else ''})"


def _clean(name: str) -> str:
    words = _QUALIFIER.sub("", name) or name
    return " ".join(words.replace("_", " ").split())


def check_category(category: object) -> None:
    """
    Raises:
        InputError: a field is of a wrong type, a number is negative, a name has thousands of
            letters.
    """
    if not isinstance(category, Category):
        raise InputError(f"expected a category with an id and a name, got {shown(category)}")
    what = f"category {shown(category.name)}: "
    check_fields(category, what, frequency="'r', 'c' or 'f'", synonyms="a list of words")
    for name in ("id", "image_count", "instance_count"):
        number = getattr(category, name)
        if number is not None and not 0 <= number <= _LARGEST_NUMBER:
            raise InputError(f"{what}{name} is {shown(number)}; expected a number from 0")
    if max(map(len, (category.name, *category.synonyms))) > _MOST_LETTERS:
        raise InputError(f"{what}expected names of at most {_MOST_LETTERS} letters")


def _parse_category(category: Mapping[str, Any]) -> Category:
    if not isinstance(category, Mapping):
        raise InputError(f"expected a category with an id and a name, got {shown(category)}")
    for key, kind in (("id", int), ("name", str)):
        if type(category.get(key)) is not kind:
            raise InputError(
                f"category {shown(dict(category))}: expected {key!r} as {kind.__name__}, "
                f"got {shown(category.get(key))}"
            )
    synonyms = category.get("synonyms")
    if not isinstance(synonyms, (list, tuple, type(None))):
        raise InputError(
            f"category {shown(category['name'])}: synonyms is {shown(synonyms)}; expected a list "
            "of words"
        )
    return Category(
        id=category["id"],
        name=category["name"],
        synset=category.get("synset") or "",
        frequency=category.get("frequency"),
        definition=category.get("def") or "",
        synonyms=tuple(synonyms or ()),
        image_count=category.get("image_count"),
        instance_count=category.get("instance_count"),
    )


def _to_lvis(category: Category) -> dict[str, Any]:
    record = {
        "id": category.id,
        "name": category.name,
        "synset": category.synset,
        "synonyms": list(category.synonyms),
        "def": category.definition,
        "frequency": category.frequency,
        "image_count": category.image_count,
        "instance_count": category.instance_count,
    }
    return {key: value for key, value in record.items() if value is not None}
