from __future__ import annotations

import pytest
from mmdet.datasets import CocoDataset
from mmdet.registry import DATA_SAMPLERS
from mmengine.dataset import DefaultSampler

from mf_plugin.errors import InputError
from mf_plugin.mmdet.registered import class_of, leaves, parts


def test_the_class_of_a_name_with_or_without_scope_or_of_itself():
    for kind in ("CocoDataset", "mmdet.CocoDataset", CocoDataset):
        assert class_of(dict(type=kind)) is CocoDataset
    assert class_of(dict(type="DefaultSampler"), DATA_SAMPLERS) is DefaultSampler


def test_unknown_types_are_named():
    with pytest.raises(InputError, match="'CocoDatset' is not registered: .* custom_imports"):
        class_of(dict(type="CocoDatset"))
    with pytest.raises(InputError, match="expected a dataset with a type, got the keys .'ann_fi"):
        class_of(dict(ann_file="a.json"))


def test_leaves_are_found_in_wrappers_of_every_depth():
    a, b = dict(type="A"), dict(type="B", dataset="a name and no dataset")
    tree = dict(type="W", dataset=dict(type="C", datasets=[a, dict(type="R", dataset=b)]))
    assert list(leaves(tree)) == [a, b]
    assert parts(a) == []
