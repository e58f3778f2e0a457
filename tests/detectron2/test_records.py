from __future__ import annotations

import json

import pytest

from mf_plugin.detectron2.records import image_categories, lvis_records
from mf_plugin.errors import InputError

LABEL_OF = {2: 0, 5: 1, 7: 2}


def test_records_are_in_detectron2s_form(lvis_json):
    data = lvis_json()
    data["images"].reverse()
    records = lvis_records(data, "root/", LABEL_OF)
    assert [record["image_id"] for record in records] == [1, 2, 3, 4]
    assert records[1] == {
        "file_name": "root/images/000000000002.jpg",
        "height": 64,
        "width": 64,
        "not_exhaustive_category_ids": [],
        "neg_category_ids": [],
        "image_id": 2,
        "annotations": [
            {
                "bbox": [4, 10, 18, 18],
                "bbox_mode": 1,
                "category_id": 2,
                "segmentation": [[4, 10, 22, 10, 22, 28, 4, 28]],
            },
            {
                "bbox": [24, 22, 18, 18],
                "bbox_mode": 1,
                "category_id": 0,
                "segmentation": [[24, 22, 42, 22, 42, 40, 24, 40]],
            },
        ],
    }
    assert all(r["synthetic"] for r in lvis_records(data, "root", LABEL_OF, synthetic=True))


def test_crowds_and_rle_are_passed_on(lvis_json):
    data = lvis_json([["cup"]])
    mask = {"size": [64, 64], "counts": "abc"}
    data["annotations"][0].update(segmentation=mask, iscrowd=1)
    (found,) = lvis_records(data, "", LABEL_OF)[0]["annotations"]
    assert (found["segmentation"], found["iscrowd"]) == (mask, 1)


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(category_id=3), "annotation 1: category id 3 is none of the 3 known ones"),
        (dict(segmentation=[[0, 0, 4, 4]]), r"polygons of \[4\] numbers"),
        (dict(segmentation=[]), r"polygons of \[\] numbers"),
        (dict(image_id=9), "no image's, the first 9: expected the id of one of the 1 images"),
    ],
)
def test_broken_annotations_are_named(lvis_json, change, message):
    data = lvis_json([["cup"]])
    data["annotations"][0].update(change)
    with pytest.raises(InputError, match=message):
        lvis_records(data, "", LABEL_OF)


def test_lvis_v1_records_are_those_of_detectron2s_own_loader(lvis_json, tmp_path):
    pytest.importorskip("detectron2", reason="Detectron2 is not installed")
    pytest.importorskip("lvis", reason="lvis is not installed")
    from detectron2.data.datasets.lvis import load_lvis_json
    from detectron2.structures import BoxMode

    data = lvis_json()
    for category in data["categories"]:
        category["id"] += 1000
    for annotation in data["annotations"]:
        annotation["category_id"] += 1000
    (tmp_path / "a.json").write_text(json.dumps(data))
    theirs = load_lvis_json(str(tmp_path / "a.json"), f"{tmp_path}/")
    ours = lvis_records(data, tmp_path, {i: i - 1 for i in range(1, 1204)})
    assert ours == theirs
    assert ours[0]["annotations"][0]["bbox_mode"] == BoxMode.XYWH_ABS


def test_table_of_the_labels(lvis_json):
    records = lvis_records(lvis_json([["cup"], [], ["cup", "bow", "cup"]]), "", LABEL_OF)
    table = image_categories([*records, {"file_name": "no annotations"}])
    assert (table.image_index.tolist(), table.category.tolist()) == ([0, 2, 2], [2, 1, 2])
    assert (table.instances.tolist(), len(table)) == ([1, 1, 2], 4)
