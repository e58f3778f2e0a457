"""LVISConcatDataset: real and synthetic datasets as one training set, with one set of labels.

mmdet derives labels from the order of the categories in each json, so a union is only right where
the parts agree. The first real part decides; synthetic parts are matched to it by name and id,
whatever their own order, and other real parts are checked.

Shapes: N images of a dataset.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmdet.registry import DATASETS
from mmengine.dataset import ConcatDataset

from mf_plugin.data.categories import Label
from mf_plugin.errors import InputError
from mf_plugin.mmdet.datasets import SyntheticFolder
from mf_plugin.mmdet.image_categories import build_keeping, categories_of, synthetic_flags
from mf_plugin.mmdet.labels import describe, labels_of
from mf_plugin.mmdet.registered import class_of, parts


@DATASETS.register_module()
class LVISConcatDataset(ConcatDataset):
    """Datasets of one vocabulary, one after the other; COCO-style ones as well.

    mmengine's ConcatDataset has no ``get_cat_ids``, takes no wrappers that are built, and compares
    class names alone.

    Args:
        datasets (Sequence): datasets or their configs. Of the configs, synthetic ones take the
            classes and ``metainfo`` of the first dataset that is not, and share its pipeline where
            theirs is the same: then what a pipeline caches (CachedMosaic) mixes both.
        lazy_init (bool): whether to load later.

    Raises:
        InputError: a synthetic dataset has a category that fits no class, or real ones do not
            have the same classes in the same order.
    """

    def __init__(self, datasets: Sequence[Any], lazy_init: bool = False) -> None:
        if not datasets:
            raise InputError("LVISConcatDataset: expected at least one dataset, got none")
        self.datasets = _build(datasets)
        self._metainfo = self.datasets[0].metainfo
        self._fully_initialized = False
        if not lazy_init:
            self.full_init()

    def get_cat_ids(self, idx: int) -> list[int]:
        """The labels in image ``idx`` of the union."""
        i, j = self._get_ori_dataset_idx(idx)
        return categories_of(self.datasets[i], j)

    @property
    def is_synthetic(self) -> np.ndarray:
        """bool[N]: the images that come from a synthetic folder."""
        return np.concatenate([synthetic_flags(dataset) for dataset in self.datasets])

    @property
    def pipeline(self) -> Any:
        """The first part's. Setting it sets every part's: mmdet's PipelineSwitchHook does so."""
        return self.datasets[0].pipeline

    @pipeline.setter
    def pipeline(self, pipeline: Any) -> None:
        for dataset in self.datasets:
            dataset.pipeline = pipeline


def _build(datasets: Sequence[Any]) -> list[Any]:
    """The datasets, built where they are configs: real ones first, their classes lead."""
    built = [None if _is_synthetic_config(d) else _built(d) for d in datasets]
    lead = next((i for i, dataset in enumerate(built) if dataset is not None), None)
    if lead is None:
        built = [_built(d) for d in datasets]
        lead = 0
    if len(built) == 1:
        return built
    labels = labels_of(built[lead])
    for i, dataset in enumerate(datasets):
        if built[i] is None:
            built[i] = _built(_in_the_classes_of(built[lead], labels, dataset))
            _share_pipeline(built[lead], datasets[lead], built[i], dataset)
        elif i != lead:
            _check_same_classes(built, lead, labels, i)
    return built


def _built(dataset: Any) -> Any:
    return build_keeping(dataset) if isinstance(dataset, Mapping) else dataset


def _is_synthetic_config(dataset: Any) -> bool:
    if not isinstance(dataset, Mapping):
        return False
    inner = parts(dataset)
    if inner:
        return all(map(_is_synthetic_config, inner))
    return issubclass(class_of(dataset), SyntheticFolder)


def _in_the_classes_of(
    real: Any, labels: Sequence[Label], config: Mapping[str, Any]
) -> dict[str, Any]:
    """The config of a synthetic dataset, in wrappers or not, with the classes of a real one."""
    config = dict(config)
    if "datasets" in config:
        config["datasets"] = [_in_the_classes_of(real, labels, d) for d in config["datasets"]]
    elif "dataset" in config:
        config["dataset"] = _in_the_classes_of(real, labels, config["dataset"])
    else:
        # mmengine takes a string in metainfo for the name of a file
        metainfo = {k: v for k, v in real.metainfo.items() if not isinstance(v, str)}
        config.update(class_labels=labels, metainfo=metainfo)
    return config


def _share_pipeline(real: Any, real_config: Any, synthetic: Any, config: Any) -> None:
    same = isinstance(real_config, Mapping) and "pipeline" in real_config and "pipeline" in config
    if same and real_config["pipeline"] == config["pipeline"]:
        synthetic.pipeline = real.pipeline


def _check_same_classes(
    datasets: Sequence[Any], lead: int, labels: Sequence[Label], number: int
) -> None:
    other = labels_of(datasets[number])
    where = f"dataset {number + 1} ({describe(datasets[number])}) has another vocabulary"
    there = f"in dataset {lead + 1} ({describe(datasets[lead])})"
    for label, (a, b) in enumerate(zip(labels, other, strict=False)):
        if not set(a.names) & set(b.names):
            raise InputError(f"{where}: label {label} is {_show(b)}, but {_show(a)} {there}")
    if len(labels) != len(other):
        raise InputError(f"{where}: {len(other)} categories, but {len(labels)} {there}")


def _show(label: Label) -> str:
    return repr(label.names[0]) + ("" if label.id is None else f" (id {label.id})")
