"""tools/judge_segmenter.py from a real split to the mean IoU of tools/judge_seggen.py."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest

from mf_plugin.lvis.minilvis import build_split

pytest.importorskip("torch")
pytest.importorskip("transformers")
ROOT = Path(__file__).parents[2]

CONFIG = """
from mf_plugin.evaluation.segmenter import SegmenterConfig

config = SegmenterConfig(
    datasets=({folder!r},), side=64, crop=32, scales=(0.8, 1.2), iterations=2, batch_size=2,
    learning_rate=1e-3, weight_decay=0.0, widths=(8, 8, 16, 16), head_width=16, checkpoint_every=1,
)
"""


def test_from_a_split_to_mean_iou(monkeypatch, capsys, tmp_path):
    def call(tool: str, *arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", [tool, *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(str(ROOT / "tools" / tool), run_name="__main__")
        return stop.value.code, "".join(capsys.readouterr())

    dataset = build_split(tmp_path / "val", "val", num_images=8)
    config, work_dir = tmp_path / "config.py", tmp_path / "work"
    config.write_text(CONFIG.format(folder=str(dataset)))
    given = ["train", "--config", config, "--work-dir", work_dir]
    code, printed = call("judge_segmenter.py", *given)
    assert code == 0 and str(work_dir / "model") in printed

    results = tmp_path / "new" / "results.json"
    given = ["predict", "--model", work_dir / "model", "--dataset", dataset, "--out", results]
    assert call("judge_segmenter.py", *given)[0] == 0
    entries = json.loads(results.read_text())
    assert {entry["image_id"] for entry in entries} <= {
        image["id"] for image in json.loads((dataset / "annotations.json").read_text())["images"]
    }

    out = tmp_path / "faithfulness.json"
    given = ["faithfulness", "--dataset", dataset, "--results", results, "--out", out]
    code, printed = call("judge_seggen.py", *given, "--draws", 20)
    assert code == 0 and "in 8 images" in printed
    assert json.loads(out.read_text())["score"] == 0

    given = ["predict", "--model", dataset, "--dataset", dataset, "--out", results]
    code, printed = call("judge_segmenter.py", *given)
    assert code == 2 and "segmenter.json: no such file" in printed
