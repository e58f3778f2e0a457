"""Of several images over one colour map, which a detector's masks choose."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as mask_api

from mf_plugin.errors import InputError
from mf_plugin.evaluation.consistency import ConsistencyConfig
from mf_plugin.evaluation.variants import choose_variants
from mf_plugin.generation.finished import read_finished
from mf_plugin.generation.records import CanvasResult, ObjectResult, encode_canvas
from mf_plugin.generation.store import DatasetStore
from mf_plugin.lvis.io import read_lvis, validate_lvis

DOG, CAT = 2, 5
CATEGORIES = [
    {"id": DOG, "name": "dog", "frequency": "f"},
    {"id": CAT, "name": "cat", "frequency": "r"},
]


def square(top: int, left: int, side: int) -> np.ndarray:
    mask = np.zeros((20, 20), bool)
    mask[top : top + side, left : left + side] = True
    return mask


DOG_MASK, CAT_MASK = square(0, 0, 10), square(10, 10, 8)
MAPS = [[(DOG, DOG_MASK), (CAT, CAT_MASK)], [(CAT, CAT_MASK)]]


def write_dataset(folder: Path, variants: int) -> Path:
    """Each of two maps ``variants`` times: canvases, and with them image ids, count through."""
    image = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    store = DatasetStore(
        folder,
        identity={"config": {}, "config_hash": "c"},
        environment={"versions": {}},
        categories=CATEGORIES,
    )
    canvases = [(objects, v) for objects in MAPS for v in range(variants)]
    with store:
        for index, (objects, variant) in enumerate(canvases):
            planned = {"index": index, "group": index, "source_image_id": 40}
            planned |= {"category_ids": [id_ for id_, _ in objects], "caption": "a cat"}
            if variant:
                planned["variant"] = variant
            results = tuple(ObjectResult(id_, "a cat", mask) for id_, mask in objects)
            store.add(index, [encode_canvas(CanvasResult(planned, image, results), 95)])
        store.finalise(len(canvases), {})
    return folder


def detection(image_id: int, category_id: int, mask: np.ndarray) -> dict:
    rle = mask_api.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {
        "image_id": image_id,
        "category_id": category_id,
        "score": 0.9,
        "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
    }


@pytest.fixture
def results(tmp_path) -> Path:
    """Of map 0 (images 1 to 3), mean agreement by mask: 0.5, 0.9, 1; by category: 0.5, 0.9, 0.5.

    Of map 1 (images 4 to 6) nothing is seen in the first, and the same in both others.
    """
    nine_tenths = DOG_MASK.copy()
    nine_tenths[:, 8:] = False
    found = [
        detection(1, DOG, DOG_MASK),
        detection(2, DOG, nine_tenths),
        detection(2, CAT, CAT_MASK),
        detection(3, DOG, DOG_MASK),
        detection(3, DOG, CAT_MASK),
        detection(5, CAT, CAT_MASK),
        detection(6, CAT, CAT_MASK),
    ]
    path = tmp_path / "results.segm.json"
    path.write_text(json.dumps(found))
    return path


@pytest.mark.parametrize("match, kept", [("category", [2, 5]), ("mask", [3, 5])])
def test_the_best_image_of_each_map_stays_whole(tmp_path, results, match, kept):
    folder = write_dataset(tmp_path / "set", 3)
    config = ConsistencyConfig(match=match)
    out = choose_variants(folder, results, tmp_path / "out", config)
    data = read_lvis(out / "annotations.json")
    validate_lvis(data, out)
    assert [image["id"] for image in data["images"]] == kept
    assert [a["image_id"] for a in data["annotations"]] == [kept[0], kept[0], kept[1]]
    assert all(image["not_exhaustive_category_ids"] == [] for image in data["images"])
    assert sorted(path.name for path in (out / "images").iterdir()) == [
        f"{image_id:012d}.jpg" for image_id in kept
    ]
    provenance = json.loads((out / "dataset.json").read_text())
    assert provenance["rejections"] == {"other_variant": 6}
    assert provenance["derived"]["reason"] == "other_variant"
    assert provenance["derived"]["other_variant"] == 6
    assert read_finished(out).records[0]["outcome"] == "rejected"


def test_bad_input(tmp_path, results):
    single = write_dataset(tmp_path / "single", 1)
    with pytest.raises(InputError, match="one image of each colour map; expected several"):
        choose_variants(single, results, tmp_path / "out", ConsistencyConfig())
    with pytest.raises(InputError, match="mark is True; expected False"):
        choose_variants(single, results, tmp_path / "out", ConsistencyConfig(mark=True))
    assert not (tmp_path / "out").exists()
