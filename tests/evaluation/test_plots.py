from __future__ import annotations

import pytest

from mf_plugin.evaluation.plots import MOST_ROWS, gain_plot, interval_plot, run_colours


def test_interval_plot_is_to_scale():
    report = {
        "runs": {"a": {}, "b": {}},
        "delta": {"b": {"segm": {"AP": 2.0, "APr": -1.0, "APc": None}}},
        "interval": {"b": {"segm": {"AP": [1.0, 3.0], "APr": [-3.0, 1.0], "APc": None}}},
    }
    plot = interval_plot(report, "segm", ("AP", "APr", "APc"))
    first, second = plot["rows"]
    assert [r["label"] for r in plot["rows"]] == ["AP", "APr"]
    unit = first["x"] - first["low"]  # one point
    assert first["high"] - first["x"] == pytest.approx(unit)
    assert first["x"] - plot["zero"] == pytest.approx(2 * unit)
    assert plot["zero"] - second["x"] == pytest.approx(unit)
    ticks = {t["text"]: (t["x"] - plot["zero"]) / unit for t in plot["ticks"]}
    assert list(ticks) == [*(f"\N{MINUS SIGN}{k}" for k in (3, 2, 1)), "0", "+1", "+2", "+3"]
    assert list(ticks.values()) == pytest.approx(range(-3, 4))
    assert first["colour"] == run_colours(["a", "b"])["b"]
    report["interval"]["b"]["segm"] = dict.fromkeys(("AP", "APr", "APc"))
    assert interval_plot(report, "segm", ("AP", "APr", "APc")) is None


def test_gain_plot_sorts_and_scales():
    rows = [
        {"name": n, "gain": g, "real": 3, "synthetic": []}
        for n, g in (("cup", -2.0), ("bow", 4.0), ("owl", None))
    ]
    bow, owl, cup = gain_plot(rows)["bars"]
    zero = gain_plot(rows)["zero"]
    assert (bow["name"], owl["name"], cup["name"]) == ("bow", "owl", "cup")
    assert bow["x"] == zero == pytest.approx(cup["x"] + cup["width"])
    assert bow["width"] == pytest.approx(2 * cup["width"]) and owl["width"] == 0
    assert bow["good"] and not cup["good"]


def test_a_long_gain_plot_keeps_its_ends():
    rows = [{"name": str(i), "gain": float(-i), "real": 1, "synthetic": []} for i in range(100)]
    plot = gain_plot(rows)
    names = [bar["name"] for bar in plot["bars"]]
    assert len(names) == MOST_ROWS and plot["left_out"] == 100 - MOST_ROWS
    assert names == [str(i) for i in (*range(30), *range(70, 100))]
