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
    options = dict(num_regions=4, canvas=(768, 1024), jitter=0.375, overlap=(48, 64), multiple=8)
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
    assert draw(num_regions=1, canvas=canvas).regions == (Region(0, 0, *canvas),)


def test_two_regions_lie_side_by_side_or_stacked():
    options = dict(num_regions=2, canvas=(64, 64), jitter=0.5, overlap=(16, 32))
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


def test_same_seed_same_layout():
    assert draw(5) == draw(5) != draw(6)


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(num_regions=3), "num_regions is 3; expected 1, 2 or 4"),
        (dict(canvas=(770, 1024)), "canvas height is 770; expected a multiple of 8"),
        (dict(canvas=(768, 1020)), "canvas width is 1020; expected a multiple of 8"),
        (dict(overlap=(40, 64)), "overlap in height is 40; expected a multiple of 16"),
        (dict(overlap=(48, -16)), "overlap in width is -16; expected a multiple of 16"),
        (dict(jitter=0.6), "jitter is 0.6; expected more than 0 and at most 0.5"),
        (dict(canvas=(0, 64), num_regions=1), "canvas height is 0; expected a positive multiple"),
        (dict(canvas=(64, 64), overlap=(0, 64)), "expected at least 32 for overlap 64"),
    ],
)
def test_bad_numbers_are_named(changes, message):
    with pytest.raises(InputError, match=message):
        draw(**changes)


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
