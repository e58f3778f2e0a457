"""One json of a real and a synthetic set, with paths from their common folder."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from mf_plugin.generation.records import CanvasResult, ObjectResult, encode_canvas
from mf_plugin.generation.store import DatasetStore
from mf_plugin.lvis.io import read_lvis, write_json_atomic

TOOL = Path(__file__).parents[2] / "tools/merge_lvis.py"
CATEGORY = {
    "id": 5, "name": "cat", "synset": "cat.n.01", "synonyms": ["cat"], "def": "a cat",
    "frequency": "r", "image_count": 1, "instance_count": 1,
}  # fmt: skip


@pytest.fixture
def sets(tmp_path) -> list:
    """Arguments that merge a real and a synthetic image into ``tmp_path / "out/merged.json"``."""
    image = {"id": 7, "coco_url": "train/a.jpg", "height": 16, "width": 16}
    box = {"bbox": [2, 2, 4, 4], "area": 16, "segmentation": [[2, 2, 6, 2, 6, 6, 2, 6]]}
    real = {
        "images": [{**image, "neg_category_ids": [], "not_exhaustive_category_ids": []}],
        "annotations": [{"id": 3, "image_id": 7, "category_id": 5, **box}],
        "categories": [CATEGORY],
    }
    (tmp_path / "real").mkdir()
    write_json_atomic(tmp_path / "real/lvis.json", real)
    mask = np.zeros((16, 16), bool)
    mask[4:12, 4:12] = True
    facts = {"index": 0, "prompts": [{"category_id": 5, "text": "a cat"}]}
    canvas = CanvasResult(facts, np.zeros((16, 16, 3), np.uint8), (ObjectResult(5, "a cat", mask),))
    store = DatasetStore(
        tmp_path / "set",
        identity={"config_hash": "1"},
        environment={"device": "cpu", "versions": {}},
        categories=[CATEGORY],
    )
    with store:
        store.add(0, [encode_canvas(canvas, 95)])
        store.finalise(1, {})
    return ["--real", tmp_path / "real/lvis.json", "--images", tmp_path / "real"] + [
        "--synthetic", tmp_path / "set", "--out", tmp_path / "out/merged.json"
    ]  # fmt: skip


@pytest.fixture
def call(monkeypatch, capfd):
    def run(arguments) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", [str(TOOL), *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(str(TOOL), run_name="__main__")
        streams = capfd.readouterr()
        return stop.value.code or 0, streams.out + streams.err

    return run


def test_two_sets_in_one_json(sets, call, tmp_path):
    code, text = call(sets)
    assert (code, text.strip().split("\n")[-1]) == (
        0, f"{tmp_path}/out/merged.json: 2 images, paths from {tmp_path}"
    )  # fmt: skip
    merged = read_lvis(tmp_path / "out/merged.json")
    paths = [image["coco_url"] for image in merged["images"]]
    assert paths[0] == "real/train/a.jpg" and paths[1].startswith("set/images/")
    assert [a["category_id"] for a in merged["annotations"]] == [5, 5]
    assert merged["categories"][0]["instance_count"] == 2
    assert (tmp_path / paths[1]).is_file()


def test_a_file_that_is_there_stays(sets, call, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/merged.json").write_text("mine")
    code, text = call(sets)
    assert code == 2 and "merged.json exists: expected a new file" in text
    assert (tmp_path / "out/merged.json").read_text() == "mine"
