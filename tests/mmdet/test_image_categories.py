from __future__ import annotations

import pickle

import pytest
from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS
from mmengine.dataset import ClassBalancedDataset, RepeatDataset

from mf_plugin.errors import InputError
from mf_plugin.mmdet import LVISConcatDataset, LVISJsonDataset, SyntheticLVISDataset
from mf_plugin.mmdet import image_categories as module
from mf_plugin.mmdet.image_categories import build_keeping, image_categories, synthetic_flags

TRAIN = [[0], [0, 1], [0, 2, 0], [2]]  # labels of the folder train: cup, anvil, bow
MADE = [[1], [1, 1]]


@pytest.fixture()
def kept_only(monkeypatch):
    """Asking image by image is an error."""

    def read(dataset):
        raise AssertionError(f"{type(dataset).__name__} was read image by image")

    monkeypatch.setattr(module, "_one_by_one", read)


def lists(table):
    """The table as sorted lists of labels, a label once an instance."""
    found = [[] for _ in range(len(table))]
    rows = zip(table.image_index.tolist(), table.category.tolist(), table.instances.tolist())
    for i, c, count in rows:
        found[i] += [c] * count
    return found


def expected(labels):
    return [sorted(ids) for ids in labels]


def train(real, **kwargs):
    return LVISJsonDataset("annotations.json", str(real / "train"), **kwargs)


@pytest.mark.parametrize("serialize_data", [True, False])
def test_our_datasets_keep_their_table(real, serialize_data, kept_only):
    dataset = train(real, serialize_data=serialize_data)
    assert lists(image_categories(dataset)) == expected(TRAIN)
    lazy = train(real, serialize_data=serialize_data, lazy_init=True)
    assert lists(image_categories(lazy)) == expected(TRAIN)


def test_filtered_and_chosen_images_are_in_the_table_as_they_are_in_the_dataset(
    real, lvis_folder, tmp_path, kept_only
):
    assert lists(image_categories(train(real, indices=2))) == expected(TRAIN[:2])
    lvis = LVISJsonDataset("annotations.json", str(lvis_folder(tmp_path / "e", [[], [5], [7, 2]])))
    assert lists(image_categories(lvis)) == [[], [2], [0, 1]]
    full = dict(filter_empty_gt=True)
    lvis = LVISJsonDataset("annotations.json", str(tmp_path / "e"), filter_cfg=full)
    assert lists(image_categories(lvis)) == [[2], [0, 1]]


def test_a_subset_is_read_again(real):
    dataset = train(real)
    dataset.get_subset_([3, 1])
    assert lists(image_categories(dataset)) == expected([TRAIN[3], TRAIN[1]])
    assert lists(image_categories(train(real).get_subset([2]))) == expected([TRAIN[2]])


def test_unions_and_wrappers_are_read_through(real, synthetic, kept_only):
    union = LVISConcatDataset([train(real), SyntheticLVISDataset(str(synthetic))])
    assert lists(image_categories(union)) == expected(TRAIN + MADE)
    train_config = dict(
        type="LVISJsonDataset", ann_file="annotations.json", data_root=str(real / "train")
    )
    config = dict(
        type="LVISConcatDataset",
        datasets=[
            train_config,
            dict(type="SyntheticLVISDataset", root=str(synthetic)),
        ],
    )
    repeated = RepeatDataset(config, 2)
    assert lists(image_categories(repeated)) == expected((TRAIN + MADE) * 2)
    assert synthetic_flags(repeated).tolist() == ([False] * 4 + [True] * 2) * 2
    balanced = ClassBalancedDataset(train(real), 1.0)  # r = 1.15, 2, 1.41: all but [0] twice
    assert lists(image_categories(balanced)) == expected(
        [TRAIN[i] for i in balanced.repeat_indices]
    )
    assert len(balanced) > 4


@pytest.fixture()
def foreign(real):
    """mmdet's own CocoDataset on the same json."""
    classes = ("cup", "anvil", "bow")
    return dict(
        type="CocoDataset",
        ann_file="annotations.json",
        data_root=str(real / "train"),
        data_prefix=dict(img=""),
        metainfo=dict(classes=classes),
    )


@pytest.mark.parametrize("serialize_data", [True, False])
def test_mmdets_own_datasets_keep_a_table_where_we_build_them(foreign, serialize_data, kept_only):
    config = {**foreign, "serialize_data": serialize_data}
    ours, plain = build_keeping(config), DATASETS.build(config)
    assert type(ours) is CocoDataset
    assert [ours.get_data_info(i) for i in range(4)] == [plain.get_data_info(i) for i in range(4)]
    assert lists(image_categories(ours)) == expected(TRAIN)
    again = pickle.loads(pickle.dumps(ours))
    assert again.get_data_info(1) == plain.get_data_info(1)


def test_mmdets_own_dataset_without_images_is_named(foreign):
    with pytest.raises(InputError, match=r"json has no images: expected one or more that"):
        build_keeping({**foreign, "indices": 0})


def test_datasets_that_others_build_are_read_one_by_one(foreign):
    dataset = DATASETS.build(foreign)
    assert not hasattr(dataset, "_categories")
    assert lists(image_categories(dataset)) == expected(TRAIN)


def test_a_lazy_dataset_stays_lazy(foreign):
    assert not build_keeping({**foreign, "lazy_init": True})._fully_initialized


def test_labels_that_a_dataset_gives_itself_count(real):
    class Renamed(LVISJsonDataset):
        def get_cat_ids(self, idx):
            return [9]

    class Shifted(LVISConcatDataset):
        def get_data_info(self, idx):
            raise AssertionError("its labels are asked for by get_cat_ids")

        def get_cat_ids(self, idx):
            return [c + 1 for c in super().get_cat_ids(idx)]

    dataset = Renamed("annotations.json", str(real / "train"))
    assert lists(image_categories(dataset)) == [[9]] * 4
    assert lists(image_categories(RepeatDataset(dataset, 2))) == [[9]] * 8
    shifted = Shifted([train(real)])
    assert lists(image_categories(shifted)) == [sorted(c + 1 for c in ids) for ids in TRAIN]


def test_a_dataset_without_labels_is_named():
    class Pictures:
        def __len__(self):
            return 1

    with pytest.raises(InputError, match="Pictures has neither get_cat_ids nor get_data_info"):
        image_categories(Pictures())
