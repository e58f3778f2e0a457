"""The reviewed table, the archives, and what a reader of some styles opens."""

from __future__ import annotations

import csv
import hashlib
import re
import sys
import zipfile
from collections import Counter

import numpy as np
import pytest

from mf_plugin.errors import InputError
from mf_plugin.lvis import sprites
from mf_plugin.lvis.sprites import (
    ASSETS,
    MINIVAL_STYLES,
    STYLES,
    TRAIN_STYLES,
    VAL_STYLES,
    load_sprites,
    preset_categories,
    styles_of,
    table_categories,
)

HELD_OUT = MINIVAL_STYLES + VAL_STYLES

_opened: list[str] = []
_hooked: list[bool] = []  # an audit hook cannot be removed: it is added once


@pytest.fixture
def opened_archives():
    def hook(event: str, args: tuple) -> None:
        if event == "open" and isinstance(args[0], str) and args[0].endswith(".zip"):
            _opened.append(args[0])

    if not _hooked:
        sys.addaudithook(hook)
        _hooked.append(True)
    _opened.clear()
    return lambda: {path.replace("\\", "/").rsplit("/", 1)[1] for path in _opened}


@pytest.fixture(scope="module")
def table() -> list[dict[str, str]]:
    with open(ASSETS / "categories.tsv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def test_styles_are_disjoint():
    assert len(set(STYLES)) == 7
    assert not set(TRAIN_STYLES) & set(HELD_OUT)


def test_table_columns_and_order(table):
    assert tuple(table[0]) == (
        "id", "lvis_name", "frequency", "synset", "synonyms", *STYLES, "definition",
    )  # fmt: skip
    ids = [int(row["id"]) for row in table]
    assert ids == sorted(set(ids))
    assert ids[0] >= 1 and ids[-1] <= 1203
    assert len({row["lvis_name"] for row in table}) == len(table)


def test_table_size_by_frequency_group(table):
    groups = Counter(row["frequency"] for row in table)
    assert set(groups) == {"r", "c", "f"}
    assert 230 <= len(table) <= 290
    assert groups["r"] >= 30 and groups["c"] >= 90 and groups["f"] >= 100


@pytest.mark.parametrize(
    ("name", "category_id", "frequency", "synset"),  # as in LVIS v1's annotation file
    [
        ("apple", 12, "f", "apple.n.01"),
        ("koala", 619, "r", "koala.n.01"),
        ("ladybug", 623, "c", "ladybug.n.01"),
        ("mouse_(computer_equipment)", 705, "f", "mouse.n.04"),
    ],
)
def test_lvis_facts(name, category_id, frequency, synset):
    category = {c["name"]: c for c in table_categories()}[name]
    assert (category["id"], category["frequency"], category["synset"]) == (
        category_id, frequency, synset,
    )  # fmt: skip


@pytest.mark.parametrize("style", STYLES)
def test_no_two_categories_share_an_icon(table, style):
    icons = Counter(row[style] for row in table if row[style])
    assert [icon for icon, n in icons.items() if n > 1] == []


@pytest.mark.parametrize("style", STYLES)
def test_no_two_categories_share_a_picture(style):
    digests = Counter(
        hashlib.sha256(rgba.tobytes()).hexdigest() for rgba in load_sprites([style]).values()
    )
    assert max(digests.values()) == 1


def test_every_category_is_drawn_held_out_and_in_training():
    for category in table_categories():
        styles = styles_of(category["id"])
        assert set(HELD_OUT) <= set(styles), category["name"]
        assert len(set(TRAIN_STYLES) & set(styles)) >= 3, category["name"]


def test_categories_have_lvis_keys_and_synonyms():
    for category in table_categories():
        assert set(category) == {"id", "name", "synset", "synonyms", "def", "frequency"}
        assert re.fullmatch(r".+\.n\.\d\d", category["synset"]), category
        assert all(category["synonyms"])


def test_definitions_are_short_and_do_not_name_the_category(table):
    for row in table:
        words = row["definition"].split()
        assert 5 <= len(words) <= 12, row["lvis_name"]
        assert row["definition"] == row["definition"].lower()
        name = row["lvis_name"].split("_(")[0].replace("_", " ").lower()
        assert not re.search(rf"\b{re.escape(name)}\b", row["definition"]), row["lvis_name"]
    assert len({row["definition"] for row in table}) == len(table)


def test_a_computer_mouse_is_not_an_animal(table):
    row = next(r for r in table if r["lvis_name"] == "mouse_(computer_equipment)")
    assert {row[s] for s in STYLES} == {"computer-mouse", "onebuttonmouse"}


@pytest.mark.parametrize("style", STYLES)
def test_archive_holds_the_tables_pictures_stored_and_undated(table, style):
    with zipfile.ZipFile(ASSETS / "sprites" / f"{style}.zip") as archive:
        infos = archive.infolist()
    assert [i.filename for i in infos] == sorted(f"{r['id']}.webp" for r in table if r[style])
    assert {i.compress_type for i in infos} == {zipfile.ZIP_STORED}
    assert {i.date_time for i in infos} == {(1980, 1, 1, 0, 0, 0)}


def test_archives_are_small():
    assert sum(p.stat().st_size for p in (ASSETS / "sprites").glob("*.zip")) < 7e6


@pytest.mark.parametrize("style", STYLES)
def test_sprites_are_rgba_cropped_to_their_alpha(style):
    loaded = load_sprites([style])
    assert {i for i, _ in loaded} == {
        c["id"] for c in table_categories() if style in styles_of(c["id"])
    }
    for key, rgba in loaded.items():
        assert rgba.dtype == np.uint8 and rgba.ndim == 3 and rgba.shape[2] == 4
        assert max(rgba.shape[:2]) in (95, 96), key  # the step of a scale may leap over 96
        alpha = rgba[..., 3]
        for edge in (alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]):
            assert edge.any(), key
        assert (alpha == 255).mean() > 0.02, key
        assert not rgba[alpha == 0].any(), key
        assert (alpha >= 128).mean() > 0.08, key


@pytest.mark.parametrize("styles", [TRAIN_STYLES, MINIVAL_STYLES, VAL_STYLES, ("twemoji",)])
def test_only_the_archives_asked_for_are_opened(opened_archives, styles):
    load_sprites(styles, [12])
    assert opened_archives() == {f"{style}.zip" for style in styles}


def test_the_table_opens_no_archive(opened_archives):
    sprites._table.cache_clear()
    sprites._styles_by_id.cache_clear()
    table_categories()
    preset_categories("demo")
    styles_of(12)
    assert opened_archives() == set()


def test_a_style_that_does_not_draw_a_category_is_left_out():
    category = next(c for c in table_categories() if "fxemoji" not in styles_of(c["id"]))
    loaded = load_sprites(["fxemoji", "noto"], [category["id"]])
    assert list(loaded) == [(category["id"], "noto")]


def test_order_is_by_style_and_then_by_id():
    ids = [c["id"] for c in table_categories()][:3]
    keys = list(load_sprites(["noto", "twemoji"], reversed(ids)))
    assert keys == [(i, s) for s in ("noto", "twemoji") for i in ids]


def test_demo_preset_follows_its_rule(table):
    expected = []
    for group in "rcf":
        by_hash = sorted(
            (r for r in table if r["frequency"] == group),
            key=lambda r: hashlib.sha256(r["lvis_name"].encode()).hexdigest(),
        )
        full = [r for r in by_hash if all(r[s] for s in STYLES)]
        rest = [r for r in by_hash if r not in full and all(r[s] for s in HELD_OUT)]
        rest.sort(key=lambda r: sum(bool(r[s]) for s in TRAIN_STYLES), reverse=True)
        expected += (full + rest)[:10]
    demo = preset_categories("demo")
    assert [c["id"] for c in demo] == sorted(int(r["id"]) for r in expected)
    assert Counter(c["frequency"] for c in demo) == {"r": 10, "c": 10, "f": 10}


def test_demo_preset_fills_a_small_group_with_the_most_drawn(monkeypatch):
    facts = [{"id": i, "name": f"n{i}", "frequency": "r"} for i in range(1, 14)]
    drawn = {i: STYLES if i <= 8 else STYLES[i - 8 :] for i in range(1, 14)}
    drawn[9] = ("twemoji", "noto")  # no minival picture: never a filler
    monkeypatch.setattr(sprites, "table_categories", lambda: facts)
    monkeypatch.setattr(sprites, "styles_of", drawn.__getitem__)
    assert [c["id"] for c in preset_categories("demo")] == [1, 2, 3, 4, 5, 6, 7, 8, 10, 11]


def test_preset_all_is_the_table():
    assert preset_categories("all") == table_categories()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: preset_categories("big"), "unknown preset 'big', expected one of all, demo"),
        (lambda: styles_of(99999), "category id 99999 is not one of the"),
        (lambda: load_sprites(["noto", "openmoji"]), "unknown style 'openmoji', expected one of"),
        (lambda: load_sprites("noto"), "expected a sequence"),
        (lambda: load_sprites(["noto"], [0]), "category id 0 is not one of the"),
    ],
)
def test_bad_input_names_the_value(call, message):
    with pytest.raises(InputError, match=re.escape(message)):
        call()


def test_an_archive_without_a_picture_says_which(tmp_path, monkeypatch):
    (tmp_path / "sprites").mkdir()
    with zipfile.ZipFile(tmp_path / "sprites" / "noto.zip", "w"):
        pass
    monkeypatch.setattr(sprites, "ASSETS", tmp_path)
    with pytest.raises(InputError, match="noto.zip has no picture of category 12"):
        load_sprites(["noto"], [12])


def test_notices_name_every_style_and_its_licence():
    notice = (ASSETS / "NOTICE.md").read_text(encoding="utf-8")
    for style in STYLES:
        assert f"| {style} |" in notice
    for link in re.findall(r"\]\((licences/[^)]+)\)", notice):
        assert (ASSETS / link).stat().st_size > 500
