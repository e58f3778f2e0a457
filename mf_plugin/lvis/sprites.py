"""The pictures of mini-LVIS: which icon of which style draws which LVIS category.

`assets/minilvis/categories.tsv` is the reviewed table: its rows carry the LVIS facts of a category,
the icon's name in each style (empty: not drawn) and a definition of our own.
`assets/minilvis/sprites/` holds one archive per style: what trains never opens what validates.

Shapes: a sprite is uint8[h, w, 4], RGBA with straight alpha, cropped to its alpha box; max(h, w) is
96, of a few 95.
"""

from __future__ import annotations

import csv
import hashlib
import io
import zipfile
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mf_plugin.arrays import Pixels
from mf_plugin.errors import InputError

TRAIN_STYLES = ("fluent-emoji", "fluent-emoji-flat", "twemoji", "emojione", "fxemoji")
MINIVAL_STYLES = ("noto-v1",)
VAL_STYLES = ("noto",)
STYLES = TRAIN_STYLES + MINIVAL_STYLES + VAL_STYLES
PRESETS = ("all", "demo")
DEMO_PER_GROUP = 10

ASSETS = Path(__file__).resolve().parents[1] / "assets" / "minilvis"


@lru_cache(maxsize=1)
def _table() -> tuple[dict[str, str], ...]:
    with open(ASSETS / "categories.tsv", encoding="utf-8", newline="") as file:
        rows = tuple(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return tuple(sorted(rows, key=lambda row: int(row["id"])))


@lru_cache(maxsize=1)
def _styles_by_id() -> dict[int, tuple[str, ...]]:
    return {int(row["id"]): tuple(s for s in STYLES if row[s]) for row in _table()}


def table_categories() -> list[dict[str, Any]]:
    """All categories by LVIS id, as LVIS dicts: id, name, synset, synonyms, def, frequency."""
    return [
        {
            "id": int(row["id"]),
            "name": row["lvis_name"],
            "synset": row["synset"],
            "synonyms": row["synonyms"].split(","),
            "def": row["definition"],
            "frequency": row["frequency"],
        }
        for row in _table()
    ]


def styles_of(category_id: int) -> tuple[str, ...]:
    """The styles that draw a category, in the order of `STYLES`; reads the table, no archive.

    Raises InputError for an id that is not in mini-LVIS.
    """
    styles = _styles_by_id().get(category_id)
    if styles is None:
        raise InputError(
            f"category id {category_id!r} is not one of the {len(_table())} of mini-LVIS"
        )
    return styles


def load_sprites(
    styles: Sequence[str], category_ids: Iterable[int] | None = None
) -> dict[tuple[int, str], Pixels]:
    """Sprites of the asked styles, opening only these styles' archives.

    Args:
        styles: any of `STYLES`.
        category_ids: LVIS ids; None means all. A category that a style does not draw is left out.

    Returns:
        (category id, style) -> uint8[h, w, 4], by style as asked and then by id.

    Raises:
        InputError: a style or category id that mini-LVIS does not have, or an archive that lacks a
            picture of the table.
    """
    if isinstance(styles, str):
        raise InputError(f"styles is the text {styles!r}, expected a sequence of styles")
    for style in styles:
        if style not in STYLES:
            raise InputError(f"unknown style {style!r}, expected one of {', '.join(STYLES)}")
    ids = sorted(_styles_by_id() if category_ids is None else set(category_ids))
    drawn = {i: styles_of(i) for i in ids}

    sprites = {}
    for style in styles:
        path = ASSETS / "sprites" / f"{style}.zip"
        with zipfile.ZipFile(path) as archive:
            for i in (i for i in ids if style in drawn[i]):
                try:
                    data = archive.read(f"{i}.webp")
                except KeyError:
                    raise InputError(
                        f"{path.name} has no picture of category {i}: run tools/build_sprites.py"
                    ) from None
                sprites[i, style] = np.array(Image.open(io.BytesIO(data)).convert("RGBA"))
    return sprites


def _name_hash(category: dict[str, Any]) -> str:
    return hashlib.sha256(category["name"].encode("utf-8")).hexdigest()


def preset_categories(preset: str) -> list[dict[str, Any]]:
    """Categories of a preset, by LVIS id: "all", or "demo".

    The demo preset is chosen by names, not by results. Of each frequency group it takes the ten
    categories with the smallest sha256(name) among those that all seven styles draw; a group with
    fewer is filled with those that both held-out styles and the most training styles draw (ties by
    the same hash).
    """
    if preset not in PRESETS:
        raise InputError(f"unknown preset {preset!r}, expected one of {', '.join(PRESETS)}")
    categories = table_categories()
    if preset == "all":
        return categories

    held_out = MINIVAL_STYLES + VAL_STYLES
    chosen = []
    for group in "rcf":
        candidates = [
            c
            for c in categories
            if c["frequency"] == group and all(s in styles_of(c["id"]) for s in held_out)
        ]
        # most styles first: the fully drawn ones come before any filler
        candidates.sort(key=lambda c: (-len(styles_of(c["id"])), _name_hash(c)))
        chosen += candidates[:DEMO_PER_GROUP]
    return sorted(chosen, key=lambda c: c["id"])
