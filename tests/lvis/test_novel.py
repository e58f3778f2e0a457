from __future__ import annotations

import copy
import json
import os

import pytest

from mf_plugin.errors import InputError
from mf_plugin.lvis.io import read_lvis, validate_lvis
from mf_plugin.lvis.minilvis import build_split
from mf_plugin.lvis.novel import build_novel, without_annotations

SQUARE = [[2.0, 2.0, 10.0, 2.0, 10.0, 10.0, 2.0, 10.0]]


def image(image_id, negative=(), not_exhaustive=()):
    name = f"images/{image_id:012d}.jpg"
    return dict(
        id=image_id,
        file_name=name,
        coco_url=name,
        height=32,
        width=32,
        neg_category_ids=list(negative),
        not_exhaustive_category_ids=list(not_exhaustive),
    )


def annotation(annotation_id, image_id, category_id):
    return dict(
        id=annotation_id,
        image_id=image_id,
        category_id=category_id,
        bbox=[2, 2, 8, 8],
        area=64,
        segmentation=SQUARE,
    )


def category(category_id, frequency, images, instances):
    return dict(
        id=category_id,
        name=f"c{category_id}",
        synset=f"c{category_id}.n.01",
        synonyms=[f"c{category_id}"],
        frequency=frequency,
        image_count=images,
        instance_count=instances,
        **{"def": ""},
    )


def data():
    """Category 2 is rare: in images 1 (twice, not exhaustively) and 3 (alone), absent from 2."""
    return dict(
        images=[image(1, [9], [2, 5]), image(2, [2, 9]), image(3, [5])],
        annotations=[
            annotation(1, 1, 2),
            annotation(2, 1, 5),
            annotation(3, 2, 5),
            annotation(4, 3, 2),
            annotation(5, 1, 2),
            annotation(6, 2, 9),
        ],
        categories=[category(2, "r", 2, 3), category(5, "c", 2, 2), category(9, "f", 1, 1)],
        info={"description": "x"},
    )


def test_annotations_counts_and_federated_lists_forget_the_category():
    novel = without_annotations(data(), {2})
    assert [a["id"] for a in novel["annotations"]] == [2, 3, 6]
    assert [(c["id"], c["image_count"], c["instance_count"]) for c in novel["categories"]] == [
        (2, 0, 0),
        (5, 2, 2),
        (9, 1, 1),
    ]
    assert [c["frequency"] for c in novel["categories"]] == ["r", "c", "f"]
    # Image 1 had it, image 2 was searched for it in vain, image 3 had nothing else: all stay, and
    # none says whether it is there.
    assert [
        (i["id"], i["neg_category_ids"], i["not_exhaustive_category_ids"]) for i in novel["images"]
    ] == [(1, [9], [5]), (2, [9], []), (3, [5], [])]
    assert novel["info"] == {"description": "x"}
    validate_lvis(novel)


def test_the_input_is_left_as_it_is():
    before = data()
    after = without_annotations(before, [2, 9])
    assert before == data()
    assert [a["id"] for a in after["annotations"]] == [2, 3]
    assert without_annotations(before, []) == before


def test_federated_lists_may_be_absent():
    plain = data()
    for one in plain["images"]:
        del one["neg_category_ids"], one["not_exhaustive_category_ids"]
    assert without_annotations(plain, [2])["images"] == plain["images"]


def test_an_unknown_category_is_named():
    with pytest.raises(InputError, match="category id 3 is not one of the 3 of the json"):
        without_annotations(data(), [2, 3])


def test_the_novel_split_of_mini_lvis(tmp_path, hashes):
    train = build_split(tmp_path / "train", "train", num_images=30, size=(96, 96))
    before = hashes(train)
    folder = build_novel(tmp_path / "train-novel", train)
    real, novel = (read_lvis(f / "annotations.json") for f in (train, folder))
    rare = {c["id"] for c in real["categories"] if c["frequency"] == "r"}
    validate_lvis(novel, folder)
    assert hashes(train) == before
    assert len(rare) == 10 and len(novel["images"]) == 30

    expected = copy.deepcopy([a for a in real["annotations"] if a["category_id"] not in rare])
    assert novel["annotations"] == expected and len(expected) < len(real["annotations"])
    for old, new in zip(real["categories"], novel["categories"], strict=True):
        count = 0 if old["id"] in rare else old["image_count"]
        assert (new["id"], new["image_count"]) == (old["id"], count)
    for one in novel["images"]:
        assert not rare & {*one["neg_category_ids"], *one["not_exhaustive_category_ids"]}
        assert os.path.samefile(train / one["file_name"], folder / one["file_name"])

    provenance = json.loads((folder / "dataset.json").read_text())
    empty = {i["id"] for i in real["images"]} - {a["image_id"] for a in expected}
    assert provenance["kind"] == "novel"
    assert provenance["removed_category_ids"] == sorted(rare)
    assert provenance["counts"] == {
        "images": 30,
        "images_without_annotations": len(empty),
        "annotations": len(expected),
        "annotations_removed": len(real["annotations"]) - len(expected),
    }


def test_a_finished_folder_is_kept_and_one_of_another_source_is_not(tmp_path):
    small = dict(num_images=8, size=(48, 48))
    train = build_split(tmp_path / "train", "train", **small)
    other = build_split(tmp_path / "other", "train", seed=1, **small)
    folder = build_novel(tmp_path / "novel", train)
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    assert build_novel(folder, train) == folder
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before
    with pytest.raises(InputError, match="holds mini-LVIS novel with source_sha256"):
        build_novel(folder, other)


def test_without_hard_links_images_are_copied(tmp_path, monkeypatch):
    def refuse(source, target):
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    train = build_split(tmp_path / "train", "train", num_images=8, size=(48, 48))
    folder = build_novel(tmp_path / "novel", train)
    name = "images/000000000001.jpg"
    assert (folder / name).read_bytes() == (train / name).read_bytes()
    assert not os.path.samefile(train / name, folder / name)


def test_a_missing_image_or_group_is_named(tmp_path):
    train = build_split(tmp_path / "train", "train", num_images=8, size=(48, 48))
    with pytest.raises(InputError, match="expected categories of the group 'x', found none"):
        build_novel(tmp_path / "novel", train, group="x")
    (train / "images/000000000003.jpg").unlink()
    with pytest.raises(InputError, match="000000000003.jpg is missing"):
        build_novel(tmp_path / "novel", train)
    assert not (tmp_path / "novel").exists()
