"""Tables from records alone, against compare_runs and by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mf_plugin.benchmark.config import BenchmarkConfig
from mf_plugin.benchmark.measure import measure_run, pack
from mf_plugin.benchmark.plots import draw_gains
from mf_plugin.benchmark.records import read_records, record_name
from mf_plugin.benchmark.report import make_report
from mf_plugin.benchmark.tables import render_markdown
from mf_plugin.errors import InputError

CONFIG = """
from mf_plugin.benchmark.config import *
config = BenchmarkConfig(
    title="Test", preset="demo", detectors=(Detector("d", "D", "c"),), seeds=(1, 2), split="val",
    arms=(Arm("real"), Arm("more", "more data", synthetic="g.py"),
          Arm("best", synthetic="g.py", oracle=True)),
    oracle="best", reduced="tiny.",
    targets=(Target("d", "more", "APr", 60, aim="share", source="the contract"),
             Target("d", "more", "APr", 7, over="real"), Target("d", "best", "AP", 1)),
)
"""
TYPES = ("segm", "bbox")


@pytest.fixture
def config(tmp_path):
    names: dict = {}
    (tmp_path / "config.py").write_text(CONFIG)
    exec(CONFIG, names)
    return names["config"]


def record(arm: str, seed: int, values: dict[str, float], draws: list) -> dict:
    """A record whose mask and box values are the same."""
    return {
        "version": 1, "preset": "demo", "split": "val", "detector": "d", "arm": arm, "seed": seed,
        "metrics": dict.fromkeys(TYPES, values),
        "fixed": {}, "per_category": {}, "categories": {"1": ["cat", "r"]}, "images": 10,
        "bootstrap": {"draws": len(draws[0]), "seed": 0, "values": {t: pack(draws) for t in TYPES}},
    }  # fmt: skip


def write(folder: Path, config: BenchmarkConfig, rows: dict[str, list[float]]) -> None:
    """Records of arms whose APr is given for each seed; draws hold the value itself +- 1."""
    folder.mkdir(exist_ok=True)
    spread = np.tile([-1.0, 1.0], 50)
    for arm, aprs in rows.items():
        for seed, apr in enumerate(aprs, start=1):
            values = {"AP": 30.0, "APr": apr, "APc": None, "APf": 40.0}
            draws = [np.full(100, 30.0), apr + spread, np.full(100, np.nan), np.full(100, 40.0)]
            path = folder / record_name(config, "d", arm, seed)
            path.write_text(json.dumps(record(arm, seed, values, draws)))


def test_numbers_by_hand(config, tmp_path):
    write(tmp_path / "r", config, {"real": [10, 10], "more": [16, 16], "best": [20, 20]})
    rows = make_report(config, read_records(config, tmp_path / "r"))["detectors"]["d"]["segm"]
    assert rows["real"] == {
        "label": "real",
        "seeds": [1, 2],
        "mean": {"AP": 30, "APr": 10, "APc": None, "APf": 40},
        "std": {"AP": 0, "APr": 0, "APc": None, "APf": 0},
    }
    assert rows["more"]["delta"] == {"AP": 0, "APr": 6, "APc": None, "APf": 0}
    # all runs swing together, so that the difference does not
    assert rows["more"]["interval"]["APr"] == pytest.approx([6, 6])
    assert rows["more"]["share"]["APr"] == pytest.approx(0.6)
    assert rows["more"]["share_interval"]["APr"] == pytest.approx([0.6, 0.6])
    assert rows["more"]["share"]["AP"] is None  # the oracle gains nothing there
    assert rows["best"]["delta"]["APr"] == 10 and "share" not in rows["best"]


def test_targets_by_hand(config, tmp_path):
    write(tmp_path / "r", config, {"real": [10, 10], "more": [16, 16]})
    report = make_report(config, read_records(config, tmp_path / "r"))
    assert [t["measured"] for t in report["targets"]] == [None, 6, None]  # no oracle yet
    write(tmp_path / "r", config, {"best": [20, 20]})
    report = make_report(config, read_records(config, tmp_path / "r"))
    share, gain, overall = report["targets"]
    assert (share["measured"], share["over"], share["seeds"]) == (pytest.approx(60), "real", 2)
    assert gain["interval"] == pytest.approx([6, 6])
    assert overall["measured"] == 0
    text = render_markdown(report)
    assert (
        "| d | APr, more − real % of the oracle's gain | at least 60 | 60 [60, 60] | met |" in text
    )
    assert "| d | APr, more − real | at least +7.0 | +6.0 [+6.0, +6.0] | missed |" in text


def test_seeds_widen_the_interval(config, tmp_path):
    write(tmp_path / "r", config, {"real": [10, 10], "more": [12, 20]})
    rows = make_report(config, read_records(config, tmp_path / "r"))["detectors"]["d"]["segm"]
    assert rows["more"]["std"]["APr"] == pytest.approx(np.std([12, 20], ddof=1))
    low, high = rows["more"]["interval"]["APr"]
    assert high - low == pytest.approx(8)  # both draws may take the same seed twice


def test_tables_say_what_is_reduced_missing_and_not_available(config, tmp_path):
    write(tmp_path / "r", config, {"real": [10, 10], "more": [9, 9]})
    text = render_markdown(make_report(config, read_records(config, tmp_path / "r")))
    assert "**Reduced**: tiny." in text
    assert "| more data | 2 | 30.0 ± 0.0 | 9.0 ± 0.0 | n/a | 40.0 ± 0.0 | real |" in text
    assert "| 0.0 [0.0, 0.0] | −1.0 [−1.0, −1.0] | n/a |" in text
    assert "Not run: d best seed 1, d best seed 2." in text


def test_intervals_are_those_of_compare_runs(lvis, config):
    pytest.importorskip("hotcoco")
    from mf_plugin.evaluation.compare import compare_runs

    truth = lvis.random_truth()
    runs = {
        ("real", 1): lvis.random_results(truth, 0, hit=0.4, noise=6),
        ("real", 2): lvis.random_results(truth, 1, hit=0.4, noise=6),
        ("more", 1): lvis.random_results(truth, 2, hit=0.8, noise=2),
    }
    records = {
        ("d", arm, seed): {**measure_run(truth, r, num_draws=200, seed=3), "seed": seed}
        for (arm, seed), r in runs.items()
    }
    expected = compare_runs(
        truth, [(arm, r) for (arm, _), r in runs.items()], num_bootstrap=200, seed=3
    )
    found = make_report(config, records)["detectors"]["d"]
    for iou_type in TYPES:
        for metric in ("AP", "APr", "APc", "APf"):
            row = found[iou_type]["more"]
            wanted = expected["interval"]["more"][iou_type][metric]
            assert row["interval"][metric] == pytest.approx(wanted, abs=0.01)
            wanted = expected["delta"]["more"][iou_type][metric]
            assert row["delta"][metric] == pytest.approx(wanted, abs=1e-4)


def test_records_that_do_not_compare_are_refused(config, tmp_path):
    with pytest.raises(InputError, match="no record of this benchmark; .*demo_val_d_real_seed1"):
        read_records(config, tmp_path)
    write(tmp_path, config, {"real": [10], "more": [16]})
    path = tmp_path / record_name(config, "d", "more", 1)
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "images": 11}))
    with pytest.raises(InputError, match="measured with different images"):
        read_records(config, tmp_path)
    path.write_text(json.dumps({**content, "version": 0}))
    with pytest.raises(InputError, match="version 0, lacks nothing; expected a record"):
        read_records(config, tmp_path)


def test_report_only_needs_records_alone(config, tmp_path):
    write(tmp_path / "records", config, {"real": [10, 10], "more": [16, 16]})
    tool = Path(__file__).parents[2] / "tools/benchmark_minilvis.py"
    arguments = ["--config", tmp_path / "config.py", "--out", tmp_path / "out", "--report-only"]
    arguments += ["--records", tmp_path / "records"]
    done = subprocess.run([sys.executable, tool, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "+6.0 [+6.0, +6.0]" in done.stdout
    content = json.loads((tmp_path / "out/report/report.json").read_text())
    assert content["detectors"]["d"]["segm"]["more"]["delta"]["APr"] == 6
    picture = (tmp_path / "out/report/gains.svg").read_bytes()
    assert picture.startswith(b"<?xml") and picture == draw_gains(content)
