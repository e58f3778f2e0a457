from __future__ import annotations

import json
import random

import numpy as np
import pytest
import torch

from mf_plugin.data.categories import Label
from mf_plugin.errors import InputError
from mf_plugin.mmdet import LVISJsonDataset, SyntheticLVISDataset


def load(folder, **kwargs):
    return LVISJsonDataset("annotations.json", str(folder), **kwargs)


def test_labels_follow_the_order_of_the_json(real):
    dataset = load(real / "train")
    assert dataset.metainfo == {"classes": ("cup", "anvil", "bow"), "category_ids": (7, 2, 5)}
    assert [dataset.get_cat_ids(i) for i in range(4)] == [[0], [0, 1], [0, 2, 0], [2]]
    info = dataset.get_data_info(1)
    assert info["img_path"] == str(real / "train/images/000000000002.jpg")
    assert info["instances"][1]["bbox"] == [24, 22, 42, 40]


def test_lazy_dataset_knows_its_classes(real):
    assert load(real / "train", lazy_init=True).metainfo["classes"] == ("cup", "anvil", "bow")


def test_pipeline_yields_masks_where_the_pixels_are(real):
    pipeline = [
        dict(type="LoadImageFromFile"),
        dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
        dict(type="PackDetInputs"),
    ]
    sample = load(real / "train", pipeline=pipeline)[1]
    truth = sample["data_samples"].gt_instances
    assert truth.labels.tolist() == [0, 1]
    green = sample["inputs"][:, truth.masks.masks[1].astype(bool)].float().mean(1)
    assert green[1] > 200 and green[0] < 60 and green[2] < 60


def test_mmdets_own_lvis_dataset_loads_the_folder_with_the_same_records(real):
    pytest.importorskip("lvis")
    from mmdet.datasets import LVISV1Dataset

    kwargs = dict(ann_file="annotations.json", data_prefix=dict(img=""))
    theirs = LVISV1Dataset(data_root=str(real / "train"), **kwargs)
    ours = LVISJsonDataset(data_root=str(real / "train"), **kwargs)
    keys = ("img_path", "img_id", "height", "width", "instances")
    for i in range(4):
        a, b = ours.get_data_info(i), theirs.get_data_info(i)
        assert [a[k] for k in keys] == [b[k] for k in keys]


def test_bad_data_is_named(real, tmp_path):
    with pytest.raises(InputError, match="absent/annotations.json is not a file"):
        load(tmp_path / "absent")
    with pytest.raises(InputError, match="metainfo asks for the 2 classes 'cup', 'bow'"):
        load(real / "train", metainfo=dict(classes=("cup", "bow")))
    (real / "train/images/000000000003.jpg").unlink()
    with pytest.raises(InputError, match="000000000003.jpg is missing on disk"):
        load(real / "train")
    path = real / "train/annotations.json"
    path.write_text(path.read_text()[:500])
    with pytest.raises(InputError, match="truncated"):
        load(real / "train")


def test_categories_are_matched_to_the_labels_that_are_given(real):
    labels = (Label(("bow",), 1), Label(("anvil",), 2), Label(("Cup",), 7), Label(("eel",), 9))
    dataset = load(real / "train", class_labels=labels)
    assert [dataset.get_cat_ids(i) for i in range(4)] == [[2], [2, 1], [2, 0, 2], [0]]
    assert dataset.metainfo["classes"] == ("bow", "anvil", "Cup", "eel")
    assert (dataset.class_labels, dataset.cat_ids) == (labels, [5, 2, 7])
    with pytest.raises(InputError, match="1 of its 3 categories fit none .*'bow' .id 5"):
        load(real / "train", class_labels=labels[1:])


def test_a_folder_that_is_no_synthetic_dataset_is_refused(real, tmp_path):
    with pytest.raises(InputError, match="no synthetic dataset"):
        SyntheticLVISDataset(str(tmp_path / "nothing"))


def test_generation_runs_once_and_leaves_the_random_state_alone(
    tmp_path, synthetic, lvis_folder, monkeypatch
):
    from mf_plugin.data.provider import SyntheticDataset

    calls = []

    def ensure(self, *args, **kwargs):
        calls.append(self.root)
        torch.rand(1), np.random.rand(), random.random()

    monkeypatch.setattr(SyntheticDataset, "ensure", ensure)
    torch.manual_seed(0), np.random.seed(0), random.seed(0)
    expected = torch.rand(1).item(), np.random.rand(), random.random()
    torch.manual_seed(0), np.random.seed(0), random.seed(0)
    SyntheticLVISDataset(str(synthetic))
    assert calls == [synthetic]
    assert (torch.rand(1).item(), np.random.rand(), random.random()) == expected


def test_checkpointable_metainfo(real):
    json.dumps(load(real / "train").metainfo)
