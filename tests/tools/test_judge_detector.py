"""tools/judge_detector.py from the data to the table, and the config that trains the judge."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest
from pycocotools import mask as mask_api

from mf_plugin.lvis.io import read_lvis

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools/judge_detector.py"
CONFIG = ROOT / "configs/mmdet/judge_mask-rcnn_r18_fpn_minilvis-demo.py"


@pytest.fixture
def call(monkeypatch, capsys):
    def run(*arguments: object) -> tuple[int, list[str], str]:
        monkeypatch.setattr(sys, "argv", [str(TOOL), *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(str(TOOL), run_name="__main__")
        out, err = capsys.readouterr()
        return stop.value.code, out.splitlines(), err

    return run


def write_results(path: Path, dataset: Path) -> Path:
    """What a judge without a fault sees."""
    data = read_lvis(dataset / "annotations.json")
    sizes = {i["id"]: (i["height"], i["width"]) for i in data["images"]}
    results = []
    for a in data["annotations"]:
        rle = mask_api.merge(mask_api.frPyObjects(a["segmentation"], *sizes[a["image_id"]]))
        mask = {"size": list(rle["size"]), "counts": rle["counts"].decode()}
        keys = ("image_id", "category_id", "bbox")
        results.append({**{k: a[k] for k in keys}, "segmentation": mask, "score": 0.8})
    path.write_text(json.dumps(results))
    return path


def test_from_data_to_table_and_controls(call, tmp_path):
    data = tmp_path / "data"
    code, out, _ = call("data", "--out", data, "--num-images", 2, "--num-calibration", 3)
    assert (code, out) == (0, [str(data / "train"), str(data / "calibration")])
    dataset = data / "calibration"
    count = len(read_lvis(dataset / "annotations.json")["annotations"])
    results = write_results(tmp_path / "results.json", dataset)
    calibration = tmp_path / "new/calibration.json"
    given = ("--dataset", dataset, "--results", results)
    code, out, _ = call("calibrate", *given, "--out", calibration)
    assert code == 0
    assert out[0] == f"score 0.05: F1 100.0, recall 100.0, precision 100.0 of {count} instances"
    assert json.loads(calibration.read_text())["score"] == 0.05

    def measured(folder: Path) -> dict:
        given = ("--dataset", folder, "--results", results, "--calibration", calibration)
        code, lines, err = call("measure", *given, "--out", tmp_path / "on", "--draws", 20)
        assert code == 0, err
        assert (tmp_path / "on/outcomes.png").is_file()
        report = json.loads((tmp_path / "on/valid_instances.json").read_text())
        assert len(report["instances"]) == report["all"]["instances"] == count
        assert lines[1].startswith(f"all{count:>25}")
        return {**report["all"], "line": lines[1]}

    own = measured(dataset)
    assert own["valid"] == [1.0, 1.0, 1.0]
    assert "100.0 [100.0, 100.0] %" in own["line"] and "0.0 [0.0, 0.0] %" in own["line"]
    for control, outcome in (("labels", "wrong class"), ("masks", "no mask")):
        out = tmp_path / control
        assert call("controls", "--dataset", dataset, "--control", control, "--out", out)[0] == 0
        shares = measured(out)
        assert shares[outcome][0] > shares["valid"][0] and shares["valid"][0] < 0.5


@pytest.mark.parametrize("content", [None, "{}", '{"score": "high"}', '{"score": 2}', "["])
def test_a_calibration_without_a_score_is_named(content, call, tmp_path):
    path = tmp_path / "calibration.json"
    if content is not None:
        path.write_text(content)
    given = ("--dataset", tmp_path, "--results", tmp_path / "r.json", "--calibration", path)
    code, _, err = call("measure", *given, "--out", tmp_path / "out")
    assert code == 2
    assert f"{path} holds no score: expected what the command calibrate writes" in err


def test_the_judges_config_is_the_demos_on_other_data():
    Config = pytest.importorskip("mmengine.config").Config
    judge = Config.fromfile(CONFIG).to_dict()
    demo = Config.fromfile(CONFIG.with_name(CONFIG.name.removeprefix("judge_"))).to_dict()
    assert {key for key in judge if judge[key] != demo.get(key)} == {
        "data_root",
        "data_command",
        "work_dir",
        "train_dataloader",
        "test_dataloader",
        "test_evaluator",
        "model",
        "max_iters",
        "train_cfg",
        "param_scheduler",
    }
    assert judge["train_dataloader"]["dataset"]["data_root"] == judge["data_root"]
    assert judge["test_dataloader"]["dataset"]["data_root"] == judge["data_root"]
    assert judge["data_command"].endswith(f"tiny_sd --out {judge['data_root']}")
    assert judge["model"]["roi_head"] == demo["model"]["roi_head"]
    assert judge["train_cfg"]["max_iters"] == judge["param_scheduler"][-1]["end"]
    # Several scores that the calibration tries lie above what is predicted at all.
    assert judge["model"]["test_cfg"]["rcnn"]["score_thr"] == 0.05
