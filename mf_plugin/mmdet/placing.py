"""Where in a training set's config a synthetic dataset goes, and what cannot take one.

The tree of wrappers is walked from the outside in, down to where the union stands.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from mmdet.datasets import (
    BaseDetDataset,
    BaseSegDataset,
    CocoPanopticDataset,
    DODDataset,
    Flickr30kDataset,
    MDETRStyleRefCocoDataset,
    MultiImageMixDataset,
    ODVGDataset,
)
from mmdet.datasets import ConcatDataset as MMDetConcatDataset
from mmengine.dataset import ClassBalancedDataset, ConcatDataset, RepeatDataset

from mf_plugin.errors import InputError
from mf_plugin.mmdet.registered import class_of, leaves, parts
from mf_plugin.mmdet.union import LVISConcatDataset

# What a synthetic dataset has from the real one that it stands beside.
INHERITED = (
    "pipeline",
    "filter_cfg",
    "serialize_data",
    "lazy_init",
    "max_refetch",
    "return_classes",
    "caption_prompt",
)
CONCATS = (ConcatDataset, MMDetConcatDataset, LVISConcatDataset)
OTHER_TRUTH = {  # detection datasets whose annotations synthetic folders do not have
    ODVGDataset: "texts",
    Flickr30kDataset: "texts",
    DODDataset: "texts",
    MDETRStyleRefCocoDataset: "texts",
}
WITH_MAPS = {"panoptic maps": CocoPanopticDataset, "semantic maps": BaseSegDataset}
OTHER_LOADING = {
    "LoadPanopticAnnotations": "panoptic maps",
    "LoadPanopticMaps": "panoptic maps",
    "LoadProposals": "proposals",
    "LoadTrackAnnotations": "tracks",
}


@dataclass(frozen=True)
class Synthetic:
    """The synthetic datasets that go in.

    Attributes:
        folders: of each its folder, and what it is generated from where it is missing or None.
        scope: what stands before our names in the config: ``mmdet.`` or nothing.
    """

    folders: tuple[tuple[str, str | None], ...]
    scope: str = ""

    def beside(self, real: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Their configs, with the pipeline and the filters of a real dataset's."""
        configs = []
        for root, generation_config in self.folders:
            inherited = {key: copy.deepcopy(real[key]) for key in INHERITED if key in real}
            inherited["pipeline"] = _from_local_disk(inherited["pipeline"])
            config = dict(type=f"{self.scope}{_kind_beside(real)}", root=root, **inherited)
            if generation_config is not None:
                config["generation_config"] = generation_config
            configs.append(config)
        return configs

    def union(self, datasets: list[Any], beside: Mapping[str, Any]) -> dict[str, Any]:
        """The config of ``datasets`` and the synthetic ones, which are like one of theirs."""
        return dict(
            type=f"{self.scope}LVISConcatDataset", datasets=[*datasets, *self.beside(beside)]
        )


def add_synthetic(dataset: Any, synthetic: Synthetic) -> tuple[Any, float]:
    """The dataset config with a union in it, and the threshold of a ClassBalancedDataset that went.

    Args:
        dataset: the config of a training set; its wrappers are changed.
        synthetic: what goes in.

    Raises:
        InputError: the training set is of a kind that is not handled.
    """
    kinds = [class_of(leaf) for leaf in leaves(dataset)]
    taken = {what for what, kind in WITH_MAPS.items() if all(issubclass(k, kind) for k in kinds)}
    for node in _nodes(dataset):
        _check_pipeline(node, taken)
    for leaf in leaves(dataset):
        _check_leaf(leaf)
    thresholds = [0.0]
    return _add(dataset, synthetic, thresholds), max(thresholds)


def _add(dataset: Any, synthetic: Synthetic, thresholds: list[float]) -> Any:
    kind = class_of(dataset)
    if not parts(dataset):
        return synthetic.union([dataset], beside=dataset)
    if issubclass(kind, ClassBalancedDataset):
        thresholds.append(dataset["oversample_thr"])
        return _add(dataset["dataset"], synthetic, thresholds)
    if issubclass(kind, (RepeatDataset, MultiImageMixDataset)):
        dataset["dataset"] = _add(dataset["dataset"], synthetic, thresholds)
        return dataset
    if kind in CONCATS and _mixes_images(dataset["datasets"][0]):
        # Its first part has a pipeline in two halves, which the synthetic images go through too.
        inner: list[float] = []
        first = _add(dataset["datasets"][0], synthetic, inner)
        if inner:
            raise InputError(
                "--synthetic does not go into a ClassBalancedDataset in a MultiImageMixDataset in "
                f"a {kind.__name__}: its sampling would change that of the other parts"
            )
        dataset["datasets"] = [first, *dataset["datasets"][1:]]
        return dataset
    if kind in CONCATS:  # parts that are balanced stay so: the sampler is for the whole
        return synthetic.union(dataset["datasets"], beside=next(leaves(dataset)))
    return synthetic.union([dataset], beside=_leaf_of_unknown(dataset, kind))


def _leaf_of_unknown(dataset: Any, kind: type) -> Any:
    """The leaf of a wrapper that a user made; the union stands around that."""
    if "pipeline" in dataset or not hasattr(kind, "get_data_info"):
        raise InputError(
            f"--synthetic does not go into a training set of type {kind.__name__}: expected a "
            "detection dataset, in a ClassBalancedDataset, RepeatDataset, MultiImageMixDataset or "
            "ConcatDataset, or in a wrapper with get_data_info and no pipeline of its own"
        )
    return next(leaves(dataset))


def _mixes_images(dataset: Any) -> bool:
    return any(issubclass(class_of(node), MultiImageMixDataset) for node in _nodes(dataset))


def _kind_beside(real: Mapping[str, Any]) -> str:
    """The name of the class that reads a synthetic folder for what a real dataset is read for."""
    kind = class_of(real)
    if issubclass(kind, CocoPanopticDataset):
        return "SyntheticPanopticDataset"
    return "SyntheticSegDataset" if issubclass(kind, BaseSegDataset) else "SyntheticLVISDataset"


def _nodes(dataset: Any) -> Iterator[Any]:
    yield dataset
    for part in parts(dataset):
        yield from _nodes(part)


def _check_leaf(leaf: Mapping[str, Any]) -> None:
    kind = class_of(leaf)
    where = f"--synthetic does not go into a training set of type {kind.__name__}"
    truth = next((what for known, what in OTHER_TRUTH.items() if issubclass(kind, known)), None)
    if truth is not None:
        raise InputError(f"{where}: it is annotated with {truth}, synthetic images are not")
    if not issubclass(kind, (BaseDetDataset, BaseSegDataset)):
        raise InputError(
            f"{where}: expected a subclass of mmdet's BaseDetDataset or BaseSegDataset"
        )
    if "pipeline" not in leaf:
        raise InputError(f"{where}: it names no pipeline in the config that synthetic data can use")
    if leaf.get("proposal_file"):
        raise InputError(
            f"{where} with proposal_file: there are no proposals for synthetic images; use a "
            "detector with a proposal network"
        )


def _check_pipeline(node: Mapping[str, Any], taken: Collection[str]) -> None:
    for step in _steps(node.get("pipeline") or ()):
        kind = step.get("type")
        name = kind.rpartition(".")[2] if isinstance(kind, str) else getattr(kind, "__name__", "")
        what = OTHER_LOADING.get(name, "semantic maps" if step.get("with_seg") else None)
        if what is not None and what not in taken:
            raise InputError(
                f"--synthetic does not go with a pipeline that loads {what} ({name}) of this "
                "dataset: expected boxes and masks alone, or a CocoPanopticDataset or "
                "BaseSegDataset"
            )


def _steps(node: Any) -> Iterator[MutableMapping[str, Any]]:
    """Every transform of a pipeline, those in other transforms as well."""
    if isinstance(node, MutableMapping):
        if "type" in node:
            yield node
        for value in node.values():
            yield from _steps(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from _steps(value)


def _from_local_disk(pipeline: Any) -> Any:
    """The pipeline less the remote storage that its loading steps name."""
    for step in _steps(pipeline):
        if step.get("backend_args"):
            step["backend_args"] = None
    return pipeline
