"""Controls: labels exchanged, masks moved, images through an autoencoder; nothing else changes."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as mask_api

from mf_plugin.benchmark.judge_controls import build_control, exchange_labels, move_masks
from mf_plugin.errors import InputError
from mf_plugin.lvis.io import read_lvis, validate_lvis

BOX = [8, 4, 10, 6]  # x, y, width, height


@pytest.fixture
def source(tmp_path) -> Path:
    """Two images of 32 x 48; categories 2, 2, 5 and 7 in the first, 5 in the second."""
    folder = tmp_path / "source"
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for image_id, ids in ((1, (2, 7, 2, 5)), (2, (5,))):
        name = f"images/{image_id:012d}.jpg"
        cv2.imwrite(str(folder / name), rng.integers(0, 256, (32, 48, 3), np.uint8))
        images.append(
            dict(
                id=image_id,
                file_name=name,
                coco_url=name,
                height=32,
                width=48,
                neg_category_ids=[],
                not_exhaustive_category_ids=[],
            )
        )
        x, y, width, height = BOX
        corners = [x, y, x + width, y, x + width, y + height, x, y + height]
        for category_id in ids:
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=image_id,
                    category_id=category_id,
                    bbox=BOX,
                    area=60,
                    segmentation=[[float(v) for v in corners]],
                )
            )
    categories = [
        dict(
            id=i,
            name=f"thing_{i}",
            synset="",
            synonyms=[],
            frequency="r",
            image_count=1,
            instance_count=1,
            **{"def": ""},
        )
        for i in (2, 5, 7)
    ]
    data = dict(images=images, annotations=annotations, categories=categories)
    (folder / "annotations.json").write_text(json.dumps(data))
    return folder


def test_no_instance_keeps_its_label_where_others_are_to_be_had(source):
    data = read_lvis(source / "annotations.json")
    exchanged = exchange_labels(data)
    # 2, 2, 5, 7 go on by two: the first image's own order is 2, 7, 2, 5.
    assert [a["category_id"] for a in exchanged] == [5, 2, 7, 2, 5]
    for before, after in zip(data["annotations"], exchanged, strict=True):
        assert {**after, "category_id": before["category_id"]} == before


def test_masks_move_by_an_eighth_and_come_in_again(source):
    data = read_lvis(source / "annotations.json")
    (moved, *_) = move_masks(data)
    assert (moved["bbox"], moved["area"]) == ([8 + 6, 4 + 4, 10, 6], 60)
    assert (moved["id"], moved["image_id"], moved["category_id"]) == (1, 1, 2)
    corners = [40.0, 4.0, 48.0, 4.0, 48.0, 10.0, 40.0, 10.0]
    data["annotations"] = [{**data["annotations"][0], "segmentation": [corners]}]
    (moved,) = move_masks(data)
    mask = mask_api.decode(mask_api.merge(mask_api.frPyObjects(moved["segmentation"], 32, 48)))
    expected = np.zeros((32, 48), np.uint8)
    expected[8:14, 46:] = expected[8:14, :6] = 1
    assert (mask == expected).all()


@pytest.mark.parametrize("control", ["labels", "masks"])
def test_the_images_stay_as_they_are(control, source, tmp_path):
    out = build_control(tmp_path / "out", source, control)
    data = read_lvis(out / "annotations.json")
    validate_lvis(data, out)
    for image in data["images"]:
        name = image["coco_url"]
        assert (out / name).read_bytes() == (source / name).read_bytes()
    assert json.loads((out / "dataset.json").read_text())["kind"] == "judge control"
    assert build_control(out, source, control) == out


def test_images_go_through_the_models_autoencoder(source, tmp_path, tiny_sd_folder):
    out = build_control(tmp_path / "out", source, "vae", tiny_sd_folder)
    data, before = (read_lvis(f / "annotations.json") for f in (out, source))
    assert (data["annotations"], data["images"]) == (before["annotations"], before["images"])
    pictures = [cv2.imread(str(f / "images/000000000001.jpg")) for f in (out, source)]
    assert pictures[0].shape == pictures[1].shape
    # Random weights keep nothing of an image, its size apart.
    assert abs(pictures[0].astype(int) - pictures[1]).mean() > 10
    weights = json.loads((out / "dataset.json").read_text())["parameters"]["weights_sha256"]
    assert len(weights) == 64


def write_manifest(folder: Path, *lines: dict) -> None:
    (folder / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


LINE = dict(
    file_name="images/000000000001.jpg",
    layout=dict(height=32, width=48),
    source_file_name="real/a.png",
    view=dict(scaled=[40, 96], corner=[8, 40], mirrored=True),
)


def test_real_parts_take_the_place_of_what_was_painted_over_them(source, tmp_path):
    real = tmp_path / "photos/real/a.png"
    real.parent.mkdir(parents=True)
    picture = np.zeros((40, 96, 3), np.uint8)
    picture[8:24, 40:64] = (0, 128, 255)  # the upper left quarter of the part
    cv2.imwrite(str(real), picture)
    data = read_lvis(source / "annotations.json")
    data["images"] = data["images"][:1]
    data["annotations"] = data["annotations"][:4]
    (source / "annotations.json").write_text(json.dumps(data))
    write_manifest(source, LINE, dict(index=1))  # the second canvas became no image
    out = build_control(tmp_path / "out", source, "real", real_images=tmp_path / "photos")
    assert read_lvis(out / "annotations.json")["annotations"] == data["annotations"]
    found = cv2.imread(str(out / "images/000000000001.jpg")).astype(int)
    expected = np.zeros((32, 48, 3), int)
    expected[:16, 24:] = (0, 128, 255)  # mirrored
    assert np.abs(found - expected).mean() < 3
    real.unlink()
    with pytest.raises(InputError, match="image real/a.png of .*photos cannot be read"):
        build_control(tmp_path / "new", source, "real", real_images=tmp_path / "photos")


@pytest.mark.parametrize(
    "line, message",
    [
        ({**LINE, "view": None}, "manifest.jsonl line 1 names no part of a real image"),
        ({**LINE, "view": dict(scaled=[40, 80], corner=[8, 40], mirrored=0)}, "line 1 names no"),
        ([3], r"line 1 is \[3\]; expected an object"),
        ({**LINE, "file_name": "images/x.jpg"}, "the manifest lacks images/000000000001.jpg"),
        ({**LINE, "source_file_name": "../a.png"}, "is not a path inside the dataset"),
    ],
)
def test_manifests_that_name_no_real_part(line, message, source, tmp_path):
    write_manifest(source, line)
    with pytest.raises(InputError, match=message):
        build_control(tmp_path / "out", source, "real", real_images=tmp_path)
    (source / "manifest.jsonl").unlink()
    with pytest.raises(InputError, match="manifest.jsonl cannot be read"):
        build_control(tmp_path / "out", source, "real", real_images=tmp_path)


def test_bad_arguments_are_named(source, tmp_path, tiny_sd_folder):
    out = tmp_path / "out"
    with pytest.raises(InputError, match="unknown control 'blur': expected one of labels"):
        build_control(out, source, "blur")
    with pytest.raises(InputError, match="control 'vae' with model None: expected one for 'vae'"):
        build_control(out, source, "vae")
    with pytest.raises(InputError, match="control 'masks' with model x: expected one for 'vae'"):
        build_control(out, source, "masks", "x")
    with pytest.raises(InputError, match="control 'real' with real images None: expected some"):
        build_control(out, source, "real")
    (source / "images/000000000002.jpg").unlink()
    with pytest.raises(InputError, match="000000000002.jpg cannot be read"):
        build_control(out, source, "labels")
    assert not out.exists()
