"""Real data sets of three formats, and what is wrong with them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as mask_api

from mf_plugin.errors import InputError
from mf_plugin.generation.panoptic import encode_panoptic
from mf_plugin.seggen.source import SourceConfig
from mf_plugin.seggen.sources import read_source

CATEGORIES = [{"id": 1, "name": "dog", "isthing": 1}, {"id": 4, "name": "sky", "isthing": 0}]


def square(top: int, left: int, side: int) -> np.ndarray:
    mask = np.zeros((6, 8), bool)
    mask[top : top + side, left : left + side] = True
    return mask


def write_json(path: Path, annotations: list, **image: object) -> Path:
    entry = {"id": 3, "file_name": "a.jpg", "height": 6, "width": 8, **image}
    data = {"images": [entry], "annotations": annotations, "categories": CATEGORIES}
    path.write_text(json.dumps(data))
    return path


def test_instances_as_polygons_and_rle_without_crowds(tmp_path):
    rle = mask_api.encode(np.asfortranarray(square(2, 2, 3).astype(np.uint8)))
    rle["counts"] = rle["counts"].decode()
    counts = {"size": [6, 8], "counts": [0, 6, 42]}  # the first column
    annotations = [
        {"image_id": 3, "category_id": 1, "segmentation": [[0, 0, 4, 0, 4, 2, 0, 2]]},
        {"image_id": 3, "category_id": 4, "segmentation": rle},
        {"image_id": 3, "category_id": 4, "segmentation": counts},
        {"image_id": 3, "category_id": 1, "segmentation": counts, "iscrowd": 1},
    ]
    path = write_json(tmp_path / "a.json", annotations, not_exhaustive_category_ids=[4])
    source = read_source(SourceConfig("instance", annotations=path))
    assert source.categories(3) == (1, 4, 4) and source.not_exhaustive(3) == (1, 4)
    one, two, three = source.segments(3)
    assert one[1].sum() == 8 and one[1][:2, :4].all()
    assert (two[1] == square(2, 2, 3)).all() and three[1][:, 0].all() and three[1].sum() == 6
    assert source.things == {1, 4} and len(source.fingerprint()) == 64
    with pytest.raises(InputError, match="no folder of images: give `images`"):
        source.read_image(3)


def test_images_are_found_by_file_name_or_url_and_have_the_labels_size(tmp_path):
    (tmp_path / "train").mkdir()
    Image.new("RGB", (8, 6), (1, 2, 3)).save(tmp_path / "train/a.png")
    path = write_json(tmp_path / "a.json", [], file_name=None, coco_url="http://x/train/a.png")
    source = read_source(SourceConfig("instance", images=tmp_path, annotations=path))
    assert source.read_image(3).tolist()[0][0] == [1, 2, 3]
    Image.new("RGB", (9, 6)).save(tmp_path / "train/a.png")
    with pytest.raises(InputError, match=r"is \(6, 9\) \(height, width\); its labels are \(6, 8\)"):
        source.read_image(3)
    (tmp_path / "train/a.png").unlink()
    with pytest.raises(InputError, match=r"train/a.png \(id 3\) is missing on disk"):
        source.check_images([3])


def write_labels(folder: Path, labels: np.ndarray) -> SourceConfig:
    for name in ("images", "labels"):
        (folder / name).mkdir()
    Image.new("RGB", (8, 6)).save(folder / "images/b.jpg")
    Image.fromarray(labels).save(folder / "labels/b.png")
    (folder / "classes.txt").write_text("wall\nsky\n\n")
    return SourceConfig(
        "semantic",
        images=folder / "images",
        labels=folder / "labels",
        classes=folder / "classes.txt",
    )


def test_label_maps(tmp_path):
    labels = np.zeros((6, 8), np.uint8)
    labels[:2], labels[2:3], labels[5] = 2, 1, 255
    source = read_source(write_labels(tmp_path, labels))
    assert [c.name for c in source.vocabulary] == ["wall", "sky"] and source.things == set()
    assert source.by_id[1].file_name == "b.jpg" and source.by_id[1].size == (6, 8)
    assert source.categories(1) == (1, 2)
    assert [(id_, int(mask.sum())) for id_, mask in source.segments(1)] == [(1, 8), (2, 16)]
    first = source.fingerprint()
    Image.fromarray(labels[::-1].copy()).save(tmp_path / "labels/b.png")
    assert source.fingerprint() != first


def test_label_maps_that_do_not_fit(tmp_path):
    config = write_labels(tmp_path, np.full((6, 8), 3, np.uint8))
    with pytest.raises(InputError, match="has value 3; expected 0 to 2"):
        read_source(config).segments(1)
    (tmp_path / "images/b.jpg").unlink()
    with pytest.raises(InputError, match="has no image in"):
        read_source(config)
    (tmp_path / "labels/b.png").unlink()
    with pytest.raises(InputError, match="holds no PNG"):
        read_source(config)
    (tmp_path / "classes.txt").write_bytes(b"w\xe4nd")
    with pytest.raises(InputError, match=r"classes .*classes\.txt is no UTF-8"):
        read_source(dataclasses.replace(config, classes=tmp_path / "classes.txt"))


def test_panoptic_segments(tmp_path):
    pixels, infos = encode_panoptic([(1, square(0, 0, 2)), (4, square(2, 2, 4))], (6, 8))
    Image.fromarray(pixels).save(tmp_path / "a.png")
    crowd = {"id": 900, "category_id": 1, "iscrowd": 1}
    entry = {"image_id": 3, "file_name": "a.png", "segments_info": [*infos, crowd]}
    path = write_json(tmp_path / "p.json", [entry])
    source = read_source(SourceConfig("panoptic", annotations=path, labels=tmp_path))
    assert source.things == {1} and source.categories(3) == (1, 4)
    assert source.not_exhaustive(3) == (1,)
    assert [(id_, int(mask.sum())) for id_, mask in source.segments(3)] == [(1, 4), (4, 16)]


@pytest.mark.parametrize(
    "settings, message",
    [
        (dict(format="yolo"), "source format is 'yolo'"),
        (dict(format="instance"), "'instance': annotations is missing"),
        (dict(format="semantic", labels="x", images="y"), "'semantic': classes is missing"),
        (dict(format="panoptic", annotations="x"), "'panoptic': labels is missing"),
    ],
)
def test_a_source_that_lacks_something(settings, message):
    with pytest.raises(InputError, match=message):
        SourceConfig(**settings)


def test_annotations_that_do_not_fit(tmp_path):
    path = write_json(tmp_path / "a.json", [{"id": 7, "image_id": 3, "category_id": 9}])
    with pytest.raises(InputError, match=r"a\.json: annotation 7: unknown category id 9"):
        read_source(SourceConfig("instance", annotations=path))
    with pytest.raises(InputError, match="has no segments_info and file_name"):
        read_source(SourceConfig("panoptic", annotations=path, labels=tmp_path))
    with pytest.raises(InputError, match="is not a file"):
        read_source(SourceConfig("instance", annotations=tmp_path / "no.json"))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"id": None}, "expected an integer id"),
        ({"height": 0}, "image 3: expected height in pixels, got 0"),
        ({"file_name": "../a.png"}, "image 3: '../a.png' is not a path inside the data set"),
        (
            {"not_exhaustive_category_ids": [8]},
            "not_exhaustive_category_ids is \\[8\\], expected ids",
        ),
    ],
)
def test_images_that_do_not_fit(tmp_path, change, message):
    path = write_json(tmp_path / "a.json", [], **change)
    with pytest.raises(InputError, match=rf"a\.json: .*{message}"):
        read_source(SourceConfig("instance", annotations=path))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"image_id": 8}, "annotation 7: unknown image id 8"),
        ({"segmentation": None}, "annotation 7: expected segmentation as a list of polygons"),
        ({"segmentation": {"size": [8, 6], "counts": [1]}}, "annotation 7: mask of size"),
        ({"iscrowd": 2}, "annotation 7: iscrowd is 2, expected 0 or 1"),
        ({"id": "x"}, "expected an object, its id a number from 0"),
    ],
)
def test_objects_that_do_not_fit(tmp_path, change, message):
    sound = {"id": 7, "image_id": 3, "category_id": 1, "segmentation": [[0, 0, 4, 0, 4, 2]]}
    path = write_json(tmp_path / "a.json", [sound])
    assert read_source(SourceConfig("instance", annotations=path)).categories(3) == (1,)
    path = write_json(tmp_path / "a.json", [sound | change])
    with pytest.raises(InputError, match=rf"a\.json: .*{message}"):
        read_source(SourceConfig("instance", annotations=path))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"file_name": "../a.png"}, "'../a.png' is not a path inside the folder of labels"),
        ({"segments_info": [{"category_id": 1}]}, "segment None: expected an id of 0 to 16777215"),
        ({"segments_info": [{"id": 5, "category_id": 9}]}, "segment 5: unknown category id 9"),
    ],
)
def test_panoptic_entries_that_do_not_fit(tmp_path, change, message):
    pixels, infos = encode_panoptic([(1, square(0, 0, 2))], (6, 8))
    entry = {"image_id": 3, "file_name": "a.png", "segments_info": infos}
    path = write_json(tmp_path / "p.json", [entry | change])
    with pytest.raises(InputError, match=rf"p\.json: annotation None: {message}"):
        read_source(SourceConfig("panoptic", annotations=path, labels=tmp_path))
    path = write_json(tmp_path / "p.json", [entry])
    Image.fromarray(pixels[:, :4]).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"is \(6, 4\) \(height, width\); its image is \(6, 8\)"):
        read_source(SourceConfig("panoptic", annotations=path, labels=tmp_path)).segments(3)
