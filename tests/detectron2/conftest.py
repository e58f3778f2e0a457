"""Tiny LVIS folders, made by hand: coloured squares on grey, 64 x 64."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
CATEGORIES = ((7, "cup", "f"), (2, "anvil", "r"), (5, "bow", "c"))  # labels are by id: 2, 5, 7
COLORS = {"cup": (0, 0, 255), "anvil": (0, 255, 0), "bow": (255, 0, 0)}
CONTENTS = (("cup",), ("cup", "anvil"), ("cup", "bow", "cup"), ("bow",))


def make_lvis(
    contents: Sequence[Sequence[str]] = CONTENTS,
    categories: Sequence[tuple[int, str, str]] = CATEGORIES,
    first_id: int = 1,
) -> dict:
    """An LVIS json with one image per list of category names, a square per object."""
    id_of = {name: i for i, name, _ in categories}
    images, annotations = [], []
    for image_id, names in enumerate(contents, first_id):
        for k, name in enumerate(names):
            x, y, size = 4 + 20 * k, 10 + 12 * k, 18
            corners = [x, y, x + size, y, x + size, y + size, x, y + size]
            annotations.append(
                dict(
                    id=len(annotations) + first_id,
                    image_id=image_id,
                    category_id=id_of[name],
                    bbox=[x, y, size, size],
                    area=size * size,
                    segmentation=[[float(v) for v in corners]],
                )
            )
        path = f"images/{image_id:012d}.jpg"
        images.append(
            dict(
                id=image_id,
                height=64,
                width=64,
                coco_url=path,
                file_name=path,
                neg_category_ids=[],
                not_exhaustive_category_ids=[],
            )
        )
    counts = {i: sum(name in names for names in contents) for i, name, _ in categories}
    return dict(
        info={},
        licenses=[],
        images=images,
        annotations=annotations,
        categories=[
            dict(
                id=i,
                name=name,
                synset=f"{name}.n.01",
                synonyms=[name],
                frequency=frequency,
                image_count=counts[i],
                instance_count=1,
                **{"def": ""},
            )
            for i, name, frequency in categories
        ],
    )


def write_lvis(folder: Path, synthetic: bool = False, **kwargs) -> Path:
    """`make_lvis` as a folder with its images; a synthetic one has a dataset.json."""
    data = make_lvis(**kwargs)
    names = {c["id"]: c["name"] for c in data["categories"]}
    (folder / "images").mkdir(parents=True)
    for image in data["images"]:
        pixels = np.full((64, 64, 3), 90, dtype=np.uint8)
        for annotation in data["annotations"]:
            if annotation["image_id"] == image["id"]:
                x, y, w, h = annotation["bbox"]
                pixels[y : y + h, x : x + w] = COLORS.get(names[annotation["category_id"]], 0)
        cv2.imwrite(str(folder / image["coco_url"]), pixels)
    (folder / "annotations.json").write_text(json.dumps(data))
    if synthetic:
        (folder / "dataset.json").write_text(json.dumps({"config_hash": "x", "config": {}}))
    return folder


@pytest.fixture()
def lvis_folder() -> Callable[..., Path]:
    return write_lvis


@pytest.fixture()
def lvis_json() -> Callable[..., dict]:
    return make_lvis


@pytest.fixture()
def real(tmp_path: Path) -> Path:
    """Folder with train/ and val/, four images each."""
    write_lvis(tmp_path / "data/train")
    write_lvis(tmp_path / "data/val")
    return tmp_path / "data"


@pytest.fixture()
def synthetic(tmp_path: Path) -> Path:
    """A synthetic dataset: two images of the rare category."""
    return write_lvis(
        tmp_path / "synthetic", True, contents=[["anvil"], ["anvil", "anvil"]], first_id=1000
    )


@pytest.fixture()
def catalogs():
    """detectron2's catalogs as they were before the test."""
    pytest.importorskip("detectron2", reason="Detectron2 is not installed")
    from detectron2.data import DatasetCatalog, MetadataCatalog

    from mf_plugin.detectron2 import catalog

    before = [dict(c) for c in (DatasetCatalog, MetadataCatalog)], dict(catalog._registered)
    yield DatasetCatalog, MetadataCatalog
    for store, content in zip((DatasetCatalog, MetadataCatalog), before[0]):
        store.clear()
        store.update(content)
    catalog._registered.clear()
    catalog._registered.update(before[1])


@pytest.fixture()
def tiny_config(tmp_path: Path, real: Path) -> Callable[[str], Path]:
    """The demo's config of a detector, cut down to two steps of a very small one."""

    def write(detector: str = "mask-rcnn") -> Path:
        base = ROOT / f"configs/detectron2/{detector}_r18_fpn_minilvis-demo.yaml"
        text = f"""
_BASE_: {str(base)!r}
MODEL:
  RESNETS: {{STEM_OUT_CHANNELS: 8, RES2_OUT_CHANNELS: 8}}
  FPN: {{OUT_CHANNELS: 32}}
  ROI_HEADS: {{NUM_CLASSES: 3}}
  ROI_BOX_HEAD: {{FC_DIM: 32, FED_LOSS_NUM_CAT: 2, FED_LOSS_NUM_CLASSES: 2}}
  ROI_MASK_HEAD: {{CONV_DIM: 8}}
INPUT: {{MIN_SIZE_TRAIN: [64], MAX_SIZE_TRAIN: 64, MIN_SIZE_TEST: 64, MAX_SIZE_TEST: 64}}
MOSAICFUSION:
  REAL_DATASETS: [[tiny_train, train], [tiny_val, val]]
  DATA_ROOT: {str(real)!r}
DATASETS: {{TRAIN: [tiny_train], TEST: [tiny_val]}}
DATALOADER: {{REPEAT_THRESHOLD: 0.75}}
TEST: {{DETECTIONS_PER_IMAGE: 5}}
SOLVER: {{IMS_PER_BATCH: 2, MAX_ITER: 2, WARMUP_ITERS: 1, CHECKPOINT_PERIOD: 1}}
"""
        if detector == "mask-rcnn":
            text = text.replace(", FED_LOSS_NUM_CAT: 2", "")
        path = tmp_path / f"tiny_{detector}.yaml"
        path.write_text(text)
        return path

    return write
