"""The tool prints the report, writes it, and refuses what is no dataset and no judge."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from mf_plugin.generation.records import CanvasResult, ObjectResult, encode_canvas
from mf_plugin.generation.store import DatasetStore

TOOL = Path(__file__).parents[2] / "tools/quality_report.py"


@pytest.fixture
def folder(tmp_path) -> Path:
    mask = np.zeros((16, 16), bool)
    mask[4:12, 4:12] = True
    objects = (
        ObjectResult(5, "a cat", mask, measures={"stability": 0.5}),
        ObjectResult(5, "a cat", None, "too_small"),
    )
    prompts = [{"category_id": 5, "text": "a cat"}] * 2
    image = np.zeros((16, 16, 3), np.uint8)
    canvas = CanvasResult({"index": 0, "prompts": prompts}, image, objects)
    store = DatasetStore(
        tmp_path / "set",
        identity={"config_hash": "1"},
        environment={"device": "cpu", "versions": {}},
        categories=[{"id": 5, "name": "cat"}],
    )
    with store:
        store.add(0, [encode_canvas(canvas, 95)])
        return store.finalise(1, {})


@pytest.fixture
def call(monkeypatch, capsys):
    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [str(TOOL), *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(str(TOOL), run_name="__main__")
        return stop.value.code, *capsys.readouterr()

    return run


def test_the_report_is_printed_and_written(folder, call):
    dataset = json.loads((folder / "dataset.json").read_text())
    report = dataset.pop("quality")
    (folder / "dataset.json").write_text(json.dumps(dataset))
    code, out, _ = call("--dataset", folder)
    assert code == 0
    assert out.splitlines() == [
        "accepted 1 of 2 objects (50.0 %)",
        "   50.0 %  too_small",
        "mask stability 0.500; 100.0 % under 0.8",
        str(folder / "gallery.html"),
    ]
    assert json.loads((folder / "dataset.json").read_text())["quality"] == report


def test_no_such_judge_and_no_dataset(folder, call, tmp_path):
    code, _, err = call("--dataset", folder, "--judge", "oracle")
    assert code == 2 and "error: judge 'oracle'; expected minilvis:FOLDER or clip:MODEL" in err
    code, _, err = call("--dataset", tmp_path / "none")
    assert code == 2 and "none has no dataset.json" in err
