from __future__ import annotations

import json

import pytest
from mmdet.datasets import BaseDetDataset
from mmdet.registry import DATASETS

from mf_plugin.errors import InputError
from mf_plugin.mmdet import LVISConcatDataset, LVISJsonDataset

PIPELINE = [dict(type="LoadImageFromFile")]


def load(folder, **kwargs):
    return LVISJsonDataset("annotations.json", str(folder), **kwargs)


def real_config(folder, kind="LVISJsonDataset", **kwargs):
    where = dict(ann_file="annotations.json", data_root=str(folder), data_prefix=dict(img=""))
    return dict(type=kind, **where, **kwargs)


def synthetic_config(folder, **kwargs):
    return dict(type="SyntheticLVISDataset", root=str(folder), **kwargs)


def union(*datasets):
    return DATASETS.build(dict(type="LVISConcatDataset", datasets=list(datasets)))


@pytest.fixture()
def other_order(tmp_path, lvis_folder):
    """Bows and anvils, under each other's ids and in another order."""
    categories = ((2, "bow", "c"), (5, "anvil", "r"))
    folder = lvis_folder(tmp_path / "other", [[5], [2, 5]], categories, first_id=1000)
    (folder / "dataset.json").write_text(json.dumps({"config_hash": "x", "config": {}}))
    return folder


def test_union_of_real_and_synthetic(real, synthetic):
    both = union(real_config(real / "train"), synthetic_config(synthetic))
    assert len(both) == 6
    assert both.is_synthetic.tolist() == [False] * 4 + [True] * 2
    assert [both.get_cat_ids(i) for i in (3, 4, 5)] == [[2], [1], [1, 1]]
    assert both.metainfo["classes"] == ("cup", "anvil", "bow")


@pytest.mark.parametrize("kind", ["LVISJsonDataset", "LVISV1Dataset", "CocoDataset"])
def test_synthetic_categories_take_the_real_labels_by_name(real, other_order, kind):
    names = {} if kind != "CocoDataset" else dict(metainfo=dict(classes=("cup", "anvil", "bow")))
    both = union(real_config(real / "train", kind, **names), synthetic_config(other_order))
    assert [both.get_cat_ids(i) for i in (1, 4, 5)] == [[0, 1], [1], [2, 1]]
    assert both.datasets[1].metainfo["classes"] == both.metainfo["classes"]


def test_a_part_of_the_classes_shifts_the_labels(real, other_order):
    """mmdet's CocoDataset numbers the classes that are asked for alone: bow is 1 of (cup, bow)."""
    part = real_config(real / "train", "CocoDataset", metainfo=dict(classes=("bow", "cup")))
    with pytest.raises(InputError, match="1 of its 2 categories fit none.*'anvil' .id 5"):
        union(part, synthetic_config(other_order))


def test_the_real_set_leads_wherever_it_stands(real, other_order):
    wrapped = dict(type="RepeatDataset", times=2, dataset=synthetic_config(other_order))
    both = union(wrapped, real_config(real / "train"))
    assert [both.get_cat_ids(i) for i in (0, 1, 2, 3)] == [[1], [2, 1], [1], [2, 1]]
    assert both.is_synthetic.tolist() == [True] * 4 + [False] * 4


class Squares(BaseDetDataset):
    """A user's own: labels by the order of its classes."""

    METAINFO = dict(classes=("bow", "cup", "anvil"), dataset_type="squares")

    def load_data_list(self):
        return [dict(img_path="a.jpg", height=64, width=64, instances=[])]


def test_a_dataset_without_a_json_leads_by_its_classes(other_order):
    real = Squares()
    both = LVISConcatDataset([real, synthetic_config(other_order)])
    assert [both.get_cat_ids(i) for i in (1, 2)] == [[2], [0, 2]]


@pytest.mark.parametrize(
    "categories, message",
    [
        (((2, "anvil", "r"), (7, "cup", "f"), (5, "bow", "c")), "label 0 is 'anvil' .id 2., but"),
        (((7, "cup", "f"), (2, "anvil", "r")), "2 categories, but 3 in dataset 1"),
        (((7, "cup", "f"), (2, "axe", "r"), (5, "bow", "c")), "label 1 is 'axe' .id 2., but"),
    ],
)
def test_real_parts_of_another_vocabulary_are_refused(
    real, tmp_path, lvis_folder, categories, message
):
    other = lvis_folder(tmp_path / "other", [[2]], categories)
    with pytest.raises(InputError, match=message):
        LVISConcatDataset([load(real / "train"), load(other)])


def test_real_parts_may_number_the_same_classes_in_their_own_way(real, tmp_path, lvis_folder):
    categories = ((2, "cup", "f"), (5, "anvil", "r"), (7, "bow", "c"))
    other = lvis_folder(tmp_path / "other", [[2]], categories)
    both = LVISConcatDataset([load(real / "train"), load(other)])
    assert both.get_cat_ids(4) == [0]


def test_equal_pipelines_are_one_and_switch_together(real, synthetic):
    both = union(
        real_config(real / "train", pipeline=PIPELINE),
        synthetic_config(synthetic, pipeline=PIPELINE),
    )
    assert both.datasets[0].pipeline is both.datasets[1].pipeline is both.pipeline
    both.pipeline = marker = object()
    assert [dataset.pipeline for dataset in both.datasets] == [marker, marker]


def test_built_wrappers_are_taken(real, synthetic):
    """mmengine's ConcatDataset takes built datasets alone, no built wrappers."""
    balanced = DATASETS.build(
        dict(type="ClassBalancedDataset", oversample_thr=0.9, dataset=real_config(real / "train"))
    )
    both = LVISConcatDataset([balanced, synthetic_config(synthetic)])
    # f(anvil) = 1/4, f(bow) = 2/4: ceil(sqrt(0.9 / f)) is 2; cup alone, 3/4, is 2 as well
    assert len(both) == 2 * 4 + 2
    assert both.is_synthetic.tolist() == [False] * 8 + [True] * 2
    assert [both.get_cat_ids(i) for i in (0, 1, 8)] == [[0], [0], [1]]


def test_an_empty_union_is_refused():
    with pytest.raises(InputError, match="at least one dataset"):
        LVISConcatDataset([])
