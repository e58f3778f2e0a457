"""A real data set of four small images, and models of random weights for its four categories."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mf_plugin.seggen.gates import GateConfig
from mf_plugin.seggen.source import SourceConfig
from mf_plugin.seggen.synthesis import SegGenConfig

CATEGORIES = [
    {"id": 3, "name": "bath_towel", "frequency": "r"},
    {"id": 5, "name": "cat", "frequency": "r"},
    {"id": 9, "name": "bow_(weapon)", "frequency": "c"},
    {"id": 11, "name": "tub", "frequency": "f"},
]
IDS = tuple(category["id"] for category in CATEGORIES)
# image id -> (category id, left, top, right, bottom); images are 40 high, 60 wide
OBJECTS = {
    1: [(5, 0, 0, 20, 20), (5, 40, 0, 60, 40), (11, 20, 0, 40, 40)],
    2: [(9, 0, 0, 60, 40), (5, 20, 10, 40, 30)],
    4: [(11, 0, 0, 30, 40)],
    7: [],
}
CAPTIONS = {
    1: ["two cats beside a tub", "a room"],
    2: ["a cat on a bow"],
    4: ["a view of the mountains"],
}
SIZE = (32, 32)
WIDE = GateConfig(min_pixels=1, max_area=1, min_confidence=0, named=False, clean=1)


def write_real(folder: Path) -> Path:
    """An LVIS data set: ``annotations.json`` and ``images/``, and a COCO ``captions.json``."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for image_id, objects in OBJECTS.items():
        name = f"images/{image_id}.png"
        Image.fromarray(rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(folder / name)
        images.append(
            {
                "id": image_id,
                "coco_url": name,
                "height": 40,
                "width": 60,
                "neg_category_ids": [],
                "not_exhaustive_category_ids": [3] if image_id == 2 else [],
            }
        )
        for category_id, left, top, right, bottom in objects:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": category_id,
                    "segmentation": [[left, top, right, top, right, bottom, left, bottom]],
                    "area": (right - left) * (bottom - top),
                    "bbox": [left, top, right - left, bottom - top],
                }
            )
    data = {"images": images, "annotations": annotations, "categories": CATEGORIES}
    (folder / "annotations.json").write_text(json.dumps(data))
    said = [{"image_id": i, "caption": text} for i, texts in CAPTIONS.items() for text in texts]
    (folder / "captions.json").write_text(json.dumps({"annotations": said}))
    return folder


@pytest.fixture(scope="session")
def real_images(tmp_path_factory) -> Path:
    return write_real(tmp_path_factory.mktemp("real") / "train")


@pytest.fixture(scope="session")
def save_models(tiny_sd_folder) -> Callable[..., Path]:
    """Untrained models on the tiny Stable Diffusion."""

    def save(folder: Path, ids: tuple[int, ...] = IDS, kind: str = "instance") -> Path:
        torch = pytest.importorskip("torch")
        from mf_plugin.mosaic.components import load_components
        from mf_plugin.seggen.base import hash_base
        from mf_plugin.seggen.mask2img import build_controlnet
        from mf_plugin.seggen.palette import make_palette
        from mf_plugin.seggen.record import ModelRecord, write_base, write_record

        torch.manual_seed(5)
        base = load_components(tiny_sd_folder, "cpu", "fp32")
        for what in ("text2mask", "mask2img"):
            record = ModelRecord(
                what=what,
                base=write_base(tiny_sd_folder),
                base_sha256=hash_base(base, what),
                palette=make_palette(ids),
                kind=kind,
                size=SIZE,
            )
            if what == "text2mask":
                base.unet.save_pretrained(folder / what / "unet")
            else:
                network = build_controlnet(base, (8, 8))
                for parameter in network.parameters():  # zero layers would ignore the colour map
                    parameter.data += 0.02 * torch.randn_like(parameter)
                network.save_pretrained(folder / what / "controlnet")
            write_record(folder / what, record)
        return folder

    return save


@pytest.fixture(scope="session")
def models(tmp_path_factory, save_models) -> Path:
    return save_models(tmp_path_factory.mktemp("seggen"))


@pytest.fixture
def make_config(real_images) -> Callable[..., SegGenConfig]:
    """Two steps, tiny images, and gates that let nearly everything through."""

    def make(system: str = "imgsyn", **changes: Any) -> SegGenConfig:
        values: dict[str, Any] = dict(
            system=system,
            source=SourceConfig(
                "instance", annotations=real_images / "annotations.json", images=real_images
            ),
            mask2img="no/model",
            text2mask="no/model",
            size=SIZE,
            copies=2,
            text2mask_steps=2,
            text2mask_guidance=2.0,
            mask2img_steps=2,
            mask2img_guidance=2.0,
            gates=WIDE,
            group_size=3,
            seed=7,
        )
        return SegGenConfig(**{**values, **changes})

    return make
