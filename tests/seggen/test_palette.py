from __future__ import annotations

import dataclasses
import itertools
import json
import math

import numpy as np
import pytest

from mf_plugin.errors import InputError
from mf_plugin.seggen.palette import MIN_DISTANCE, Palette, make_palette


def least_distance(palette):
    colors = palette.all_colors.astype(float).tolist()
    return min(math.dist(a, b) for a, b in itertools.combinations(colors, 2))


@pytest.mark.parametrize("count, expected", [(1, 255), (3, 255), (30, 105.8), (133, 62.4)])
def test_colors_keep_the_distance_they_say(count, expected):
    palette = make_palette(range(1, count + 1))
    assert palette.min_distance == pytest.approx(least_distance(palette))
    assert palette.min_distance == pytest.approx(expected, abs=0.1)
    assert palette.min_distance >= MIN_DISTANCE
    to_border = np.linalg.norm(palette.colors.astype(float) - palette.border, axis=1).min()
    assert to_border > 1.4 * palette.min_distance  # borders come out pale


def test_depends_on_the_set_of_ids_alone():
    palette = make_palette([7, 3, 1200])
    assert palette.ids == (3, 7, 1200)
    assert palette == make_palette([1200, 7, 3])
    assert hash(palette) == hash(make_palette([1200, 7, 3]))
    assert palette != make_palette([3, 7, 1201])
    assert (palette.background, palette.border) == ((0, 0, 0), (255, 255, 255))
    assert palette.color(7) == tuple(palette.colors[1])


def test_a_part_of_a_palette_keeps_its_colours():
    palette = make_palette([3, 7, 20, 1200])
    rendered = palette.all_colors // 2
    part = dataclasses.replace(palette, rendered=rendered).only([1200, 7, 7])
    assert part.ids == (7, 1200) and part.color(7) == palette.color(7)
    assert part.rendered.tolist() == rendered[[1, 3, 4, 5]].tolist()
    assert (part.background, part.border) == (palette.background, palette.border)
    assert palette.only([3]).rendered is None
    with pytest.raises(InputError, match="category id 4 has no colour: the palette has 4 ids"):
        palette.only([3, 4])
    with pytest.raises(InputError, match="no category ids: expected at least one of the"):
        palette.only([])


def test_more_categories_than_the_distance_holds(caplog):
    with pytest.raises(InputError, match=r"240 categories leave .*holds up to 141 categories"):
        make_palette(range(240))
    make_palette(range(141))
    assert not caplog.records
    palette = make_palette(range(240), min_distance=50)
    assert 50 <= palette.min_distance == pytest.approx(least_distance(palette))
    assert "240 categories: colours are 50" in caplog.text
    with pytest.raises(InputError, match="expected fewer than"):
        make_palette(range(10_000), min_distance=0)


@pytest.mark.parametrize(
    "ids, message", [([], "no category ids"), ([4, 9, 4], "category id 4 appears twice")]
)
def test_bad_ids(ids, message):
    with pytest.raises(InputError, match=message):
        make_palette(ids)


def test_an_unknown_category_has_no_color():
    with pytest.raises(InputError, match="category id 9 has no colour: the palette has 2 ids"):
        make_palette([1, 2]).color(9)


def test_goes_through_json():
    palette = make_palette([2, 5, 11])
    again = Palette.from_json(json.loads(json.dumps(palette.to_json())))
    assert again == palette
    assert again.min_distance == palette.min_distance
    assert again.colors.dtype == np.uint8


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"ids": None}, "expected ids, colors"),
        ({"ids": [5, 2, 11]}, "expected increasing category ids"),
        ({"ids": [2, 5]}, "palette of 2 ids with 3 colours: expected one red, green, blue"),
        ({"ids": [2, 5, 10**30]}, "expected increasing category ids"),
        ({"ids": [2, 5, float("inf")]}, "expected increasing category ids"),
        ({"ids": ["2", 5, 11]}, "expected increasing category ids"),
        ({"ids": list(range(5000))}, "palette of 5000 ids: expected 4911 at most"),
        ({"background": [0, 0, 10**30]}, r"with the colour \[0, 0, 1000.*of 0 to 255"),
        ({"background": [0, 0, 0.5]}, r"with the colour \[0, 0, 0.5\]"),
        ({"background": [0, 0]}, r"with the colour \[0, 0\]"),
        ({"border": float("inf")}, "with the colour inf"),
        ({"min_distance": float("nan")}, "min_distance is nan: expected 0 or more"),
        ({"min_distance": -1}, "min_distance is -1: expected 0 or more"),
        ({"border": [0, 0, 0]}, "0.0 apart: expected at least 255.0"),
        ({"border": [0, 0, 300]}, "of 0 to 255"),
        ({"min_distance": 300}, "255.0 apart: expected at least 300.0"),
    ],
)
def test_bad_json(changes, message):
    with pytest.raises(InputError, match=message):
        Palette.from_json({**make_palette([2, 5, 11]).to_json(), **changes})


def test_another_palette_is_one_error_with_the_difference():
    palette = make_palette([1, 2, 3])
    palette.check_same(make_palette([3, 2, 1]))
    with pytest.raises(InputError, match="palette is another one: it has 2 categories"):
        palette.check_same(make_palette([1, 2]))
    data = palette.to_json()
    data["colors"][1], data["colors"][2] = data["colors"][2], data["colors"][1]
    with pytest.raises(InputError, match=r"colour map of x is another one.*category id 2 as"):
        palette.check_same(Palette.from_json(data), "colour map of x")
    data = palette.to_json()
    data["background"], data["border"] = data["border"], data["background"]
    with pytest.raises(InputError, match=r"background \(255, 255, 255\) and border \(0, 0, 0\)"):
        palette.check_same(Palette.from_json(data))
