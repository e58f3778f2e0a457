"""tools/judge_seggen.py and tools/measure_colormaps.py from folders to json."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest
from pycocotools import mask as mask_api

from mf_plugin.lvis.io import read_lvis
from mf_plugin.lvis.minilvis import build_split

ROOT = Path(__file__).parents[2]


@pytest.fixture
def call(monkeypatch, capsys):
    def run(tool: str, *arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [tool, *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(str(ROOT / "tools" / tool), run_name="__main__")
        out, err = capsys.readouterr()
        return stop.value.code, out, err

    return run


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    return build_split(tmp_path_factory.mktemp("data") / "val", "val", num_images=8)


@pytest.fixture(scope="module")
def results(dataset) -> Path:
    """What a judge without a fault sees."""
    data = read_lvis(dataset / "annotations.json")
    sizes = {i["id"]: (i["height"], i["width"]) for i in data["images"]}
    found = []
    for a in data["annotations"]:
        rle = mask_api.merge(mask_api.frPyObjects(a["segmentation"], *sizes[a["image_id"]]))
        mask = {"size": list(rle["size"]), "counts": rle["counts"].decode()}
        keys = ("image_id", "category_id", "bbox")
        found.append({**{key: a[key] for key in keys}, "score": 0.9, "segmentation": mask})
    path = dataset.parent / "results.json"
    path.write_text(json.dumps(found))
    (dataset.parent / "calibration.json").write_text('{"score": 0.5}')
    return path


def test_faithfulness(call, dataset, results, tmp_path):
    out = tmp_path / "new" / "faithfulness.json"
    given = ["--dataset", dataset, "--results", results, "--out", out]
    given += ["--calibration", results.parent / "calibration.json", "--draws", 50]
    code, printed, _ = call("judge_seggen.py", "faithfulness", *given)
    assert code == 0 and "dataset: mIoU 1.000 [1.000, 1.000]" in printed
    real = ["--real", dataset, "--real-results", results]
    assert call("judge_seggen.py", "faithfulness", *given, *real)[0] == 0
    report = json.loads(out.read_text())
    assert report["score"] == 0.5
    assert report["dataset"] == report["real"]
    assert report["real"]["miou"][0] > 0.999  # polygons of neighbours may share a pixel
    code, _, error = call("judge_seggen.py", "faithfulness", *given, "--real", dataset)
    assert (code, error) == (2, "error: --real and --real-results: expected both or none\n")


def test_agreement_of_a_masksyn_folder(call, dataset, tmp_path):
    first = read_lvis(dataset / "annotations.json")["categories"][0]
    (tmp_path / "annotations.json").write_text(json.dumps({"categories": [first]}))
    name = first["name"].replace("_", " ")
    line = dict(index=0, caption=name, category_ids=[first["id"]], reasons=[""])
    (tmp_path / "manifest.jsonl").write_text(json.dumps(line) + "\n")
    out = tmp_path / "agreement.json"
    code, printed, _ = call("judge_seggen.py", "agreement", "--masksyn", tmp_path, "--out", out)
    assert code == 0 and "class recall: 100.0 [100.0, 100.0] %" in printed
    assert json.loads(out.read_text())["class_agreement"] == [1, 1, 1]
    code, _, error = call("judge_seggen.py", "agreement", "--out", out)
    assert code == 2 and "expected --masksyn DIR, or --model DIR with --dataset DIR" in error


def test_agreement_of_a_model(call, dataset, tmp_path):
    pytest.importorskip("diffusers")
    out = tmp_path / "agreement.json"
    model = ROOT / "mf_plugin/assets/tiny_seggen/text2mask"
    given = ["--model", model, "--dataset", dataset, "--num-maps", 4, "--out", out]
    given += ["--steps", 2, "--guidance", 1, "--draws", 20]
    code, printed, _ = call("judge_seggen.py", "agreement", *given, "--min-confidence", 0.1)
    assert code == 0 and "caption colors, class precision: 100.0 [100.0, 100.0] %" in printed
    report = json.loads(out.read_text())
    assert list(report) == ["all_colors", "caption_colors", "by_chance"]
    assert {reading["captions"] for reading in report.values()} == {4}
    code, _, error = call(
        "judge_seggen.py", "agreement", *given, "--every-segment", "--min-pixels", 9
    )
    assert (code, error) == (
        2,
        "error: --every-segment with min_pixels: expected one or the other\n",
    )


def test_colormaps(call, dataset, tmp_path):
    pytest.importorskip("diffusers")
    out = tmp_path / "colormaps.json"
    given = ["--dataset", dataset, "--vae", ROOT / "mf_plugin/assets/tiny_sd", "--out", out]
    code, printed, _ = call(
        "measure_colormaps.py", *given, "--num-categories", 12, "--num-images", 3, "--scale", 1
    )
    assert code == 0 and "12 categories, 1 times as large" in printed
    (report,) = json.loads(out.read_text())
    assert report["kept"] / report["instances"] > 0.8
    code, _, error = call("measure_colormaps.py", *given, "--num-categories", 99)
    assert (code, error) == (2, "error: 99 categories: expected 1 to 30\n")
