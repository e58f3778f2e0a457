from __future__ import annotations

import copy

import pytest

from mf_plugin.errors import InputError
from mf_plugin.lvis.io import validate_lvis
from mf_plugin.lvis.merge import common_root, merge_lvis

CATEGORIES = [
    {"id": 4, "name": "cat", "frequency": "r", "image_count": 99, "instance_count": 99},
    {"id": 2, "name": "dog", "frequency": "f", "image_count": 99, "instance_count": 99},
    {"id": 3, "name": "owl", "frequency": "c", "image_count": 99, "instance_count": 99},
]


def lvis(folder: str, images: dict[int, list[int]], first_annotation: int = 1, **extra) -> dict:
    """An LVIS json; ``images``: image id -> category ids of its annotations."""
    pairs = [(image_id, c) for image_id, ids in images.items() for c in ids]
    return {
        **extra,
        "categories": copy.deepcopy(CATEGORIES),
        "images": [
            {
                "id": i,
                "height": 8,
                "width": 8,
                "coco_url": f"{folder}/{i:012d}.jpg",
                "neg_category_ids": [2],
                "not_exhaustive_category_ids": [3],
            }
            for i in images
        ],
        "annotations": [
            {
                "id": i,
                "image_id": image_id,
                "category_id": c,
                "area": 8.0,
                "bbox": [0, 0, 4, 4],
                "segmentation": [[0, 0, 4, 0, 0, 4]],
            }
            for i, (image_id, c) in enumerate(pairs, start=first_annotation)
        ],
    }


def test_ids_move_past_the_real_ones_and_counts_are_recomputed():
    real = lvis("train", {10: [4, 4, 2], 7: []}, info={"year": 2019})
    synthetic = lvis("images", {1: [4], 3: [4, 2]})
    before = copy.deepcopy((real, synthetic))

    merged = merge_lvis(real, synthetic)

    assert (real, synthetic) == before
    assert [image["id"] for image in merged["images"]] == [10, 7, 11, 13]
    assert [(a["id"], a["image_id"], a["category_id"]) for a in merged["annotations"]] == [
        (1, 10, 4), (2, 10, 4), (3, 10, 2), (4, 11, 4), (5, 13, 4), (6, 13, 2)
    ]  # fmt: skip
    assert [(c["id"], c["image_count"], c["instance_count"]) for c in merged["categories"]] == [
        (4, 3, 4), (2, 2, 2), (3, 0, 0)
    ]  # fmt: skip
    assert [c["frequency"] for c in merged["categories"]] == ["r", "f", "c"]
    assert all(i["neg_category_ids"] == [2] for i in merged["images"])
    assert all(i["not_exhaustive_category_ids"] == [3] for i in merged["images"])
    assert [i["coco_url"] for i in merged["images"]][1:3] == [
        "train/000000000007.jpg", "images/000000000001.jpg"
    ]  # fmt: skip
    assert merged["info"] == {"year": 2019}
    validate_lvis(merged)


def test_ids_that_are_past_the_real_ones_stay():
    merged = merge_lvis(lvis("train", {10: [4]}), lvis("images", {1_000_000: [4]}, 500))
    assert merged["images"][1]["id"] == 1_000_000
    assert merged["annotations"][1]["id"] == 500


def test_an_empty_side():
    empty, full = lvis("train", {}), lvis("images", {1: [4]})
    assert merge_lvis(empty, full)["images"] == full["images"]
    assert merge_lvis(full, empty)["annotations"] == full["annotations"]


def test_paths_of_two_roots(tmp_path):
    real_root, synthetic_root = tmp_path / "lvis", tmp_path / "work" / "synthetic"
    merged = merge_lvis(
        lvis("images", {1: [4]}),
        lvis("images", {1: [4]}),
        real_root=real_root,
        synthetic_root=synthetic_root,
    )
    assert common_root(real_root, synthetic_root) == tmp_path
    for key in ("coco_url", "file_name"):
        assert [image[key] for image in merged["images"]] == [
            "lvis/images/000000000001.jpg", "work/synthetic/images/000000000001.jpg"
        ]  # fmt: skip
    validate_lvis(merged, nested=True)


def test_one_root_inside_the_other(tmp_path):
    merged = merge_lvis(
        lvis("http://images.cocodataset.org/train2017", {1: [4]}),
        lvis("images", {1: [4]}),
        real_root=tmp_path,
        synthetic_root=tmp_path / "synthetic",
    )
    assert [image["coco_url"] for image in merged["images"]] == [
        "train2017/000000000001.jpg", "synthetic/images/000000000001.jpg"
    ]  # fmt: skip


def _rename(categories):
    categories[1]["name"] = "hound"


def _swap(categories):
    categories[1:] = categories[:0:-1]


@pytest.mark.parametrize(
    "change, message",
    [
        (_rename, r"position 1: name is 'dog' in the real json .* 'hound' in the synthetic"),
        (_swap, r"position 1: id is 2 in the real json \('dog'\) and 3 in the synthetic .*'owl'"),
        (lambda c: c.pop(), "3 in the real json and 2 in .* only the real one has is 'owl'"),
        (lambda c: c.append({"id": 9, "name": "emu"}), "only the synthetic one has is 'emu'"),
    ],
)
def test_first_difference_of_the_categories_is_named(change, message):
    synthetic = lvis("images", {1: [4]})
    change(synthetic["categories"])
    with pytest.raises(InputError, match=message):
        merge_lvis(lvis("train", {1: [4]}), synthetic)


def test_one_path_for_two_images():
    with pytest.raises(InputError, match="both sets have an image 'images/000000000001.jpg'"):
        merge_lvis(lvis("images", {1: [4]}), lvis("images", {1: [4]}))


def test_one_root_alone(tmp_path):
    with pytest.raises(InputError, match="expects both"):
        merge_lvis(lvis("a", {1: [4]}), lvis("b", {1: [4]}), real_root=tmp_path)
