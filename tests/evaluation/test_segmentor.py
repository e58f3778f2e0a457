"""A judge of pixels on scenes of three flat colours, which a tiny U-Net learns in a minute."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from mf_plugin.errors import InputError
from mf_plugin.evaluation.faithfulness import count_overlaps, summarise_overlaps
from mf_plugin.evaluation.segmentor import (
    SegmentorConfig,
    as_results,
    draw_batches,
    load_segmentor,
    train_segmentor,
)
from mf_plugin.evaluation.valid_instances import load_dataset, load_detections

pytest.importorskip("segmentation_models_pytorch")

COLOURS = {1: (220, 40, 40), 2: (40, 200, 60), 3: (40, 60, 220)}
TINY = SegmentorConfig(
    steps=60, batch_size=8, side=64, scale=(0.8, 1.2), widths=(16, 16, 16, 16, 16)
)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Eight images of 96 x 80 with a square of each colour, as a dataset's content and a folder."""
    folder = tmp_path_factory.mktemp("scenes")
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for i in range(1, 9):
        pixels = np.full((80, 96, 3), 128, np.uint8)
        for place, category_id in enumerate(rng.permutation(3) + 1):
            y, x = int(rng.integers(4, 40)), 2 + 32 * place
            pixels[y : y + 28, x : x + 28] = COLOURS[int(category_id)]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": i,
                    "category_id": int(category_id),
                    "segmentation": [[x, y, x + 28, y, x + 28, y + 28, x, y + 28]],
                    "bbox": [x, y, 28, 28],
                    "area": 784,
                }
            )
        Image.fromarray(pixels).save(folder / f"{i}.png")
        images.append(
            {
                "id": i,
                "file_name": f"{i}.png",
                "width": 96,
                "height": 80,
                "neg_category_ids": [],
                "not_exhaustive_category_ids": [],
            }
        )
    categories = [{"id": c, "name": f"thing_{c}", "frequency": "r"} for c in COLOURS]
    return {"images": images, "annotations": annotations, "categories": categories}, folder


@pytest.fixture(scope="module")
def trained(scenes):
    return train_segmentor(load_dataset(scenes[0]), scenes[1], TINY)


def test_it_learns_what_each_pixel_shows(scenes, trained):
    dataset = load_dataset(scenes[0])
    results = as_results(trained, dataset, scenes[1])
    assert {r["score"] for r in results} == {1.0}
    overlaps = count_overlaps(dataset, load_detections(results, dataset), 0.5)
    assert summarise_overlaps(dataset, overlaps, num_draws=10)["miou"][0] > 0.8
    assert overlaps.wanted.sum() == 8 * 3 * 784


def test_categories_that_change_places_are_seen(scenes, trained):
    data, folder = scenes
    swapped = [{**a, "category_id": a["category_id"] % 3 + 1} for a in data["annotations"]]
    dataset = load_dataset({**data, "annotations": swapped})
    detections = load_detections(as_results(trained, dataset, folder), dataset)
    overlaps = count_overlaps(dataset, detections, 0.5)
    assert summarise_overlaps(dataset, overlaps, num_draws=10)["miou"][0] < 0.1


def test_any_size_of_image(trained):
    for height, width in ((1, 1), (33, 70), (64, 64)):
        labels = trained.segment(np.full((height, width, 3), 128, np.uint8))
        assert labels.shape == (height, width)
        assert labels.dtype == np.int64


def test_saved_and_loaded(tmp_path, trained):
    trained.save(tmp_path / "a" / "judge.pt")
    again = load_segmentor(tmp_path / "a" / "judge.pt")
    assert (again.category_ids, again.config) == (trained.category_ids, trained.config)
    image = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    assert np.array_equal(again.segment(image), trained.segment(image))


def test_every_image_is_drawn_once_before_any_is_drawn_again():
    images = [np.full((8, 8, 3), 20 * i, np.uint8) for i in range(4)]
    labels = [np.full((8, 8), i, np.uint16) for i in range(4)]
    config = SegmentorConfig(steps=3, batch_size=4, side=8)
    drawn = [
        sorted(targets[:, 0, 0].tolist()) for _, targets in draw_batches(images, labels, config)
    ]
    assert drawn == [[0, 1, 2, 3]] * 3


def test_parts_and_labels_stay_together():
    """A bright half with label 1: wherever the part is cut, pixels and labels agree."""
    image, labels = np.zeros((40, 60, 3), np.uint8), np.zeros((40, 60), np.uint16)
    image[:, 30:], labels[:, 30:] = 255, 1
    config = SegmentorConfig(steps=20, batch_size=4, side=32, scale=(0.5, 2.0))
    for parts, targets in draw_batches([image], [labels], config):
        assert parts.shape == (4, 32, 32, 3)
        bright = parts.mean(-1) > 127.5
        assert (bright == (targets == 1)).mean() > 0.93


def test_bad_input(tmp_path, scenes, trained):
    data, folder = scenes
    (tmp_path / "judge.pt").write_bytes(b"no weights")
    for path in (tmp_path / "judge.pt", tmp_path / "none.pt"):
        with pytest.raises(InputError, match=r"\.pt: expected a segmentor that was saved"):
            load_segmentor(path)
    fewer = {
        **data,
        "categories": data["categories"][:2],
        "annotations": [a for a in data["annotations"] if a["category_id"] < 3],
    }
    with pytest.raises(InputError, match="has 2 categories, the segmentor 3, or"):
        as_results(trained, load_dataset(fewer), folder)
    with pytest.raises(InputError, match=r"image .*1\.png cannot be read"):
        train_segmentor(load_dataset(data), tmp_path, TINY)
