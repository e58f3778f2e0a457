from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mf_plugin.errors import InputError
from mf_plugin.evaluation.report import add_to_report, format_table, render_html, write_report

TOOL = Path(__file__).parents[2] / "tools" / "eval_rare.py"


def metrics(**values):
    names = ("AP", "AP50", "AP75", "APs", "APm", "APl", "APr", "APc", "APf")
    return dict.fromkeys(names) | values


@pytest.fixture
def report():
    base, ours = metrics(AP=20.04, APr=9.6, APf=31.0), metrics(AP=22.0, APr=14.25, APf=30.5)
    delta = metrics(AP=1.96, APr=4.65, APf=-0.5)
    interval = metrics(AP=[0.5, 3.5], APr=[2.0, 7.0], APf=[-1.0, 0.01])
    return {
        "runs": {"real": {"segm": base, "bbox": base}, "<ours>": {"segm": ours, "bbox": ours}},
        "std": {n: {"segm": metrics(), "bbox": metrics()} for n in ("real", "<ours>")},
        "seeds": {"real": 1, "<ours>": 1},
        "delta": {"<ours>": {"segm": delta, "bbox": delta}},
        "interval": {"<ours>": {"segm": interval, "bbox": interval}},
        "baseline": "real",
        "per_category": {
            "real": {"segm": {"1": 3.0, "2": None, "3": 50.0}, "bbox": {"1": 3.0}},
            "<ours>": {"segm": {"1": 8.0, "2": None, "3": 49.0}, "bbox": {"1": 8.0}},
        },
        "categories": [
            {"id": 1, "name": "bow_(weapon)", "frequency": "r"},
            {"id": 2, "name": "clarinet", "frequency": "r"},
            {"id": 3, "name": "taxi", "frequency": "f"},
        ],
        "ground_truth": {"file": "val.json", "images": 2, "objects": 5, "groups": "frequency"},
        "bootstrap": {"draws": 100, "seed": 0, "confidence": 0.95},
    }


def test_plain_table(report):
    lines = format_table(report).splitlines()
    assert lines[0].split() == ["run", "AP", "APr", "APc", "APf"]
    assert lines[2].split() == ["mask", "real", "20.0", "9.6", "n/a", "31.0"]
    delta = "<ours> − real +2.0 [+0.5, +3.5] +4.7 [+2.0, +7.0] n/a −0.5 [−1.0, 0.0]"
    assert " ".join(lines[4].split()) == delta
    assert lines[6].split()[0] == "box"
    assert all(len(line) == len(line.rstrip()) for line in lines)


def test_files(report, tmp_path):
    paths = write_report(
        report, tmp_path / "new" / "report", commands=["make demo"], notes=["a note"]
    )
    assert sorted(p.name for p in paths["json"].parent.iterdir()) == [
        "report.html",
        "report.json",
        "report.md",
    ]
    loaded = json.loads(paths["json"].read_text())
    assert loaded["runs"] == report["runs"] and loaded["runs"]["real"]["segm"]["APc"] is None
    assert loaded["delta"]["<ours>"]["segm"]["APr"] == 4.65
    markdown = paths["md"].read_text()
    assert "| mask | real | 20.0 | 9.6 | n/a | 31.0 |" in markdown and "make demo" in markdown
    assert "- a note" in markdown


def test_page_is_self_contained_and_escaped(report):
    page = render_html({**report, "commands": ["tools/x.py --run '<b>'"], "title": "T & T"})
    assert "<ours>" not in page and "&lt;ours&gt;" in page and "T &amp; T" in page
    assert "<script" not in page and "http" not in page and "<img" not in page
    # bars and intervals, of boxes and masks; one rare category has a gain
    assert page.count("<svg") == 2 + 2 + 1 and page.count("<rect") == 2 * 2 * 4 + 1
    assert page.count("<circle") == 2 * 3, "APc has no difference"
    assert "bow (weapon)" in page and "clarinet" not in page  # no ground truth, no row
    assert "taxi" not in page


def test_training_instances_stand_beside_the_gain(report):
    assert "real instances" not in render_html(report)
    report["instances"] = {
        "real": {"1": 1234, "2": 8, "3": 999},
        "synthetic": {"<ours>": {"1": 25, "2": 26, "3": 0}},
    }
    page = render_html(report)
    assert page.count(">1,234<") == 2 and page.count(">25<") == 2, "in the plot and the table"
    assert ">26<" not in page and ">999<" not in page


def test_fixed_ap_is_on_the_page(report):
    assert "fixed AP" not in render_html(report)
    fixed = {n: {t: {"AP": 61.23, "APr": None} for t in ("segm", "bbox")} for n in report["runs"]}
    page = render_html({**report, "fixed": {"runs": fixed}})
    assert "fixed AP" in page and page.count("<td>61.2</td><td>n/a</td>") == 4


def test_one_run_boxes_only(report):
    for key in ("runs", "std", "per_category"):
        report[key] = {"real": report[key]["real"]}
    report["runs"]["real"]["segm"] = metrics()
    report["delta"] = report["interval"] = {}
    page = render_html(report)
    assert page.count("<svg") == 1
    assert "n/a" in format_table(report)


def test_add_to_report(report, tmp_path):
    path = write_report(report, tmp_path)["json"]
    add_to_report(path, seconds={"train": 3.5})
    loaded = json.loads(path.read_text())
    assert loaded["seconds"] == {"train": 3.5} and loaded["runs"] == report["runs"]
    path.write_text("{")
    with pytest.raises(InputError, match="report.json"):
        add_to_report(path, seconds={})
    assert path.read_text() == "{"


def run_tool(*arguments):
    return subprocess.run(
        [sys.executable, str(TOOL), *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=TOOL.parents[1],
    )


def test_tool(lvis, tmp_path):
    pytest.importorskip("hotcoco")
    truth = lvis.random_truth()
    (tmp_path / "gt.json").write_text(json.dumps(truth))
    for name, hit in (("a", 0.4), ("b", 0.8)):
        results = lvis.random_results(truth, hit=hit)
        (tmp_path / f"{name}.segm.json").write_text(json.dumps(results))
    runs = [f"--run=base={tmp_path}/a.segm.json", f"--run=better={tmp_path}/b.segm.json"]
    out = tmp_path / "out"
    (tmp_path / "synthetic").mkdir()
    (tmp_path / "synthetic/annotations.json").write_text(json.dumps(truth))
    given = ["--gt", tmp_path / "gt.json", "--out", out, "--bootstrap", 20]
    data = ["--train", tmp_path / "gt.json", "--synthetic", f"better={tmp_path}/synthetic"]
    done = run_tool(*given, *runs, *data)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(out / "report.html")
    report = json.loads((out / "report.json").read_text())
    runs_of = {n: report["runs"][n]["segm"]["APr"] for n in ("base", "better")}
    assert report["delta"]["better"]["segm"]["APr"] == runs_of["better"] - runs_of["base"]

    of_one = sum(a["category_id"] == 1 for a in truth["annotations"])
    assert report["instances"]["real"]["1"] == of_one > 0
    assert report["instances"]["synthetic"] == {"better": report["instances"]["real"]}
    done = run_tool(*given, *runs, "--synthetic", f"other={tmp_path}/synthetic")
    assert done.returncode == 2 and "other: expected a run's name: base, better" in done.stderr

    broken = tmp_path / "broken.json"
    broken.write_text('[{"image_id"')
    done = run_tool("--gt", tmp_path / "gt.json", f"--run=base={broken}", "--out", tmp_path / "no")
    assert done.returncode == 2 and not (tmp_path / "no").exists()
    error = done.stderr.strip().splitlines()[-1]
    assert error.startswith("error: ") and "broken.json" in error
    done = run_tool("--gt", tmp_path / "gt.json", "--run", "only-a-path.json")
    assert done.returncode == 2 and "'only-a-path.json', expected NAME=RESULTS.json" in done.stderr
