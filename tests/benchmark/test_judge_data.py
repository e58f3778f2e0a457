"""The judge's data: every style, fresh images for calibration, kept apart from training data."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from mf_plugin.benchmark.judge_data import build_judge_split, compose_mosaic, cut_part, soften
from mf_plugin.errors import InputError
from mf_plugin.lvis.compose import Instance
from mf_plugin.lvis.io import read_lvis, validate_lvis
from mf_plugin.lvis.sprites import STYLES, load_sprites, preset_categories, styles_of
from mf_plugin.seggen.colormap import MIN_AREA

SIZE = (80, 96)


def hashes(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def train(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("judge") / "train"
    return build_judge_split(folder, "train", num_images=24, size=SIZE)


def test_it_is_an_lvis_folder_of_compositions_and_mosaics(train):
    data = read_lvis(train / "annotations.json")
    validate_lvis(data, train)
    assert [i["id"] for i in data["images"]] == list(range(400_001, 400_025))
    larger = {i["id"] for i in data["images"] if (i["height"], i["width"]) == (120, 144)}
    assert all((i["height"], i["width"]) == SIZE for i in data["images"] if i["id"] not in larger)
    assert [c["id"] for c in data["categories"]] == [c["id"] for c in preset_categories("demo")]
    objects = Counter(a["image_id"] for a in data["annotations"])
    assert set(objects) == {i["id"] for i in data["images"]}
    assert {n for image, n in objects.items() if image not in larger} == {3, 4, 5}
    assert {objects[image] for image in larger} == {9}


def test_categories_are_drawn_uniformly(tmp_path):
    """150 images of 5 objects on average, 30 categories: 26 each, less than 5 sigma away."""
    folder = build_judge_split(tmp_path / "x", "train", num_images=150, size=SIZE)
    data = read_lvis(folder / "annotations.json")
    counts = np.array([c["instance_count"] for c in data["categories"]])
    assert counts.sum() == len(data["annotations"])
    assert abs(counts - counts.mean()).max() < 5 * np.sqrt(counts.mean())


def test_it_says_what_it_is(train):
    dataset = json.loads((train / "dataset.json").read_text())
    assert (dataset["generator"], dataset["kind"]) == ("mini-LVIS judge", "judge")
    assert dataset["counts"]["images"] == 24
    for kind in ("soft_images", "mosaics"):
        assert 4 <= dataset["counts"][kind] <= 20  # half, within 3.3 sigma
    assert dataset["parameters"]["weights_sha256"] is None
    for category_id, styles in dataset["styles"].items():
        assert styles == [s for s in STYLES if s in styles_of(int(category_id))]
    assert {"noto", "noto-v1"} <= {s for styles in dataset["styles"].values() for s in styles}


def test_the_same_seed_gives_the_same_bytes_and_calibration_others(train, tmp_path):
    again = build_judge_split(tmp_path / "again", "train", num_images=24, size=SIZE)
    assert hashes(again) == hashes(train)
    other = build_judge_split(tmp_path / "other", "calibration", num_images=24, size=SIZE)
    assert read_lvis(other / "annotations.json")["images"][0]["id"] == 500_001
    pictures = {h for name, h in hashes(other).items() if name.endswith(".jpg")}
    assert len(pictures) == 24 and not pictures & set(hashes(train).values())
    seeded = build_judge_split(tmp_path / "seeded", "train", seed=1, num_images=24, size=SIZE)
    assert not set(hashes(seeded).values()) & set(hashes(train).values())


def test_parts_of_scenes_show_what_is_in_sight(tmp_path):
    rng = np.random.default_rng(3)
    image = np.zeros((40, 40, 3), np.uint8)
    large, corner = np.zeros((2, 40, 40), bool)
    large[10:30, 10:30] = True
    corner[:5, :6] = True  # 30 pixels
    image[large] = 200
    scene = [Instance(1, large, 400), Instance(2, corner, 30)]
    found = [cut_part(rng, image, scene, zoom=2.0) for _ in range(20)]
    for part, seen in found:
        assert part.shape == image.shape
        assert (part[seen[0].mask] > 90).all() and all(i.mask.sum() >= MIN_AREA for i in seen)
        assert seen[0].full_area == seen[0].mask.sum() >= 400
    assert {len(seen) for _, seen in found} == {1, 2}
    folder = build_judge_split(tmp_path / "x", "train", num_images=6, size=SIZE, zoom=1.5)
    validate_lvis(read_lvis(folder / "annotations.json"), folder)
    with pytest.raises(InputError, match="zoom is 0.5; expected 1 to 16"):
        build_judge_split(tmp_path / "y", "train", zoom=0.5)


def test_a_mosaic_has_an_object_in_each_of_four_cells():
    ids = [c["id"] for c in preset_categories("demo")[:4]]
    sprites = {c: {s: p for (_, s), p in load_sprites(STYLES, [c]).items()} for c in ids}
    centres = set()
    for seed in range(8):
        rng = np.random.default_rng(seed)
        image, instances = compose_mosaic(rng, ids, sprites, (64, 96))
        assert image.shape == (64, 96, 3) and image.dtype == np.uint8
        assert [i.category_id for i in instances] == ids
        masks = np.stack([i.mask for i in instances])
        assert masks.shape == (4, 64, 96) and masks.sum(0).max() == 1
        assert [i.full_area for i in instances] == masks.sum((1, 2)).tolist()
        # Cells meet at 24 to 40 and 36 to 60: the objects keep clear of each other.
        boxes = [[np.flatnonzero(m.any(axis)) for axis in (1, 0)] for m in masks]
        top, bottom = [max(b[0][-1] for b in boxes[:2]), min(b[0][0] for b in boxes[2:])]
        left, right = [max(b[1][-1] for b in boxes[::2]), min(b[1][0] for b in boxes[1::2])]
        assert top < bottom and left < right and top < 40 <= bottom + 16 and left < 60
        centres.add((bottom, right))
        for mask in masks:  # most of its cell, which is 24 x 36 at least
            assert mask.sum() > 0.1 * 24 * 36
    assert len(centres) > 1


def test_a_mosaic_may_have_nine_cells():
    ids = [c["id"] for c in preset_categories("demo")[:9]]
    sprites = {c: {s: p for (_, s), p in load_sprites(STYLES, [c]).items()} for c in ids}
    image, instances = compose_mosaic(np.random.default_rng(0), ids, sprites, (96, 96))
    assert image.shape == (96, 96, 3) and [i.category_id for i in instances] == ids
    centres = [np.argwhere(i.mask).mean(0) // 32 for i in instances]
    assert np.array(centres).tolist() == [[y, x] for y in range(3) for x in range(3)]


def test_a_model_softens_images(train, tmp_path, tiny_sd_folder):
    folder = build_judge_split(
        tmp_path / "x", "train", num_images=24, size=SIZE, model=tiny_sd_folder
    )
    found, plain = (json.loads((f / "dataset.json").read_text()) for f in (folder, train))
    assert len(found["parameters"]["weights_sha256"]) == 64
    assert found["counts"] == plain["counts"]
    # Only soft images differ; the annotations are the same.
    before, after = (hashes(f) for f in (train, folder))
    changed = [n for n in before if n.endswith(".jpg") and before[n] != after[n]]
    assert len(changed) == found["counts"]["soft_images"]
    assert before["annotations.json"] == after["annotations.json"]


def test_softening_takes_detail_and_leaves_colour():
    fine = np.zeros((16, 24, 3), np.uint8)
    fine[:, ::2] = 200
    soft = soften(np.random.default_rng(0), fine)
    assert soft.shape == fine.shape and soft.dtype == np.uint8
    assert abs(soft.astype(int) - 100).max() <= 3
    red = np.full((16, 24, 3), (200, 30, 60), np.uint8)
    assert abs(soften(np.random.default_rng(0), red).astype(int) - red).max() <= 3


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("val",), "unknown split 'val': expected one of train, calibration"),
        (("train", "demo", -1), "seed is -1: expected 0 or more"),
        (("train", "demo", 0, 0), "num_images is 0: expected 1 or more"),
        (("train", "some"), "unknown preset 'some'"),
    ],
)
def test_bad_arguments_are_named(arguments, message, tmp_path):
    with pytest.raises(InputError, match=message):
        build_judge_split(tmp_path / "out", *arguments)
    assert not (tmp_path / "out").exists()


def test_a_folder_with_other_parameters_is_left_alone(train):
    with pytest.raises(InputError, match="holds mini-LVIS judge with num_images 24, asked for 2"):
        build_judge_split(train, "train", num_images=2, size=SIZE)
