"""Which instances a detector agrees with, and the folder without the others."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mf_plugin.errors import InputError
from mf_plugin.evaluation.consistency import ConsistencyConfig, filter_consistency, find_verdicts
from mf_plugin.generation.finished import read_finished
from mf_plugin.generation.panoptic import encode_panoptic
from mf_plugin.generation.records import CanvasResult, ObjectResult, encode_canvas
from mf_plugin.generation.store import DatasetStore
from mf_plugin.lvis.io import read_lvis, validate_lvis

CATEGORIES = [
    {"id": 2, "name": "dog", "frequency": "f"},
    {"id": 5, "name": "cat", "frequency": "r"},
]


def square(top: int, left: int, side: int) -> np.ndarray:
    mask = np.zeros((20, 20), bool)
    mask[top : top + side, left : left + side] = True
    return mask


MASKS = {0: [(2, square(0, 0, 10)), (5, square(10, 10, 8))], 1: [(5, square(4, 4, 10))]}


def write_dataset(folder: Path, kind: str) -> Path:
    image = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    store = DatasetStore(
        folder,
        identity={"config": {}, "config_hash": "c", "things": [2, 5]},
        environment={"versions": {}},
        categories=CATEGORIES,
    )
    with store:
        for index, objects in MASKS.items():
            planned = {
                "index": index,
                "group": index,
                "caption": "a dog and a cat",
                "category_ids": [id_ for id_, _ in objects],
                "source_image_id": 40 + index,
            }
            results = tuple(ObjectResult(id_, "a dog and a cat", mask) for id_, mask in objects)
            labels, infos = None, ()
            if kind == "semantic":
                labels = np.zeros((20, 20), np.uint8)
                for id_, mask in objects:
                    labels[mask] = {2: 1, 5: 2}[id_]
            elif kind == "panoptic":
                labels, infos = encode_panoptic(objects, (20, 20))
            canvas = CanvasResult(planned, image, results, labels, infos, image)
            store.add(index, [encode_canvas(canvas, 95)])
        store.finalise(2, {})
    return folder


def detection(image_id: int, category_id: int, mask: np.ndarray, score: float = 0.9) -> dict:
    from pycocotools import mask as mask_api

    rle = mask_api.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {
        "image_id": image_id,
        "category_id": category_id,
        "score": score,
        "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
    }


@pytest.fixture
def results(tmp_path) -> Path:
    """The dog is seen (IoU 0.8), the small cat is not, the large cat is taken for a dog."""
    dog = square(0, 0, 10)
    dog[:, 8:] = False
    found = [detection(1, 2, dog), detection(2, 2, square(4, 4, 10))]
    found.append(detection(1, 5, square(10, 10, 8), score=0.1))
    path = tmp_path / "results.segm.json"
    path.write_text(json.dumps(found))
    return path


@pytest.mark.parametrize(
    "settings, kept",
    [
        ({}, {1: True, 2: False, 3: True}),
        ({"match": "category"}, {1: True, 2: False, 3: False}),
        ({"min_score": 0.05, "match": "category"}, {1: True, 2: True, 3: False}),
        ({"min_iou": 0.81}, {1: False, 2: False, 3: True}),
    ],
)
def test_which_instances_agree(tmp_path, results, settings, kept):
    folder = write_dataset(tmp_path / "set", "instance")
    verdicts = find_verdicts(folder, results, ConsistencyConfig(**settings))
    assert {id_: verdict.keep for id_, verdict in verdicts.items()} == kept
    assert verdicts[1].measures == {"agreement": 0.8}


@pytest.mark.parametrize("kind", ["instance", "semantic", "panoptic"])
def test_the_folder_without_what_disagrees(tmp_path, results, kind):
    folder = write_dataset(tmp_path / "set", kind)
    config = ConsistencyConfig(match="category")
    out = filter_consistency(folder, results, tmp_path / "out", config)
    data = read_lvis(out / "annotations.json")
    validate_lvis(data, out)
    assert [(a["id"], a["image_id"], a["category_id"]) for a in data["annotations"]] == [(1, 1, 2)]
    (image,) = data["images"]
    assert image["not_exhaustive_category_ids"] == [5] and image["source_image_id"] == 40
    provenance = json.loads((out / "dataset.json").read_text())
    assert provenance["rejections"] == {"inconsistent": 2}
    assert provenance["counts"] == {"canvases": 2, "images": 1, "objects": 3, "annotations": 1}
    derived = provenance["derived"]
    assert (derived["min_iou"], derived["inconsistent"]) == (0.5, 2)
    assert len(derived["results_sha256"]) == 64
    assert not (out / "images/000000000002.jpg").exists()
    first, second = read_finished(out).records
    assert [obj["reason"] for obj in first["objects"]] == ["", "inconsistent"]
    assert first["objects"][0]["measures"] == {"agreement": 0.8}
    assert "thumbnail" in first["objects"][1] and second["outcome"] == "rejected"
    if kind == "semantic":
        labels = np.asarray(Image.open(out / first["label_file"]))
        assert labels[0, 0] == 1 and labels[12, 12] == 255 and labels[19, 0] == 0
    if kind == "panoptic":
        panoptic = json.loads((out / "panoptic.json").read_text())
        (entry,) = panoptic["annotations"]
        assert [info["category_id"] for info in entry["segments_info"]] == [2]
        pixels = np.asarray(Image.open(out / "labels" / entry["file_name"]))
        assert pixels[0, 0, 0] == 1 and pixels[12, 12, 0] == 0


def test_marks_instead_of_dropping(tmp_path, results):
    folder = write_dataset(tmp_path / "set", "instance")
    out = filter_consistency(folder, results, tmp_path / "out", ConsistencyConfig(mark=True))
    data = read_lvis(out / "annotations.json")
    assert [a.get("consistent") for a in data["annotations"]] == [None, 0, None]
    assert [i["not_exhaustive_category_ids"] for i in data["images"]] == [[5], []]
    assert read_finished(out).records[0]["objects"][1]["consistent"] == 0
    assert (out / "images/000000000002.jpg").is_file()


def _lacking(data):
    data["annotations"].pop(0)
    return data


def _with(key, value):
    return lambda data: {**data, key: value}


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda data: "[" * 100_000, "is nested too deep"),
        (lambda data: "{", "is not valid json"),
        (lambda data: "[]", "expected an LVIS annotation json"),
        (_with("images", [3]), "has an image without an id"),
        (_with("annotations", [3]), "annotation 3: expected an image_id and segments_info"),
        (
            _with("annotations", [{"image_id": 1, "segments_info": [{}]}]),
            "annotation {.*}: expected",
        ),
        (_lacking, "has 0 segments of image 1: expected 2, as many as objects"),
    ],
)
def test_a_damaged_panoptic_json_is_named(tmp_path, results, change, message):
    folder = write_dataset(tmp_path / "set", "panoptic")
    found = change(json.loads((folder / "panoptic.json").read_text()))
    text = found if isinstance(found, str) else json.dumps(found)
    (folder / "panoptic.json").write_text(text)
    with pytest.raises(InputError, match=rf"panoptic\.json.*{message}"):
        filter_consistency(folder, results, tmp_path / "out", ConsistencyConfig())


def test_bad_input(tmp_path, results):
    folder = write_dataset(tmp_path / "set", "instance")
    with pytest.raises(InputError, match="holds a dataset already"):
        filter_consistency(folder, results, folder, ConsistencyConfig())
    with pytest.raises(InputError, match="min_iou is 0; expected above 0"):
        ConsistencyConfig(min_iou=0)
    with pytest.raises(InputError, match="match is 'box'"):
        ConsistencyConfig(match="box")
    with pytest.raises(InputError, match="expected a finished dataset folder"):
        filter_consistency(tmp_path / "no", results, tmp_path / "out", ConsistencyConfig())
    other = tmp_path / "other.json"
    other.write_text(json.dumps([detection(9, 2, square(0, 0, 3))]))
    with pytest.raises(InputError, match="9"):
        filter_consistency(folder, other, tmp_path / "out", ConsistencyConfig())
    assert not (tmp_path / "out").exists()
