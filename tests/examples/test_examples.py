"""examples/ as a user calls them, with tiny models and sizes."""

from __future__ import annotations

import json
import runpy
import shutil
import sys
from pathlib import Path

import pytest

from mf_plugin.lvis.minilvis import build_split

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def run(monkeypatch, capsys):
    def call(name: str, *arguments: object) -> list[str]:
        """Run an example; returns the lines that it prints."""
        path = EXAMPLES / name
        monkeypatch.setattr(sys, "argv", [str(path), *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(path), run_name="__main__")
        shown = capsys.readouterr()
        assert ended.value.code == 0, shown.err
        return shown.out.splitlines()

    return call


def planned(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def test_own_names(run, tiny_sd_folder, tmp_path):
    out = tmp_path / "names"
    sizes = ("--num-images", 1, "--steps", 2)
    lines = run(
        "own_categories.py",
        "--names",
        "ax",
        "kite",
        "--model",
        tiny_sd_folder,
        *sizes,
        "--out",
        out,
    )
    assert lines == [str(out / "annotations.json"), str(out / "gallery.html")]
    data = json.loads((out / "annotations.json").read_text())
    assert [(c["id"], c["name"]) for c in data["categories"]] == [(1, "ax"), (2, "kite")]
    assert len(planned(out)) == 1


def test_own_lvis_json(run, tiny_sd_folder, tmp_path):
    categories = [
        dict(id=i, name=name, synset="", synonyms=[name], frequency=group, **{"def": ""})
        for i, name, group in ((7, "kite", "f"), (3, "ax", "r"))
    ]
    own = tmp_path / "own.json"
    own.write_text(json.dumps(dict(images=[], annotations=[], categories=categories)))
    out = tmp_path / "lvis"
    sizes = ("--num-images", 1, "--steps", 2)
    run("own_categories.py", "--lvis", own, "--model", tiny_sd_folder, *sizes, "--out", out)
    data = json.loads((out / "annotations.json").read_text())
    assert [c["id"] for c in data["categories"]] == [7, 3]
    (record,) = planned(out)
    assert record["prompts"][record["main_region"]]["category_id"] == 3, "the rare one"


@pytest.mark.parametrize("model, scales", [("sd", [1, 2]), ("sdxl", [2, 4])])
def test_own_model(run, model, scales, request, tmp_path):
    folder = request.getfixturevalue(f"tiny_{model}_folder")
    out = tmp_path / "own"
    sizes = ("--side", 32, "--num-images", 1, "--steps", 2)
    assert run("own_model.py", "--model", folder, *sizes, "--out", out) == [
        str(out / "gallery.html")
    ]
    config = json.loads((out / "dataset.json").read_text())["config"]
    assert config["mask"]["scales"] == scales
    assert len(planned(out)) == 1


def test_own_detector(run, tmp_path):
    pytest.importorskip("mmdet")
    real = build_split(tmp_path / "data/train", "train", num_images=12)
    data = json.loads((real / "annotations.json").read_text())
    kept = {c["id"] for c in data["categories"] if c["name"] in ("dagger", "dove", "ring")}
    for key, name in (("categories", "id"), ("annotations", "category_id")):
        data[key] = [entry for entry in data[key] if entry[name] in kept]
    for image in data["images"]:
        image |= dict(neg_category_ids=[], not_exhaustive_category_ids=[])
    synthetic = tmp_path / "synthetic"
    shutil.copytree(real / "images", synthetic / "images")
    (synthetic / "annotations.json").write_text(json.dumps(data))
    (synthetic / "dataset.json").write_text(json.dumps({"config_hash": "x", "config": {}}))

    places = ("--data-root", f"{tmp_path / 'data'}/", "--work-dir", tmp_path / "run")
    lines = run("own_detector.py", "--synthetic", synthetic, *places)
    assert lines[-1] == str(tmp_path / "run/iter_4.pth")
    assert (tmp_path / "run/iter_4.pth").is_file()
