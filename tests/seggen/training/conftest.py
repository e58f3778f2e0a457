"""A real data set of a few small images, and a config that trains on it in seconds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mf_plugin.seggen.palette import make_palette
from mf_plugin.seggen.source import SourceConfig
from mf_plugin.seggen.sources import read_source
from mf_plugin.seggen.training.config import SegGenTrainConfig

CATEGORIES = [{"id": 3, "name": "bath_towel"}, {"id": 5, "name": "cat"}, {"id": 9, "name": "tub"}]
# image id -> (category id, left, top, right, bottom); images are 32 high, 40 wide
OBJECTS = {
    1: [(5, 0, 0, 12, 12), (5, 20, 0, 40, 32)],
    2: [(9, 2, 2, 38, 30), (3, 10, 10, 20, 20)],
    4: [(9, 8, 0, 32, 30)],
    7: [(3, 4, 4, 30, 20), (5, 6, 22, 36, 32), (9, 31, 0, 40, 20)],
    8: [(5, 10, 10, 30, 30)],
}


def write_real(folder: Path, objects: dict[int, list[tuple[int, ...]]] = OBJECTS) -> SourceConfig:
    """An LVIS data set: annotations.json and images/."""
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for image_id, boxes in objects.items():
        name = f"images/{image_id}.png"
        pixels = np.full((32, 40, 3), 40 * (image_id % 5), np.uint8)
        for category_id, left, top, right, bottom in boxes:
            pixels[top:bottom, left:right] = rng.integers(0, 256, 3)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": category_id,
                    "segmentation": [[left, top, right, top, right, bottom, left, bottom]],
                    "bbox": [left, top, right - left, bottom - top],
                    "area": (right - left) * (bottom - top),
                }
            )
        Image.fromarray(pixels).save(folder / name)
        images.append({"id": image_id, "coco_url": name, "height": 32, "width": 40})
    data = {"images": images, "annotations": annotations, "categories": CATEGORIES}
    (folder / "annotations.json").write_text(json.dumps(data))
    return SourceConfig(
        format="instance", images=str(folder), annotations=str(folder / "annotations.json")
    )


@pytest.fixture(scope="session")
def real(tmp_path_factory) -> SourceConfig:
    return write_real(tmp_path_factory.mktemp("seggen") / "real")


@pytest.fixture(scope="session")
def source(real):
    return read_source(real)


@pytest.fixture(scope="session")
def palette():
    return make_palette([3, 5, 9])


@pytest.fixture()
def tiny_config(real, tiny_sd_folder):
    """A config by name of its changes: 4 steps of two passes of 2 images of 16 x 24 pixels."""

    def make(**changes: Any) -> SegGenTrainConfig:
        values = dict(
            what="text2mask",
            source=real,
            base=tiny_sd_folder,
            size=(16, 24),
            zoom=1.5,
            mirror=True,
            min_area=4,
            steps=4,
            batch_size=2,
            accumulate=2,
            lr=1e-2,
            warmup=2,
            decay=0.5,
            ema=0.9,
            empty_caption=0.3,
            log_every=1,
            checkpoint_every=1,
            keep_checkpoints=4,
            validation_images=2,
            validation_steps=2,
            save_dtype="fp32",
            seed=3,
        )
        return SegGenTrainConfig(**{**values, **changes})

    return make
