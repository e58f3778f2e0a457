from __future__ import annotations

import pytest
from mmdet.datasets import BaseDetDataset, CocoDataset

from mf_plugin.data.categories import Label
from mf_plugin.errors import InputError
from mf_plugin.mmdet import LVISJsonDataset
from mf_plugin.mmdet.labels import describe, json_labels, labels_of


def coco(folder, *names, **kwargs):
    return CocoDataset(
        ann_file="annotations.json",
        data_root=str(folder),
        data_prefix=dict(img=""),
        metainfo=dict(classes=names),
        **kwargs,
    )


def test_labels_of_coco_follow_the_json_and_not_metainfo(real):
    """mmdet gives label 0 to the first category in the json that is asked for."""
    dataset = coco(real / "train", "bow", "cup")
    assert dataset.cat2label == {7: 0, 5: 1}
    assert labels_of(dataset) == (Label(("cup",), 7), Label(("bow",), 5))
    assert describe(dataset) == str(real / "train/annotations.json")


def test_labels_of_ours_are_the_jsons(real):
    dataset = LVISJsonDataset("annotations.json", str(real / "train"), lazy_init=True)
    expected = (Label(("cup",), 7), Label(("anvil",), 2), Label(("bow",), 5))
    assert labels_of(dataset) == expected


class NamedOnly(BaseDetDataset):
    def load_data_list(self):
        return [dict(img_path="a.jpg", instances=[])]


def test_labels_of_other_datasets_are_their_classes():
    assert labels_of(NamedOnly(metainfo=dict(classes=("cup", "bow")))) == (
        Label(("cup",)),
        Label(("bow",)),
    )
    with pytest.raises(InputError, match="NamedOnly names no classes"):
        labels_of(NamedOnly())


def test_a_class_goes_by_its_first_synonym_unless_that_is_another_class():
    categories = [
        dict(id=1, name="monitor", synonyms=["computer_monitor", "screen"]),
        dict(id=4, name="bow", synonyms=["arrow"]),
        dict(id=6, name="arrow", synonyms=["arrow"]),
    ]
    assert json_labels(categories, {1: 0, 4: 1, 6: 2}) == (
        Label(("monitor", "computer_monitor"), 1),
        Label(("bow",), 4),
        Label(("arrow",), 6),
    )
    with pytest.raises(InputError, match="no category with the id 9"):
        json_labels(categories, {1: 0, 9: 1})
    with pytest.raises(InputError, match="label 0 has no category"):
        json_labels(categories, {1: 1})


def test_labels_that_the_json_does_not_explain_are_refused(real):
    dataset = coco(real / "train", "cup")
    dataset.cat2label = {70: 0}
    with pytest.raises(InputError, match="the names of its labels cannot be told: .* the id 70"):
        labels_of(dataset)
