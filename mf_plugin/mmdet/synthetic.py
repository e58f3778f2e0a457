"""Put a synthetic dataset into any training config, or take it out.

The schedule stays as it is: iteration-based loops draw from an endless stream, epoch-based ones
keep the epoch length of the real images, so both arms of a comparison take the same number of
optimiser steps.

What a dataset or a sampler is, its class in the registry says; so subclasses that a user
registers are handled as their parents are.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from mmdet.datasets import MultiImageMixDataset
from mmdet.registry import DATA_SAMPLERS
from mmengine.config import Config
from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.utils import import_modules_from_strings

from mf_plugin.data.provider import resolve_folders
from mf_plugin.errors import InputError
from mf_plugin.mmdet.datasets import SyntheticFolder
from mf_plugin.mmdet.placing import Synthetic, add_synthetic
from mf_plugin.mmdet.registered import class_of, parts
from mf_plugin.mmdet.samplers import RepeatFactorSampler

PLUGIN = "mf_plugin.mmdet"
NEEDS_SYNTHETIC = ("ratio", "replace", "synthetic")  # policies
BATCHES_OF_ANOTHER_SHAPE = ("MultiDataAspectRatioBatchSampler", "TrackAspectRatioBatchSampler")


def with_synthetic(
    cfg: Config,
    root: str | Sequence[str],
    policy: str | None = None,
    ratio: float | Sequence[float] | None = None,
) -> Config:
    """A copy of ``cfg`` that trains on its own training set and synthetic ones together.

    Synthetic datasets that are in it already give way. Wrappers are handled as follows:
    RepeatDataset and MultiImageMixDataset stay around the union, so that Mosaic, MixUp and
    CopyPaste take their neighbours from all of it; ClassBalancedDataset gives way to
    RepeatFactorSampler with its threshold; ConcatDataset takes the synthetic dataset as one more.
    The synthetic categories are matched to the classes of the real set when the union is built.

    Args:
        cfg: a config of mmengine with a COCO-style, LVIS-style or other detection training set.
        root: folder of the synthetic dataset; or a generation config (a .py file), that it is
            generated from once, into ``work_dirs/<stem of the file>``; or several of them.
        policy: ``joint``, ``real``, ``ratio``, ``replace`` or ``synthetic``, see
            `sampling.repeat_factors`; where absent ``ratio`` if a ratio is given, else what the
            config's sampler says.
        ratio: share of the synthetic images in an epoch, or under ``replace`` the probability that
            a real image gives way; one for all folders, or one for each.

    Raises:
        InputError: the training set, its pipeline or its sampler is of a kind that is not handled.
    """
    cfg = without_synthetic(cfg)
    loader = _train_dataloader(cfg)
    scope = _scope(cfg)
    if policy == "synthetic":
        _check_nothing_is_mixed_in(loader.dataset)
    synthetic = Synthetic(resolve_folders(root), scope)
    loader.dataset, threshold = add_synthetic(loader.dataset, synthetic)
    _set_sampler(cfg, threshold, policy, ratio, scope)
    _import_plugin(cfg)
    return cfg


def without_synthetic(cfg: Config) -> Config:
    """A copy of ``cfg`` less the synthetic datasets; its sampler stays, at policy ``joint``.

    Raises:
        InputError: nothing is left, or it is no training config.
    """
    cfg = copy.deepcopy(cfg)
    if cfg.get("custom_imports"):
        import_modules_from_strings(**cfg.custom_imports)
    loader = _train_dataloader(cfg)
    loader.dataset = _remove(loader.dataset)
    if loader.dataset is None:
        raise InputError("the config trains on synthetic data alone: nothing is left without it")
    sampler = loader.get("sampler")
    if sampler and is_repeat_factor_sampler(sampler):
        if sampler.get("policy") in NEEDS_SYNTHETIC:
            sampler.policy = "joint"
        sampler.pop("synthetic_ratio", None)
    return cfg


def is_repeat_factor_sampler(sampler: Any) -> bool:
    """Whether a sampler's config is our RepeatFactorSampler's."""
    if not sampler or not sampler.get("type"):
        return False
    return issubclass(class_of(sampler, DATA_SAMPLERS), RepeatFactorSampler)


def _train_dataloader(cfg: Config) -> Any:
    loader = cfg.get("train_dataloader")
    if not loader or "dataset" not in loader:
        raise InputError(
            f"{cfg.filename or 'the config'} has no train_dataloader.dataset: expected a training "
            "config of MMDetection 3"
        )
    return loader


def _scope(cfg: Config) -> str:
    """Before a name: "mmdet." where the config does not say that names are mmdet's."""
    by_class = not isinstance(cfg.train_dataloader.dataset.get("type"), str)
    return "mmdet." if by_class or cfg.get("default_scope", "mmdet") != "mmdet" else ""


def _remove(dataset: Any) -> Any:
    """The dataset config less its synthetic parts; None where nothing is left."""
    inner = parts(dataset)
    if not inner:
        return None if issubclass(class_of(dataset), SyntheticFolder) else dataset
    kept = [d for d in map(_remove, inner) if d is not None]
    if "datasets" not in dataset:
        dataset["dataset"] = kept[0] if kept else None
        return dataset if kept else None
    if len(kept) < len(inner) and len(kept) <= 1:
        return kept[0] if kept else None
    dataset["datasets"] = kept
    return dataset


def _check_nothing_is_mixed_in(dataset: Any) -> None:
    if issubclass(class_of(dataset), MultiImageMixDataset):
        raise InputError(
            "policy 'synthetic' (--synthetic-only) does not go with a MultiImageMixDataset, which "
            "would paste real images into synthetic ones: leave its transforms out of the "
            "pre-training"
        )
    for part in parts(dataset):
        _check_nothing_is_mixed_in(part)


def _set_sampler(
    cfg: Config,
    threshold: float,
    policy: str | None,
    ratio: float | Sequence[float] | None,
    scope: str,
) -> None:
    loader = cfg.train_dataloader
    sampler = loader.get("sampler") or dict(type=DefaultSampler)
    kind = class_of(sampler, DATA_SAMPLERS)
    if issubclass(kind, RepeatFactorSampler):
        sampler = copy.deepcopy(sampler)
    elif kind in (DefaultSampler, InfiniteSampler):
        endless = kind is InfiniteSampler or "max_iters" in (cfg.get("train_cfg") or {})
        seed = {} if sampler.get("seed") is None else dict(seed=sampler["seed"])
        sampler = dict(
            type=f"{scope}RepeatFactorSampler",
            threshold=threshold,
            epoch="endless" if endless else "real",
            **seed,
        )
    else:
        raise InputError(
            f"--synthetic does not go with the sampler {kind.__name__}, which draws by a rule of "
            "its own: expected RepeatFactorSampler, DefaultSampler or InfiniteSampler "
            "(--cfg-options train_dataloader.sampler.type=DefaultSampler, for both arms)"
        )
    _check_batch_sampler(loader)
    if policy is None:
        policy = "ratio" if ratio is not None else sampler.get("policy", "joint")
    ratio = list(ratio) if isinstance(ratio, tuple) else ratio
    sampler.update(policy=policy, synthetic_ratio=ratio)
    loader.sampler = sampler


def _check_batch_sampler(loader: Any) -> None:
    batches = loader.get("batch_sampler")
    if not batches:
        return
    name = class_of(batches, DATA_SAMPLERS).__name__
    if name in BATCHES_OF_ANOTHER_SHAPE:
        raise InputError(
            f"--synthetic does not go with the batch sampler {name}: expected none, or "
            "AspectRatioBatchSampler"
        )


def _import_plugin(cfg: Config) -> None:
    """Whoever reads the config again has our names registered."""
    known = cfg.get("custom_imports") or {}
    modules = known.get("imports") or []
    modules = [modules] if isinstance(modules, str) else list(modules)
    if PLUGIN not in modules:
        cfg.custom_imports = dict(known, imports=[PLUGIN, *modules])
