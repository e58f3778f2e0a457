from __future__ import annotations

import copy
import json
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as mask_utils

from mf_plugin.data.provider import SyntheticDataset
from mf_plugin.errors import InputError
from mf_plugin.lvis import oracle
from mf_plugin.lvis.io import read_lvis, validate_lvis
from mf_plugin.lvis.oracle import Wanted, build_oracle, compose_wanted, wanted_images
from mf_plugin.lvis.sprites import TRAIN_STYLES, load_sprites, preset_categories, styles_of

RARE = [c["id"] for c in preset_categories("demo") if c["frequency"] == "r"]
FREQUENT = [c["id"] for c in preset_categories("demo") if c["frequency"] == "f"]
# Category ids of the objects of each image, and its size; the second image has no object.
CONTENTS = [
    ([RARE[0], RARE[0], FREQUENT[0]], (64, 96)),
    ([], (64, 64)),
    ([RARE[1]], (96, 64)),
    ([RARE[2], FREQUENT[1], RARE[0], FREQUENT[1]], (96, 96)),
]


def write_synthetic(folder: Path, contents=CONTENTS) -> Path:
    """A synthetic dataset of squares; the oracle reads its json alone."""
    images, annotations = [], []
    for image_id, (ids, (height, width)) in enumerate(contents, 1):
        name = f"images/{image_id:012d}.jpg"
        images.append(
            dict(
                id=image_id,
                file_name=name,
                coco_url=name,
                height=height,
                width=width,
                neg_category_ids=[],
                not_exhaustive_category_ids=[],
            )
        )
        for category_id in ids:
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=image_id,
                    category_id=category_id,
                    bbox=[2, 2, 8, 8],
                    area=64,
                    segmentation=[[2.0, 2.0, 10.0, 2.0, 10.0, 10.0, 2.0, 10.0]],
                )
            )
    categories = [dict(c, image_count=1, instance_count=1) for c in preset_categories("demo")]
    folder.mkdir()
    data = dict(images=images, annotations=annotations, categories=categories)
    (folder / "annotations.json").write_text(json.dumps(data))
    return folder


def objects_of(data: dict) -> list[tuple[int, int, list[int]]]:
    ids = defaultdict(list)
    for a in data["annotations"]:
        ids[a["image_id"]].append(a["category_id"])
    return [(i["height"], i["width"], sorted(ids[i["id"]])) for i in data["images"]]


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory) -> Path:
    return write_synthetic(tmp_path_factory.mktemp("oracle") / "synthetic")


@pytest.fixture(scope="module")
def built(synthetic) -> Path:
    return build_oracle(synthetic.parent / "oracle", synthetic)


def test_every_image_has_the_size_and_the_objects_of_its_synthetic_one(synthetic, built):
    data = read_lvis(built / "annotations.json")
    assert objects_of(data) == objects_of(read_lvis(synthetic / "annotations.json"))
    assert [i["id"] for i in data["images"]] == [300_001, 300_002, 300_003, 300_004]
    counts = {c["id"]: (c["image_count"], c["instance_count"]) for c in data["categories"]}
    assert counts[RARE[0]] == (2, 3) and counts[RARE[1]] == counts[RARE[2]] == (1, 1)
    assert counts[FREQUENT[0]] == (1, 1) and counts[FREQUENT[1]] == (1, 2)
    assert counts[RARE[3]] == (0, 0)
    assert list(counts) == [c["id"] for c in preset_categories("demo")]


def test_masks_are_exact_and_do_not_share_a_pixel(built):
    data = read_lvis(built / "annotations.json")
    validate_lvis(data, built)
    sizes = {i["id"]: (i["height"], i["width"]) for i in data["images"]}
    painted = {key: np.zeros(size, int) for key, size in sizes.items()}
    for a in data["annotations"]:
        rle = mask_utils.merge(mask_utils.frPyObjects(a["segmentation"], *sizes[a["image_id"]]))
        assert mask_utils.area(rle) == a["area"] >= 30
        assert list(mask_utils.toBbox(rle)) == a["bbox"]
        painted[a["image_id"]] += mask_utils.decode(rle)
    # a hole of up to 3 pixels is filled, through which another object may be seen
    assert sum(int((image > 1).sum()) for image in painted.values()) <= 6


def test_only_training_styles_are_opened(synthetic, tmp_path, opened_archives):
    statement = (
        "from mf_plugin.lvis.oracle import build_oracle\n"
        f"build_oracle({str(tmp_path / 'out')!r}, {str(synthetic)!r})"
    )
    assert opened_archives(statement) == sorted(TRAIN_STYLES)


def test_styles_are_recorded_object_by_object(built):
    provenance = json.loads((built / "dataset.json").read_text())
    assert (provenance["generator"], provenance["kind"]) == ("mini-LVIS oracle", "oracle")
    assert provenance["counts"] == {"images": 4, "annotations": 8}
    styles = provenance["styles"]
    assert set(styles) == {str(c) for c in (*RARE[:3], *FREQUENT[:2])}
    for category_id, drawn in styles.items():
        assert list(drawn) == [s for s in TRAIN_STYLES if s in styles_of(int(category_id))]
    assert sum(styles[str(RARE[0])].values()) == 3


def test_rare_categories_come_in_all_training_styles():
    styles = Counter()
    sprites = {RARE[0]: {s: p for (_, s), p in load_sprites(TRAIN_STYLES, [RARE[0]]).items()}}
    for index in range(40):
        composition, drawn = compose_wanted([0, index], Wanted((64, 64), (RARE[0],)), sprites)
        assert [i.category_id for i in composition.instances] == [RARE[0]]
        styles.update(style for _, style in drawn)
    assert set(styles) == {s for s in TRAIN_STYLES if s in styles_of(RARE[0])}


def test_the_folder_is_a_synthetic_dataset(built):
    assert SyntheticDataset(built).ensure() == built


def test_the_same_seed_gives_the_same_bytes(synthetic, built, tmp_path, hashes):
    assert hashes(build_oracle(tmp_path / "again", synthetic)) == hashes(built)
    other = hashes(build_oracle(tmp_path / "other", synthetic, seed=1))
    assert len(other) == 6 and all(other[name] != h for name, h in hashes(built).items())


def test_a_finished_oracle_is_kept_and_one_of_another_dataset_is_not(synthetic, tmp_path):
    out = build_oracle(tmp_path / "oracle", synthetic)
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    assert build_oracle(out, synthetic) == out
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*")} == before
    fewer = write_synthetic(tmp_path / "fewer", CONTENTS[:3])
    with pytest.raises(InputError, match="holds mini-LVIS oracle with num_images 4, asked for 3"):
        build_oracle(out, fewer)


def test_wanted_images_keep_the_order_of_the_json(synthetic):
    data = read_lvis(synthetic / "annotations.json")
    shuffled = copy.deepcopy(data)
    shuffled["annotations"].reverse()
    assert wanted_images(data) == wanted_images(shuffled)
    assert wanted_images(data)[2] == Wanted((96, 64), (RARE[1],))


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda d: d["categories"][0].update(name="axe"), "shows category 3 'axe'"),
        (lambda d: d["annotations"][0].update(image_id=99), "annotations.json: .*99"),
    ],
)
def test_bad_input_is_named(damage, message, tmp_path):
    folder = write_synthetic(tmp_path / "synthetic", [([3, RARE[0]], (64, 64))])
    data = json.loads((folder / "annotations.json").read_text())
    damage(data)
    (folder / "annotations.json").write_text(json.dumps(data))
    with pytest.raises(InputError, match=message):
        build_oracle(tmp_path / "out", folder)
    assert not (tmp_path / "out").exists()


def test_an_image_too_crowded_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(oracle, "ATTEMPTS", 4)
    folder = write_synthetic(tmp_path / "synthetic", [([RARE[0]] * 40, (32, 32))])
    with pytest.raises(InputError, match="40 objects cannot all be seen in an image of 32x32"):
        build_oracle(tmp_path / "out", folder)
    assert not (tmp_path / "out").exists()


def test_a_dataset_without_images_is_named(tmp_path):
    with pytest.raises(InputError, match="has no images: expected a synthetic dataset"):
        build_oracle(tmp_path / "out", write_synthetic(tmp_path / "synthetic", []))


def test_a_missing_dataset_and_a_bad_seed_are_named(synthetic, tmp_path):
    with pytest.raises(InputError, match="is not a file: expected an LVIS annotation json"):
        build_oracle(tmp_path / "out", tmp_path / "nothing")
    with pytest.raises(InputError, match="seed is -1"):
        build_oracle(tmp_path / "out", synthetic, seed=-1)
