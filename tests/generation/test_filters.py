"""One plausible component remains, or the reason has a name."""

from __future__ import annotations

import numpy as np
import pytest

from mf_plugin.errors import InputError
from mf_plugin.generation.filters import FilterConfig, blank, filter_mask


def parse(rows: list[str]) -> np.ndarray:
    return np.array([[cell == "#" for cell in row] for row in rows])


# 4 x 5 = 20 pixels; the range is 3 to 10 of them.
CONFIG = FilterConfig(min_area=0.15, max_area=0.5)


@pytest.mark.parametrize(
    "rows, reason, area",
    [
        ([".....", ".....", ".....", "....."], "no_component", 0),
        (["##...", ".....", ".....", "....."], "too_small", 0),
        (["###..", ".....", ".....", "....."], "", 3),
        (["#####", "#####", ".....", "....."], "", 10),
        (["#####", "#####", "#....", "....."], "too_large", 0),
        (["#####", "#####", "#....", "...##"], "too_large", 0),
        (["###..", ".....", "...##", "....."], "", 3),
        (["###..", ".....", ".....", "..###"], "several_components", 6),
        (["#....", ".#...", "..#..", "...#."], "too_small", 0),  # corners do not join: 4-connected
    ],
)
def test_filter_mask(rows, reason, area):
    kept, found = filter_mask(parse(rows), CONFIG)
    assert (found, int(kept.sum())) == (reason, area)


def test_several_components_where_they_are_wanted():
    kept, reason = filter_mask(
        parse(["###..", ".....", "...#.", "..###"]), FilterConfig(0.15, 0.5, components=2)
    )
    assert reason == "" and kept.sum() == 7


@pytest.mark.parametrize("values", [(0.5, 0.5), (-0.1, 0.5), (0.1, 1.1)])
def test_a_range_that_is_none(values):
    with pytest.raises(InputError, match=f"min_area is {values[0]}"):
        FilterConfig(*values)


def test_blank_leaves_one_colour_and_the_rest_untouched():
    image = np.zeros((2, 2, 3), np.uint8)
    image[0] = [[10, 20, 30], [20, 40, 61]]
    area = parse(["##", ".."])
    filled = blank(image, area)
    assert filled[0].tolist() == [[15, 30, 46]] * 2
    assert filled[1].tolist() == image[1].tolist()
    assert image[0, 0].tolist() == [10, 20, 30]
    assert blank(image, np.zeros((2, 2), bool)) is image
