from __future__ import annotations

import copy
import json

import pytest

from mf_plugin.errors import InputError
from mf_plugin.lvis import io
from mf_plugin.lvis.io import (
    image_path,
    read_categories,
    read_lvis,
    validate_lvis,
    write_json_atomic,
)


def mini() -> dict:
    """One image with one triangle, and one image without annotations."""
    return {
        "categories": [
            {"id": 1, "name": "cat", "frequency": "r", "synset": "cat.n.01", "image_count": 1},
            {"id": 2, "name": "dog", "frequency": "f", "synset": "dog.n.01", "image_count": 0},
        ],
        "images": [
            {
                "id": i,
                "height": 8,
                "width": 10,
                "coco_url": f"images/{i:012d}.jpg",
                "file_name": f"images/{i:012d}.jpg",
                "neg_category_ids": [2],
                "not_exhaustive_category_ids": [],
            }
            for i in (1, 2)
        ],
        "annotations": [
            {
                "id": 5,
                "image_id": 1,
                "category_id": 1,
                "area": 8.0,
                "bbox": [0, 0, 4, 4],
                "segmentation": [[0, 0, 4, 0, 0, 4]],
            }
        ],
    }


@pytest.fixture
def dataset(tmp_path):
    """The folder of `mini`, its images being empty files."""
    data = mini()
    (tmp_path / "images").mkdir()
    for image in data["images"]:
        (tmp_path / image["coco_url"]).touch()
    write_json_atomic(tmp_path / "annotations.json", data)
    return tmp_path


def test_read_what_was_written(dataset):
    assert read_lvis(dataset / "annotations.json") == mini()
    assert sorted(p.name for p in dataset.iterdir()) == ["annotations.json", "images"]


def test_valid_dataset_passes(dataset):
    validate_lvis(mini())
    validate_lvis(mini(), dataset)


def test_lvis_api_loads_it(dataset):
    lvis = pytest.importorskip("lvis").LVIS(str(dataset / "annotations.json"))
    assert lvis.get_cat_ids() == [1, 2] and lvis.get_img_ids() == [1, 2]
    assert lvis.get_ann_ids(img_ids=[1]) == [5]
    assert lvis.ann_to_mask(lvis.anns[5]).shape == (8, 10)


def test_meets_the_rules_of_detectron2s_loader():
    # load_lvis_json: folder and file are the last two parts of coco_url, annotation ids are
    # unique, and every polygon has an even count of at least six numbers.
    data = mini()
    assert [len(image_path(image).split("/")) for image in data["images"]] == [2, 2]
    assert len({a["id"] for a in data["annotations"]}) == len(data["annotations"])
    polygons = [p for a in data["annotations"] for p in a["segmentation"]]
    assert polygons and all(len(p) >= 6 and len(p) % 2 == 0 for p in polygons)


@pytest.mark.parametrize(
    "url, expected",
    [
        ("images/000000000001.jpg", "images/000000000001.jpg"),
        ("http://images.cocodataset.org/train2017/000000000001.jpg", "train2017/000000000001.jpg"),
        ("a/b/c.jpg", "a/b/c.jpg"),
    ],
)
def test_image_path(url, expected):
    assert image_path({"id": 1, "coco_url": url}) == expected


@pytest.mark.parametrize(
    "url",
    ["/etc/a.jpg", "../a.jpg", "a/../../b.jpg", "a//b.jpg", "a/./b.jpg", "http://host/", "a\\b"],
)
def test_image_path_stays_in_the_root(url):
    with pytest.raises(InputError, match="image 7: coco_url .* is not a path inside the dataset"):
        image_path({"id": 7, "coco_url": url})


def test_image_path_needs_coco_url():
    with pytest.raises(InputError, match="image 7: expected a coco_url, got None"):
        image_path({"id": 7, "file_name": "a.jpg"})


def _set(path, value):
    def change(data):
        *parents, last = path
        for key in parents:
            data = data[key]
        data[last] = value

    return change


def _drop(*path):
    def change(data):
        *parents, last = path
        for key in parents:
            data = data[key]
        del data[last]

    return change


def _repeat(key):
    return lambda data: data[key].append(copy.deepcopy(data[key][0]))


IMAGE, ANNOTATION = ("images", 0), ("annotations", 0)


@pytest.mark.parametrize(
    "change, message",
    [
        (_drop("images"), "expected a list under the key 'images', got nothing"),
        (_set(["annotations"], {}), "expected a list under the key 'annotations', got dict"),
        (_set(["categories"], []), r"categories is \[\]: expected one category or more"),
        (_repeat("categories"), "category id 1 appears twice"),
        (_set(["categories", 1, "name"], "cat"), "category name 'cat' appears twice"),
        (_set(["categories", 0, "frequency"], "x"), "'cat' has frequency 'x'"),
        (_set(["categories", 0], "cat"), "category 'cat': expected"),
        (_repeat("images"), "image id 1 appears twice"),
        (_set([*IMAGE, "id"], "1"), "expected an integer id"),
        (_set(IMAGE, "a.jpg"), "image 'a.jpg': expected an integer id"),
        (_set([*IMAGE, "coco_url"], "a.jpg"), "'a.jpg' has 1 parts, expected folder/file"),
        (_set([*IMAGE, "coco_url"], "a/b/c.jpg"), "'a/b/c.jpg' has 3 parts, expected folder/file"),
        (_set([*IMAGE, "width"], 0), "image 1: expected width in pixels, got 0"),
        (_drop(*IMAGE, "height"), "image 1: expected height in pixels, got None"),
        (_drop(*IMAGE, "neg_category_ids"), "image 1: expected a list under neg_category_ids"),
        (_drop(*IMAGE, "not_exhaustive_category_ids"), "list under not_exhaustive_category_ids"),
        (_set([*IMAGE, "neg_category_ids"], [2, 9]), "unknown category id 9"),
        (_repeat("annotations"), "annotation id 5 appears twice"),
        (_set([*ANNOTATION, "image_id"], 9), "annotation 5: unknown image id 9"),
        (_set([*ANNOTATION, "category_id"], 9), "annotation 5: unknown category id 9"),
        (_set([*ANNOTATION, "area"], 0), "annotation 5: expected area > 0, got 0"),
        (_set([*ANNOTATION, "area"], float("nan")), "annotation 5: expected area > 0, got nan"),
        (_set([*ANNOTATION, "area"], "8"), "a value has the wrong type"),
        (_drop(*ANNOTATION, "area"), "the key 'area' is missing"),
        (_set([*ANNOTATION, "bbox"], [0, 0, 4]), "annotation 5: expected bbox"),
        (_set([*ANNOTATION, "bbox"], [0, 0, 4, 0]), "annotation 5: expected bbox"),
        (_set([*ANNOTATION, "segmentation"], []), "expected segmentation as a list of polygons"),
        (_set([*ANNOTATION, "segmentation"], {"size": [8, 10], "counts": "x"}), "reads no RLE"),
        (_set([*ANNOTATION, "segmentation"], [[0, 0, 4, 4]]), "polygon of 4 numbers"),
        (_set([*ANNOTATION, "segmentation"], [[0] * 7]), "polygon of 7 numbers"),
        (_set([*ANNOTATION, "segmentation"], [[0, 0, 4, 0, 0, float("inf")]]), "NaN or infinity"),
        (_set([*ANNOTATION, "segmentation"], [["0"] * 6]), "a value has the wrong type"),
    ],
)
def test_first_problem_is_named(change, message):
    data = mini()
    change(data)
    with pytest.raises(InputError, match=message):
        validate_lvis(data)


def test_nested_paths_where_they_are_allowed():
    data = mini()
    data["images"][0]["coco_url"] = "a/b/c.jpg"
    validate_lvis(data, nested=True)


def test_missing_image_is_named(dataset):
    (dataset / "images/000000000002.jpg").unlink()
    with pytest.raises(InputError, match=r"000000000002.jpg is missing on disk \(1 of 2"):
        validate_lvis(mini(), dataset)
    with pytest.raises(InputError, match="nowhere.images does not exist: it should hold 2"):
        validate_lvis(mini(), dataset / "nowhere")


@pytest.mark.parametrize(
    "text, message",
    [
        (None, "is not a file"),
        (json.dumps(mini())[:-20], "is not valid json"),
        ("[]", "a.json: expected an LVIS annotation json, got a list"),
        ('{"images": [], "annotations": []}', "a.json: expected a list under the key 'categories'"),
    ],
)
def test_read_errors_name_the_file(tmp_path, text, message):
    if text is not None:
        (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=message):
        read_lvis(tmp_path / "a.json")


@pytest.mark.parametrize("bad", [float("nan"), {1, 2}], ids=["NaN", "not json"])
def test_failed_write_leaves_the_old_file(tmp_path, bad):
    path = tmp_path / "a.json"
    write_json_atomic(path, {"old": 1}, indent=2)
    with pytest.raises((ValueError, TypeError)):
        write_json_atomic(path, {"new": bad})
    assert path.read_text() == '{\n  "old": 1\n}\n'
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_write_into_a_missing_folder(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        write_json_atomic(tmp_path / "nowhere" / "a.json", {})


CATEGORIES = [dict(id=i, name=f"né {i}") for i in range(40)]


@pytest.mark.parametrize(
    "data",
    [
        dict(images=[], annotations=[], categories=CATEGORIES),
        dict(categories=CATEGORIES, images=[], annotations=[dict(id=1)] * 50),
        # the key is in there twice, so all of it is parsed
        dict(info=dict(categories=[1]), images=[], annotations=[], categories=CATEGORIES),
    ],
)
@pytest.mark.parametrize("chunk", [7, 1 << 20])
def test_categories_are_read_alone(tmp_path, monkeypatch, data, chunk):
    monkeypatch.setattr(io, "FIRST_CHUNK", chunk)
    path = tmp_path / "a.json"
    path.write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")
    assert read_categories(path) == CATEGORIES


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "not valid json"),
        ('{"images": [], "annotations": [], "categories": [{"id"', "not valid json"),
        ('{"images": [], "annotations": [], "categories": 3}', "expected a list"),
    ],
)
def test_a_json_without_categories_is_named(tmp_path, text, message):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(InputError, match=f"a.json.*{message}"):
        read_categories(path)
    with pytest.raises(InputError, match="is not a file"):
        read_categories(tmp_path / "none.json")
