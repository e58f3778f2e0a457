"""Captions: composed from annotations, read from COCO's json; and which categories one names.

SegGen (arXiv 2311.03355, section 3) captions its training images with BLIP-2 (``blip2.py``). A
composed caption lists what is annotated, with the words that the bundled model was trained on:
"two doves and a violin".
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mf_plugin.errors import InputError, shown
from mf_plugin.jsonfile import read_json
from mf_plugin.seggen.blip2 import Blip2Captioner
from mf_plugin.vocabulary import Category, Vocabulary
from mf_plugin.words import count_phrase, join_phrases, plain_name, plural

__all__ = [
    "TEMPLATES",
    "Blip2Captioner",
    "category_noun",
    "compose_caption",
    "expect_categories",
    "find_categories",
    "read_blip2_captions",
    "read_coco_captions",
    "split_caption",
]

TEMPLATES = ("{objects}", "a photo of {objects}")
MORE_THAN_ONE = 2  # objects that a plural without a number stands for

_ONES = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty"
).split()
_NUMBERS = {word: number for number, word in enumerate(_ONES, start=1)} | {"couple": 2}
_CLAUSE_ENDS = set(
    "and or with on in at to by of near next behind under over from for while the is are".split()
)
_JOINT = re.compile(r",? and |, ")
_LOOK_BACK = 3  # words between a number and its noun: "two large brown dogs"
_NAMES_SHOWN = 5


def category_noun(category: Category) -> str:
    """The name as captions have it: ``"bow_(weapon)"`` -> ``"bow"``, of ADE20K's lists of names
    the first, and without COCO's ``-merged`` and ``-other``."""
    return plain_name(category.clean_name)


def compose_caption(
    category_ids: Iterable[int],
    vocabulary: Vocabulary,
    rng: np.random.Generator | None = None,
    templates: Sequence[str] = TEMPLATES,
) -> str:
    """A caption that lists objects: ``"two dogs and a bicycle"``.

    Args:
        category_ids: one for each object. Categories are named in the order in which they first
            come; largest area first is what the bundled model knows.
        vocabulary: has the names.
        rng: draws one of the templates; None takes the first.
        templates: each with ``{objects}``.

    Raises:
        InputError: no object, an unknown id, or a template without ``{objects}``.
    """
    counts = Counter(category_ids)
    if not counts:
        raise InputError("no objects to caption: expected at least one category id")
    template = templates[0 if rng is None else int(rng.integers(len(templates)))]
    if "{objects}" not in template:
        raise InputError(f"caption template {template!r}: expected one with {{objects}}")
    phrases = [count_phrase(category_noun(vocabulary.by_id(c)), n) for c, n in counts.items()]
    return template.replace("{objects}", join_phrases(phrases))


def split_caption(caption: str, phrases: int) -> list[str]:
    """A caption's parts between commas and "and": "a dove, two rings and a hat" -> three.

    Args:
        caption: may be empty.
        phrases: how many parts there shall be, 1 or more; the last takes what is left, and empty
            ones are added.
    """
    if phrases == 1:
        return [caption]
    parts = _JOINT.split(caption, maxsplit=phrases - 1)
    return parts + [""] * (phrases - len(parts))


def read_coco_captions(
    path: str | Path, image_ids: Collection[int] | None = None
) -> dict[int, tuple[str, ...]]:
    """Image id -> its captions, from a json in the form of COCO's ``captions_train2017.json``.

    Args:
        path: of the json.
        image_ids: leaves only these; images without a caption are absent.

    Raises:
        InputError: no such file, no json of that form, or captions of none of the images.
    """
    path = Path(path)
    data = read_json(path, "a captions json")
    entries = data.get("annotations") if isinstance(data, dict) else None
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{path}: expected COCO captions, a list under the key 'annotations'")
    wanted = None if image_ids is None else set(image_ids)
    found: dict[int, list[str]] = {}
    for entry in entries:
        image_id, caption = _caption_entry(path, entry)
        if wanted is None or image_id in wanted:
            found.setdefault(image_id, []).append(caption)
    if not found:
        raise InputError(
            f"{path} has {len(entries)} captions, of none of the {len(wanted or ())} images: "
            "expected the captions of these images"
        )
    return {image_id: tuple(captions) for image_id, captions in found.items()}


def _caption_entry(path: Path, entry: Any) -> tuple[int, str]:
    image_id = entry.get("image_id") if isinstance(entry, dict) else None
    caption = entry.get("caption") if isinstance(entry, dict) else None
    if type(image_id) is not int or not isinstance(caption, str) or not caption.strip():
        raise InputError(f"{path}: annotation {shown(entry)}: expected an image_id and a caption")
    return image_id, " ".join(caption.split())


def read_blip2_captions(path: str | Path, data: Any = None) -> dict[int, str]:
    """Image id -> its caption, of the captions.json that a training has left.

    Args:
        path: of the json.
        data: what is in it, where it has been read.

    Raises:
        InputError: no such file, or no json of that form.
    """
    wanted = "the captions.json of a training"
    data = read_json(path, wanted) if data is None else data
    said = data.get("captions") if isinstance(data, dict) else None
    if not isinstance(said, dict) or not all(isinstance(text, str) for text in said.values()):
        raise InputError(f"{path}: expected {wanted}")
    try:
        return {int(image_id): caption for image_id, caption in said.items()}
    except ValueError:
        raise InputError(f"{path} has captions of no image ids: expected {wanted}") from None


def find_categories(caption: str, vocabulary: Vocabulary) -> tuple[int, ...]:
    """The categories that a caption names, once for each object it speaks of.

    Names, synonyms and their plurals are found, the longest first: "hot dog" is no dog. "Two large
    dogs" are two, "a pair of scissors" is one; a plural without a number stands for
    ``MORE_THAN_ONE``. Of two categories with one name (LVIS's two bows) the first of the
    vocabulary is meant; a name goes before a synonym.

    Returns:
        Ids in the order in which the caption names them; empty where it names none.
    """
    forms = _forms(vocabulary)
    longest = max(map(len, forms), default=0)
    words = _words(caption)
    found: list[int] = []
    place = last_end = 0
    while place < len(words):
        for length in range(min(longest, len(words) - place), 0, -1):
            form = forms.get(tuple(words[place : place + length]))
            if form is not None:
                found += [form.category_id] * _count(words[last_end:place], form)
                place = last_end = place + length
                break
        else:
            place += 1
    return tuple(found)


def expect_categories(caption: str, vocabulary: Vocabulary) -> tuple[int, ...]:
    """`find_categories` where at least one is needed.

    Raises:
        InputError: the caption names no category of the vocabulary.
    """
    found = find_categories(caption, vocabulary)
    if not found:
        names = ", ".join(category_noun(c) for c in list(vocabulary)[:_NAMES_SHOWN])
        more = ", ..." if len(vocabulary) > _NAMES_SHOWN else ""
        raise InputError(
            f"caption {caption!r} names no known category: expected one of the "
            f"{len(vocabulary)} of the vocabulary ({names}{more})"
        )
    return found


class _Form(NamedTuple):
    """A way to write a category: singular, plural, or one that serves for both ("sheep")."""

    category_id: int
    is_plural: bool
    is_singular: bool


@lru_cache(maxsize=8)
def _forms(vocabulary: Vocabulary) -> dict[tuple[str, ...], _Form]:
    """Words -> what they mean; names before synonyms, first come first."""
    forms: dict[tuple[str, ...], _Form] = {}
    named = [(category.id, [category_noun(category)]) for category in vocabulary]
    named += [(category.id, list(category.clean_names[1:])) for category in vocabulary]
    for category_id, names in named:
        for name in names:
            one, many = tuple(_words(name)), tuple(_words(plural(name)))
            if one:
                forms.setdefault(one, _Form(category_id, one == many, True))
            if many:
                forms.setdefault(many, _Form(category_id, True, one == many))
    return forms


def _words(text: str) -> list[str]:
    """Lower case, without hyphens and possessives; a comma is a word."""
    text = re.sub(r"['’]s?\b", "", text.casefold())
    return re.findall(r"[^\W_]+|[,.;:]", text.replace("-", " "))


def _count(before: Sequence[str], form: _Form) -> int:
    """How many objects, from the words between the name before and this one."""
    words = list(before)
    if len(words) >= 2 and words[-1] == "of" and words[-2] in ("pair", "pairs"):
        is_plural = words[-2] == "pairs"
        words = words[:-2]
        form = form._replace(is_plural=is_plural, is_singular=not is_plural)
    elif len(words) >= 2 and words[-1] == "of" and words[-2] == "couple":
        words = words[:-1]
    if not form.is_plural:
        return 1
    for word in reversed(words[-_LOOK_BACK - 1 :]):
        number = _NUMBERS.get(word) or (int(word) if word.isdecimal() and len(word) < 10 else 0)
        if 0 < number <= 100:
            return number
        if word in ("a", "an") and form.is_singular:
            return 1
        if word in _CLAUSE_ENDS or not word.isalnum():
            break
    return 1 if form.is_singular else MORE_THAN_ONE
