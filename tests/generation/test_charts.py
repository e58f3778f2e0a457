"""Charts are exact, carry their numbers, and believe no label."""

from __future__ import annotations

import re

import pytest

from mf_plugin.generation.charts import draw_grid, draw_histogram


def bars(svg: str) -> list[tuple[str, float]]:
    found = re.findall(r'<rect class="([a-z ]+)"[^>]* height="([\d.]+)">', svg)
    return [(kind, float(height)) for kind, height in found]


def test_bars_are_in_proportion_and_the_low_ones_are_marked():
    svg = draw_histogram([0, 1, 4, 1000], "areas", low_below=0.5)
    assert bars(svg) == [("bar low", 0.0), ("bar low", 1.0), ("bar", 1.0), ("bar", 96.0)]
    assert re.findall(r"<title>(.*?)</title>", svg) == [
        "0.00 to 0.25: 0",
        "0.25 to 0.50: 1",
        "0.50 to 0.75: 4",
        "0.75 to 1.00: 1,000",
    ]
    assert 'aria-label="Histogram: areas"' in svg and ">1,000</text>" in svg


def test_the_fullest_cell_is_the_darkest():
    svg = draw_grid([[0, 1], [2, 4]], "centres")
    assert re.findall(r'fill-opacity="([\d.]+)"', svg) == ["0.040", "0.280", "0.520", "1.000"]
    assert "<title>row 2, column 1: 2</title>" in svg


@pytest.mark.parametrize("draw, values", [(draw_histogram, [0, 0]), (draw_grid, [[0]])])
def test_nothing_counted_and_a_label_with_markup(draw, values):
    svg = draw(values, '"><script>')
    assert "<script>" not in svg and "&lt;script&gt;" in svg and "NaN" not in svg
