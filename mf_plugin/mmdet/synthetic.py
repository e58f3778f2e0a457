"""Put a synthetic dataset into any training config, or take it out.

The schedule stays as it is: iteration-based loops draw from an endless stream, epoch-based ones
keep the epoch length of the real images, so both arms of a comparison take the same number of
optimiser steps.
"""

from __future__ import annotations

import copy
from typing import Any

from mmengine.config import Config

from mf_plugin.errors import InputError

SYNTHETIC = "SyntheticLVISDataset"
LVIS_TYPES = ("LVISJsonDataset", "LVISDataset", "LVISV1Dataset", SYNTHETIC)
CONCAT_TYPES = ("LVISConcatDataset", "ConcatDataset")
PLAIN_SAMPLERS = ("DefaultSampler", "InfiniteSampler")
INHERITED = ("pipeline", "filter_cfg", "backend_args", "serialize_data", "lazy_init")


def with_synthetic(
    cfg: Config, root: str, policy: str | None = None, ratio: float | None = None
) -> Config:
    """A copy of ``cfg`` that trains on its own training set and the synthetic one together.

    Synthetic datasets that are in it already give way. Wrappers are handled as follows:
    RepeatDataset and MultiImageMixDataset stay around the union; ClassBalancedDataset gives way to
    RepeatFactorSampler with its threshold; ConcatDataset takes the synthetic dataset as one more.

    Args:
        cfg: a config of mmengine with an LVIS-style training set.
        root: folder of the synthetic dataset.
        policy: ``joint``, ``real`` or ``ratio``, see `sampling.repeat_factors`; where absent
            ``ratio`` if a ratio is given, else what the config's sampler says.
        ratio: share of the synthetic images in an epoch.

    Raises:
        InputError: the training set or its sampler is of a kind that is not handled.
    """
    cfg = without_synthetic(cfg)
    loader = _train_dataloader(cfg)
    thresholds: list[float] = []
    loader.dataset = _add(loader.dataset, root, thresholds)
    _set_sampler(cfg, thresholds, policy, ratio)
    return cfg


def without_synthetic(cfg: Config) -> Config:
    """A copy of ``cfg`` less the synthetic datasets; its sampler stays, at policy ``joint``."""
    cfg = copy.deepcopy(cfg)
    loader = _train_dataloader(cfg)
    loader.dataset = _remove(loader.dataset)
    if loader.dataset is None:
        raise InputError("the config trains on synthetic data alone: nothing is left without it")
    sampler = loader.get("sampler")
    if sampler and sampler.get("type") == "RepeatFactorSampler":
        if sampler.get("policy") == "ratio":
            sampler.policy = "joint"
        sampler.pop("synthetic_ratio", None)
    return cfg


def _train_dataloader(cfg: Config) -> Any:
    loader = cfg.get("train_dataloader")
    if not loader or "dataset" not in loader:
        raise InputError(
            f"{cfg.filename or 'the config'} has no train_dataloader.dataset: expected a training "
            "config of MMDetection 3"
        )
    return loader


def _add(dataset: Any, root: str, thresholds: list[float]) -> Any:
    kind = _kind(dataset)
    if kind in LVIS_TYPES:
        return dict(type="LVISConcatDataset", datasets=[dataset, _synthetic_like(dataset, root)])
    if kind in CONCAT_TYPES:
        first = dataset["datasets"][0]
        if _kind(first) in LVIS_TYPES:
            datasets = [*dataset["datasets"], _synthetic_like(first, root)]
            return dict(type="LVISConcatDataset", datasets=datasets)
        raise InputError(
            f"--synthetic does not go into a {kind} of {_kind(first)}: expected datasets of type "
            f"{', '.join(LVIS_TYPES)} in it"
        )
    if kind == "ClassBalancedDataset":
        thresholds.append(dataset["oversample_thr"])
        return _add(dataset["dataset"], root, thresholds)
    if kind in ("RepeatDataset", "MultiImageMixDataset"):
        dataset["dataset"] = _add(dataset["dataset"], root, thresholds)
        return dataset
    raise InputError(
        f"--synthetic does not go into a training set of type {kind}: expected one of "
        f"{', '.join(LVIS_TYPES)}, or one of them in a ClassBalancedDataset, RepeatDataset, "
        "MultiImageMixDataset or ConcatDataset"
    )


def _remove(dataset: Any) -> Any:
    """The dataset config less its synthetic parts; None where nothing is left."""
    if _kind(dataset) == SYNTHETIC:
        return None
    if "datasets" in dataset:
        kept = [d for d in map(_remove, dataset["datasets"]) if d is not None]
        if len(kept) < len(dataset["datasets"]) and len(kept) <= 1:
            return kept[0] if kept else None
        dataset["datasets"] = kept
    elif "dataset" in dataset:
        dataset["dataset"] = _remove(dataset["dataset"])
        return dataset if dataset["dataset"] is not None else None
    return dataset


def _synthetic_like(real: Any, root: str) -> dict:
    inherited = {key: copy.deepcopy(real[key]) for key in INHERITED if key in real}
    return dict(type=SYNTHETIC, root=str(root), **inherited)


def _set_sampler(
    cfg: Config, thresholds: list[float], policy: str | None, ratio: float | None
) -> None:
    loader = cfg.train_dataloader
    sampler = loader.get("sampler") or {}
    kind = _kind(sampler)
    if kind == "RepeatFactorSampler":
        sampler = copy.deepcopy(sampler)
    elif kind in (*PLAIN_SAMPLERS, None):
        by_iteration = "max_iters" in (cfg.get("train_cfg") or {})
        sampler = dict(
            type="RepeatFactorSampler",
            threshold=max(thresholds, default=0.0),
            epoch="endless" if by_iteration else "real",
        )
    else:
        raise InputError(
            f"--synthetic does not go with the sampler {kind}: expected RepeatFactorSampler, "
            f"{' or '.join(PLAIN_SAMPLERS)}"
        )
    if policy is None:
        policy = "ratio" if ratio is not None else sampler.get("policy", "joint")
    sampler.update(policy=policy, synthetic_ratio=ratio)
    loader.sampler = sampler


def _kind(node: Any) -> str | None:
    kind = node.get("type")
    name = kind if isinstance(kind, str) or kind is None else kind.__name__
    return name.rpartition(".")[2] if name else None
