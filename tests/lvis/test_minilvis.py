from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as mask_utils

from mf_plugin.errors import InputError
from mf_plugin.lvis import minilvis_files
from mf_plugin.lvis.compose import compose_image
from mf_plugin.lvis.io import read_lvis, validate_lvis
from mf_plugin.lvis.minilvis import SPLITS, build_split
from mf_plugin.lvis.minilvis_plan import frequency_group
from mf_plugin.lvis.polygons import mask_to_polygons
from mf_plugin.lvis.sprites import TRAIN_STYLES, load_sprites, preset_categories

SMALL = dict(num_images=10, size=(96, 96))


@pytest.fixture(scope="module")
def train(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("minilvis") / "train"
    return build_split(folder, "train", num_images=420, size=(128, 128))


@pytest.fixture(scope="module")
def val(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("minilvis") / "val"
    return build_split(folder, "val", num_images=40, size=(128, 128))


@pytest.mark.parametrize("split", SPLITS)
def test_a_split_opens_the_archives_of_its_own_styles_alone(split, tmp_path, opened_archives):
    statement = (
        "from mf_plugin.lvis.minilvis import build_split\n"
        f"build_split({str(tmp_path / split)!r}, {split!r}, num_images=8, size=(48, 48))"
    )
    assert opened_archives(statement) == sorted(SPLITS[split])


def test_single_objects_of_the_training_styles_open_no_held_out_archive(opened_archives):
    statement = (
        "import numpy as np\n"
        "from mf_plugin.lvis.minilvis import compose_single\n"
        "from mf_plugin.lvis.sprites import TRAIN_STYLES, load_sprites\n"
        "for sprite in list(load_sprites(TRAIN_STYLES).values())[:20]:\n"
        "    compose_single(np.random.default_rng(0), sprite)"
    )
    assert opened_archives(statement) == sorted(TRAIN_STYLES)


def test_no_two_splits_share_a_style():
    assert sum(map(len, SPLITS.values())) == len(set().union(*SPLITS.values())) == 7


def test_counting_the_train_split_gives_lvis_groups(train):
    data = read_lvis(train / "annotations.json")
    images = defaultdict(set)
    for a in data["annotations"]:
        images[a["category_id"]].add(a["image_id"])

    for category in data["categories"]:
        assert category["image_count"] == len(images[category["id"]])
        assert frequency_group(category["image_count"]) == category["frequency"]

    expected = [(c["id"], c["name"], c["frequency"]) for c in preset_categories("demo")]
    assert [(c["id"], c["name"], c["frequency"]) for c in data["categories"]] == expected
    assert [c["id"] for c in data["categories"]] == sorted(c["id"] for c in data["categories"])


def test_rare_categories_are_trained_in_one_style_and_others_in_all(train):
    styles = json.loads((train / "dataset.json").read_text())["styles"]
    for category in preset_categories("demo"):
        count = len(styles[str(category["id"])])
        assert count == 1 if category["frequency"] == "r" else count > 1


@pytest.mark.parametrize("split", ["train", "val"])
def test_the_folder_is_valid_lvis(split, request):
    folder = request.getfixturevalue(split)
    data = read_lvis(folder / "annotations.json")

    validate_lvis(data, folder)

    for image in data["images"]:
        assert image["coco_url"] == image["file_name"] == f"images/{image['id']:012d}.jpg"
    assert cv2.imread(str(folder / data["images"][0]["file_name"])).shape == (128, 128, 3)
    assert len({a["id"] for a in data["annotations"]}) == len(data["annotations"])
    objects = np.bincount([a["image_id"] for a in data["annotations"]])
    assert objects[data["images"][0]["id"] :].min() >= 1 and objects.max() <= 8


@pytest.mark.parametrize("split", ["train", "val"])
def test_annotations_agree_with_their_polygons(split, request):
    data = read_lvis(request.getfixturevalue(split) / "annotations.json")
    for annotation in data["annotations"][:150]:
        rle = mask_utils.merge(mask_utils.frPyObjects(annotation["segmentation"], 128, 128))
        assert mask_utils.area(rle) == annotation["area"]
        assert list(mask_utils.toBbox(rle)) == annotation["bbox"]
        assert all(len(p) >= 6 for p in annotation["segmentation"])


@pytest.mark.parametrize("split", ["train", "val"])
def test_annotations_are_federated(split, request):
    data = read_lvis(request.getfixturevalue(split) / "annotations.json")
    positive = defaultdict(set)
    for a in data["annotations"]:
        positive[a["image_id"]].add(a["category_id"])
    for image in data["images"]:
        negative = set(image["neg_category_ids"])
        assert not negative & positive[image["id"]]
        assert set(image["not_exhaustive_category_ids"]) <= positive[image["id"]]
        if split == "train":
            assert 2 <= len(negative) <= 6
        else:
            assert 8 <= len(negative) <= 12  # 0.4 of 24 to 29 absent ones


def test_val_is_balanced_and_every_category_has_negatives(val):
    data = read_lvis(val / "annotations.json")
    counts = [c["image_count"] for c in data["categories"]]
    assert min(counts) == max(counts) == 5  # 40 images have no room for 10 of 30 categories
    negatives = np.bincount([c for i in data["images"] for c in i["neg_category_ids"]])
    assert min(negatives[c["id"]] for c in data["categories"]) >= 5


def test_polygons_keep_the_masks_of_real_sprites():
    sprites = list(load_sprites(TRAIN_STYLES[:2]).items())
    for seed in range(12):
        rng = np.random.default_rng(seed)
        chosen = [sprites[i] for i in rng.integers(len(sprites), size=5)]
        result = compose_image(rng, [(key[0], sprite) for key, sprite in chosen])
        for instance in result.instances:
            polygons = mask_to_polygons(instance.mask)
            rle = mask_utils.merge(mask_utils.frPyObjects(polygons, 160, 160))
            decoded = mask_utils.decode(rle) > 0
            union = np.count_nonzero(decoded | instance.mask)
            assert np.count_nonzero(decoded & instance.mask) >= 0.95 * union


def test_the_same_seed_gives_the_same_bytes(tmp_path, hashes):
    first = hashes(build_split(tmp_path / "a", "train", seed=3, **SMALL))
    again = hashes(build_split(tmp_path / "b", "train", seed=3, **SMALL))
    other = hashes(build_split(tmp_path / "c", "train", seed=4, **SMALL))
    assert first == again
    assert len(first) == 12
    assert all(first[name] != other[name] for name in first)


def test_a_finished_split_is_kept(tmp_path):
    folder = build_split(tmp_path / "a", "minival", **SMALL)
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    assert build_split(tmp_path / "a", "minival", **SMALL) == folder
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before


def test_a_split_of_other_parameters_is_not_overwritten(tmp_path, hashes):
    build_split(tmp_path / "a", "minival", **SMALL)
    before = hashes(tmp_path / "a")
    with pytest.raises(InputError, match="holds mini-LVIS with seed 0, asked for 1"):
        build_split(tmp_path / "a", "minival", seed=1, **SMALL)
    assert hashes(tmp_path / "a") == before


def test_a_folder_of_someone_else_is_not_touched(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="is not empty and no mini-LVIS"):
        build_split(tmp_path, "val", **SMALL)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_an_interrupted_build_leaves_nothing(tmp_path, monkeypatch):
    def fail(image):
        raise KeyboardInterrupt

    monkeypatch.setattr(minilvis_files, "jpeg", fail)
    with pytest.raises(KeyboardInterrupt):
        build_split(tmp_path / "a", "val", **SMALL)
    assert [p.name for p in tmp_path.iterdir() if not p.name.endswith(".lock")] == []


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(split="test"), "unknown split 'test': expected one of train, minival, val"),
        (dict(split="val", preset="huge"), "unknown preset 'huge'"),
        (dict(split="train", num_images=3), "num_images is 3: expected at least 8 for 30"),
        (dict(split="val", seed=-1), "seed is -1"),
        (dict(split="val", size=(8, 64)), "image size 8x64"),
    ],
)
def test_bad_input_is_named(arguments, message, tmp_path):
    with pytest.raises(InputError, match=message):
        build_split(tmp_path / "a", **arguments)
    assert not (tmp_path / "a").exists()
