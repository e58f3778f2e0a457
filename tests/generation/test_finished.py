"""A finished folder gives its report again, and nothing but the report changes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from filelock import FileLock

from mf_plugin.errors import InputError
from mf_plugin.generation.finished import read_finished, rewrite_report
from mf_plugin.generation.quality import JudgeScores
from mf_plugin.generation.records import CanvasResult, ObjectResult, encode_canvas
from mf_plugin.generation.store import DatasetStore

CATEGORIES = [{"id": 5, "name": "cat", "frequency": "r"}, {"id": 2, "name": "dog"}]


@pytest.fixture
def folder(tmp_path):
    """Two canvases: a cat beside a rejected dog, and a rejected cat."""
    image = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    mask = np.zeros((16, 24), bool)
    mask[2:8, 3:13] = True
    cat = ObjectResult(5, "a cat", mask, measures={"stability": 0.9})
    no_dog = ObjectResult(2, "a dog", None, "too_small", image[:8, :8])
    no_cat = ObjectResult(5, "a cat", None, "too_large", image[:9, :9])
    store = DatasetStore(
        tmp_path / "set",
        identity={"config": {"seed": 0}, "config_hash": "1"},
        environment={"device": "cpu", "versions": {"numpy": "2"}},
        categories=CATEGORIES,
    )
    with store:
        for index, objects in enumerate([(cat, no_dog), (no_cat,)]):
            prompts = [{"category_id": o.category_id, "text": o.prompt} for o in objects]
            planned = {"index": index, "seed": index, "layout": {}, "prompts": prompts}
            store.add(index, [encode_canvas(CanvasResult(planned, image, objects), 95)])
        return store.finalise(2, {})


def read_all(folder) -> dict[str, bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_without_a_judge_every_byte_is_the_same(folder):
    before = read_all(folder)
    report = rewrite_report(folder)
    assert report["all"]["objects"] == 3 and read_all(folder) == before


def judge(dataset) -> JudgeScores:
    assert [record["index"] for record in dataset.records] == [0, 1]
    return JudgeScores("J", {(0, 0): 0.25}, {(0, 0): "dog"})


def test_a_judge_changes_the_report_alone_and_can_be_taken_back(folder):
    before = read_all(folder)
    report = rewrite_report(folder, judge)
    after = read_all(folder)
    assert {name for name in after if after[name] != before[name]} == {
        "dataset.json",
        "gallery.html",
    }
    assert report["judge"]["confidence"] == 0.25 and report["judge"]["named_right"] == 0
    assert json.loads(after["dataset.json"])["quality"] == report
    assert b'"judged":[0.25,"dog"]' in after["gallery.html"]
    rewrite_report(folder)
    assert read_all(folder) == before


def test_an_error_of_the_judge_leaves_all_as_it_was(folder):
    before = read_all(folder)

    def fail(dataset):
        raise InputError("no such judge")

    with pytest.raises(InputError, match="no such judge"):
        rewrite_report(folder, fail)
    assert read_all(folder) == before


def test_the_page_is_made_again_where_it_is_lost(folder):
    (folder / "gallery.html").unlink()
    assert all("thumbnail" not in record for record in read_finished(folder).records)
    rewrite_report(folder)
    assert (folder / "gallery.html").is_file()


def test_a_folder_that_is_not_finished_or_damaged(folder, tmp_path):
    with pytest.raises(InputError, match="has no dataset.json: expected a finished dataset"):
        rewrite_report(tmp_path)
    (folder / "manifest.jsonl").write_text("{}\n")
    with pytest.raises(InputError, match="manifest.jsonl or dataset.json is damaged"):
        rewrite_report(folder)
    (folder / "manifest.jsonl").unlink()
    with pytest.raises(InputError, match="manifest.jsonl is missing"):
        rewrite_report(folder)


def test_a_truncated_line_of_the_manifest(folder):
    manifest = folder / "manifest.jsonl"
    manifest.write_bytes(manifest.read_bytes()[:-20])
    before = read_all(folder)
    with pytest.raises(InputError, match=r"manifest.jsonl line 2 is not valid json \(truncated"):
        rewrite_report(folder)
    assert read_all(folder) == before


def test_a_folder_that_another_process_writes(folder):
    message = "another process is writing"
    with FileLock(folder / ".generate.lock"), pytest.raises(InputError, match=message):
        rewrite_report(folder)
