from __future__ import annotations

import numpy as np
import pytest

from mf_plugin.errors import InputError
from mf_plugin.mosaic.layout import (
    MosaicLayout,
    Region,
    blending_weights,
    check_layout,
    draw_layout,
    gaussian_weights,
)


def draw(seed=0, **changes):
    options = dict(regions=4, canvas=(768, 1024), jitter=0.375, overlap=(48, 64), multiple=8)
    if "region_size" in changes:
        del options["canvas"]
    return draw_layout(np.random.default_rng(seed), **{**options, **changes})


def test_the_papers_canvas_without_jitter():
    layout = draw(jitter=0.5)
    assert layout == MosaicLayout(
        768,
        1024,
        (
            Region(0, 0, 408, 544),
            Region(0, 480, 408, 544),
            Region(360, 0, 408, 544),
            Region(360, 480, 408, 544),
        ),
    )
    assert layout.to_latent(8).regions[3] == Region(45, 60, 51, 68)


def test_centre_is_floored_to_the_multiple():
    # Half of 48 is 24, floored to 16.
    layout = draw(canvas=(48, 48), jitter=0.5, overlap=(0, 0), multiple=16)
    assert layout.regions == (
        Region(0, 0, 16, 16),
        Region(0, 16, 16, 32),
        Region(16, 0, 32, 16),
        Region(16, 16, 32, 32),
    )


@pytest.mark.parametrize("canvas", [(64, 96), (8, 8)])
def test_one_region_is_the_canvas(canvas):
    for regions in (1, "1x1"):
        assert draw(regions=regions, canvas=canvas).regions == (Region(0, 0, *canvas),)


def test_two_regions_lie_side_by_side_or_stacked():
    options = dict(regions=2, canvas=(64, 64), jitter=0.5, overlap=(16, 32))
    drawn = {draw(seed, **options).regions for seed in range(20)}
    assert drawn == {
        (Region(0, 0, 64, 48), Region(0, 16, 64, 48)),
        (Region(0, 0, 40, 64), Region(24, 0, 40, 64)),
    }


@pytest.mark.parametrize("jitter, low, high", [(0.375, 0.75, 1.25), (0.25, 0.5, 1.5)])
def test_jitter_is_the_papers_sigma(jitter, low, high):
    ratios = []
    for seed in range(300):
        layout = draw(seed, jitter=jitter, overlap=(0, 0))
        check_layout(layout)
        first = layout.regions[0]
        assert first.height % 8 == 0 and first.width % 8 == 0
        ratios += [first.height / 384, first.width / 512]
    assert min(ratios) >= low - 8 / 384 and max(ratios) <= high
    assert min(ratios) < low + 0.02 and max(ratios) > high - 0.03
    assert np.mean(ratios) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(
    "regions, seed, expected",
    [
        (4, 0, [(0, 0, 432, 480), (0, 416, 432, 608), (384, 0, 384, 480), (384, 416, 384, 608)]),
        (4, 1, [(0, 0, 408, 656), (0, 592, 408, 432), (360, 0, 408, 656), (360, 592, 408, 432)]),
        (2, 0, [(0, 0, 768, 480), (0, 416, 768, 608)]),
        (2, 2, [(0, 0, 368, 1024), (320, 0, 448, 1024)]),
        ("2x1", 0, [(0, 0, 432, 1024), (384, 0, 384, 1024)]),
    ],
)
def test_what_a_seed_draws(regions, seed, expected):
    assert draw(seed, regions=regions).regions == tuple(Region(*region) for region in expected)


def test_four_is_two_by_two():
    assert draw(7, regions="2x2") == draw(7, regions=4)


@pytest.mark.parametrize(
    "regions, sizes",
    [
        (1, {(384, 512)}),
        (2, {(384, 1024), (768, 512)}),
        (4, {(768, 1024)}),
        ("2x3", {(768, 1536)}),
        ("3x1", {(1152, 512)}),
    ],
)
def test_the_canvas_follows_from_the_mean_region(regions, sizes):
    drawn = [draw(seed, regions=regions, region_size=(384, 512)) for seed in range(20)]
    assert {(layout.height, layout.width) for layout in drawn} == sizes


def test_a_grid_without_jitter():
    # Lines between rows at 32; between columns at 64 / 3 = 21.3 and 42.7, floored to 20 and 40.
    layout = draw(regions="2x3", canvas=(64, 64), jitter=0.5, overlap=(16, 8), multiple=4)
    assert layout.regions == (
        Region(0, 0, 40, 24),
        Region(0, 16, 40, 28),
        Region(0, 36, 40, 28),
        Region(24, 0, 40, 24),
        Region(24, 16, 40, 28),
        Region(24, 36, 40, 28),
    )


def test_a_line_on_a_multiple_is_not_floored_by_rounding():
    # 3 x 64 / 6 is 32, 3 x (64 / 6) may be less.
    layout = draw(regions="6x1", canvas=(64, 8), jitter=0.5, overlap=(0, 0), multiple=8)
    assert [region.top for region in layout.regions] == [0, 8, 16, 32, 40, 48]


@pytest.mark.parametrize("jitter", [0.375, 0.45])
def test_lines_of_a_grid_are_spread_around_their_places(jitter):
    """Row lines at 96 k +- (1 - 2 jitter) 96, column lines at 160 k, all floored to 8."""
    ratios = {(axis, k): [] for axis, parts in ((0, 4), (1, 3)) for k in range(1, parts)}
    for seed in range(300):
        layout = draw(seed, regions="4x3", region_size=(96, 160), jitter=jitter, overlap=(16, 32))
        check_layout(layout)
        layout.to_latent(8)
        tops = sorted({region.top for region in layout.regions})[1:]
        lefts = sorted({region.left for region in layout.regions})[1:]
        for k in (1, 2, 3):
            ratios[0, k].append((tops[k - 1] + 8) / 96)
        for k in (1, 2):
            ratios[1, k].append((lefts[k - 1] + 16) / 160)
        assert tops[1] >= layout.regions[0].height  # the third row does not meet the first
    spread = 1 - 2 * jitter
    for (axis, k), drawn in ratios.items():
        step = 8 / (96, 160)[axis]
        assert k - spread - step <= min(drawn) < k - spread + 0.03
        assert k + spread - step - 0.03 < max(drawn) <= k + spread
        assert np.mean(drawn) == pytest.approx(k - step / 2, abs=0.03)


def test_same_seed_same_layout():
    assert draw(5) == draw(5) != draw(6)


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(regions=3), "regions has 3; expected 1, 2, 4 or rows x columns such as '2x3'"),
        (dict(regions=True), "regions has True; expected 1, 2, 4"),
        (dict(regions="2by3"), "regions has '2by3'; expected"),
        (dict(regions="0x3"), "regions has '0x3'; expected"),
        (dict(regions="2x3x4"), "regions has '2x3x4'; expected"),
        (dict(canvas=None), "canvas is None and region_size is None; expected one of them"),
        (
            dict(canvas=(768, 1024), region_size=(384, 512)),
            r"canvas is \(768, 1024\) and region_size is \(384, 512\); expected one of them",
        ),
        (dict(region_size=(384, 508)), "region_size width is 508; expected a multiple of 8"),
        (dict(region_size=(-8, 8)), "region_size height is -8; expected a positive multiple of 8"),
        (dict(canvas=(770, 1024)), "canvas height is 770; expected a multiple of 8"),
        (dict(canvas=(768, 1020)), "canvas width is 1020; expected a multiple of 8"),
        (dict(overlap=(40, 64)), "overlap in height is 40; expected a multiple of 16"),
        (dict(overlap=(48, -16)), "overlap in width is -16; expected a multiple of 16"),
        (dict(jitter=0.6), "jitter is 0.6; expected more than 0 and at most 0.5"),
        (dict(canvas=(0, 64), regions=1), "canvas height is 0; expected a positive multiple"),
        (dict(canvas=(64, 64), overlap=(0, 64)), "expected at least 32 for overlap 64"),
        # "2" may be drawn side by side or stacked: both are checked, whichever it would be
        (dict(regions=2, canvas=(768, 64), overlap=(0, 64)), "canvas width is 64: with jitter"),
        (dict(regions=2, canvas=(64, 768), overlap=(64, 0)), "canvas height is 64: with jitter"),
        # lines of three parts of 64 px stay (4 x 0.375 - 1) 64 = 32 apart
        (
            dict(regions="3x1", region_size=(64, 64), overlap=(48, 0)),
            "two lines between its 3 parts may lie 32 apart; expected at least 48 for overlap 48",
        ),
        (
            dict(regions="1x3", region_size=(64, 64), overlap=(0, 0), jitter=0.25),
            "two lines between its 3 parts may lie 0 apart; expected at least 8",
        ),
    ],
)
def test_bad_numbers_are_named(changes, message):
    with pytest.raises(InputError, match=message):
        draw(**changes)


def test_lines_may_come_as_near_as_the_overlap():
    draw(regions="3x1", region_size=(64, 64), overlap=(32, 0))


def test_to_latent_names_what_is_no_multiple():
    layout = MosaicLayout(16, 16, (Region(0, 0, 16, 12), Region(0, 4, 16, 12)))
    with pytest.raises(InputError, match="region 0 width is 12; expected a multiple of 8"):
        layout.to_latent(8)


def test_json_round_trip():
    layout = draw(3)
    assert MosaicLayout.from_json(layout.to_json()) == layout
    assert MosaicLayout(8, 8, (Region(0, 1, 2, 3),)).to_json() == {
        "height": 8,
        "width": 8,
        "regions": [[0, 1, 2, 3]],
    }
    with pytest.raises(InputError, match="expected height, width and regions"):
        MosaicLayout.from_json({"height": 8, "width": 8, "regions": [[0, 1, 2]]})


@pytest.mark.parametrize(
    "regions, message",
    [
        ((Region(0, 0, 2, 3),), "row 0, column 3 of the canvas lies in no region"),
        ((Region(0, 0, 2, 5),), "expected to lie in the canvas of 2 x 4"),
    ],
)
def test_regions_must_cover_the_canvas(regions, message):
    with pytest.raises(InputError, match=message):
        check_layout(MosaicLayout(2, 4, regions))


def test_gaussian_weights_are_exact():
    # L = 2: offsets -+1/2, exp(-(1/4) / (0.02 * 4)); L = 3: offsets -1, 0, 1, exp(-1 / (0.02 * 9)).
    assert gaussian_weights(1) == pytest.approx([1])
    assert gaussian_weights(2) == pytest.approx([np.exp(-3.125)] * 2)
    assert gaussian_weights(3) == pytest.approx([np.exp(-1 / 0.18), 1, np.exp(-1 / 0.18)])


def test_blending_weights_add_up_and_are_one_where_a_region_is_alone():
    layout = MosaicLayout(1, 4, (Region(0, 0, 1, 3), Region(0, 2, 1, 2)))
    first, second = blending_weights(layout)
    a, b = np.exp(-1 / 0.18), np.exp(-3.125)
    assert first == pytest.approx(np.array([[1, 1, a / (a + b)]]))
    assert second == pytest.approx(np.array([[b / (a + b), 1]]))
