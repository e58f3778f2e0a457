from __future__ import annotations

import dataclasses
import itertools
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from mf_plugin.errors import InputError
from mf_plugin.evaluation.faithfulness import count_overlaps, mean_iou
from mf_plugin.evaluation.segmenter import Segmenter, SegmenterConfig, train_segmenter
from mf_plugin.evaluation.valid_instances import load_dataset, load_detections

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

COLORS = {3: (200, 30, 30), 8: (30, 30, 200)}
SIZE = (48, 64)  # height, width


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Red things of category 3, blue ones of category 8, on grey; one of each in an image."""
    folder = tmp_path_factory.mktemp("shapes")
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for image_id in range(1, 13):
        pixels = np.full((*SIZE, 3), 128, np.uint8)
        for category_id, left in ((3, 0), (8, 32)):
            x, y = left + int(rng.integers(0, 8)), int(rng.integers(0, 24))
            pixels[y : y + 24, x : x + 24] = COLORS[category_id]
            box = [x, y, 24, 24]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": category_id,
                    "bbox": box,
                    "area": 576,
                    "segmentation": [[x, y, x + 24, y, x + 24, y + 24, x, y + 24]],
                }
            )
        Image.fromarray(pixels).save(folder / f"{image_id}.png")
        images.append(
            {
                "id": image_id,
                "file_name": f"{image_id}.png",
                "coco_url": f"{image_id}.png",
                "height": SIZE[0],
                "width": SIZE[1],
                "neg_category_ids": [],
                "not_exhaustive_category_ids": [],
            }
        )
    categories = [
        {"id": i, "name": name, "frequency": "r", "image_count": 12, "instance_count": 12}
        for i, name in ((3, "red_thing"), (8, "blue_thing"))
    ]
    for category in categories:
        category |= {
            "synset": f"{category['name']}.n.01",
            "synonyms": [category["name"]],
            "def": "",
        }
    data = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(data))
    return folder


@pytest.fixture(scope="module")
def config(dataset):
    return SegmenterConfig(
        datasets=(str(dataset),),
        side=64,
        crop=32,
        scales=(0.8, 1.2),
        iterations=120,
        batch_size=8,
        learning_rate=5e-3,
        weight_decay=0.01,
        widths=(8, 8, 16, 16),
        head_width=16,
        checkpoint_every=2,
    )


@pytest.fixture(scope="module")
def trained(dataset, config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("segmenter")
    losses = [loss for _, loss in train_segmenter(config, [load_dataset(dataset)], folder)]
    assert len(losses) == 120
    return folder / "model"


def test_a_trained_one_sees_the_masks(dataset, trained):
    truth = load_dataset(dataset)
    seen = list(Segmenter(trained).detect(truth, dataset))
    assert len(seen) == 12

    def miou(entries):
        overlaps = count_overlaps(truth, load_detections(entries, truth), 0.0)
        return float(mean_iou(overlaps, np.ones((1, 12)))[0])

    entries = [entry for some in seen for entry in some]
    assert miou(entries) > 0.8
    of_the_next = [{**entry, "image_id": entry["image_id"] % 12 + 1} for entry in entries]
    assert miou(of_the_next) < 0.7


@pytest.mark.parametrize("size", [(48, 64), (33, 70), (100, 40)])
def test_labels_have_the_size_of_the_image(trained, size):
    label, probability = Segmenter(trained, side=64).segment(np.full((*size, 3), 128, np.uint8))
    assert label.shape == probability.shape == size
    assert label.dtype == np.uint8 and probability.max() <= 1
    assert not label.any()  # grey is the background


def test_a_mirrored_image_is_seen_mirrored(dataset, trained):
    # 64 px wide at side 64: nothing is added at the right, so both readings are of one image.
    image = np.asarray(Image.open(dataset / "1.png"))
    segmenter = Segmenter(trained)
    plain, mirrored = segmenter.segment(image)[0], segmenter.segment(image[:, ::-1])[0]
    assert (plain == mirrored[:, ::-1]).all()


def test_stopped_and_gone_on_it_is_the_same_to_the_bit(dataset, config, tmp_path):
    config = dataclasses.replace(config, iterations=6)
    sources = [load_dataset(dataset)]
    whole = list(train_segmenter(config, sources, tmp_path / "whole"))
    first = list(itertools.islice(train_segmenter(config, sources, tmp_path / "parts"), 5))
    rest = list(train_segmenter(config, sources, tmp_path / "parts"))
    assert first == whole[:5]
    assert rest == whole[4:]  # from the checkpoint of iteration 4
    weights = [tmp_path / name / "model/model.safetensors" for name in ("whole", "parts")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    with pytest.raises(InputError, match=r"checkpoint\.pt is of the config"):
        next(train_segmenter(dataclasses.replace(config, seed=1), sources, tmp_path / "parts"))


def test_bad_input_is_one_error(dataset, config, trained, tmp_path):
    with pytest.raises(InputError, match="crop is 48; expected a multiple of 32 up to side"):
        dataclasses.replace(config, crop=48)
    with pytest.raises(InputError, match="batch_size 1; expected 1 and 2 or more"):
        dataclasses.replace(config, batch_size=1)
    with pytest.raises(InputError, match=r"segmenter\.json: no such file"):
        Segmenter(tmp_path)

    other = tmp_path / "other"
    shutil.copytree(dataset, other)
    data = json.loads((other / "annotations.json").read_text())
    (other / "7.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"7\.png: .* expected an image"):
        list(Segmenter(trained).detect(load_dataset(other), other))
    for record in data["annotations"] + data["categories"]:
        key = "category_id" if "category_id" in record else "id"
        record[key] += 1
    (other / "annotations.json").write_text(json.dumps(data))
    both = [load_dataset(dataset), load_dataset(other)]
    with pytest.raises(InputError, match="other categories than"):
        next(train_segmenter(config, both, tmp_path / "run"))
    with pytest.raises(InputError, match="other categories than the segmenter was trained for"):
        next(Segmenter(trained).detect(both[1], other))
