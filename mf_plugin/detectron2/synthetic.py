"""Put a synthetic dataset into any training config of Detectron2, or take it out.

Both kinds of config are taken: yacs (yaml) and LazyConfig (.py). The schedule stays as it is:
Detectron2 counts iterations, so both arms of a comparison take the same number of optimiser steps.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog, get_detection_dataset_dicts
from omegaconf import DictConfig, OmegaConf

from mf_plugin.data.provider import resolve_folders
from mf_plugin.detectron2.catalog import is_synthetic, register, registered_folder
from mf_plugin.detectron2.config_keys import add_mosaicfusion_config
from mf_plugin.detectron2.loaders import PLAIN, REPEATING, build_lazy_train_loader, threshold_of
from mf_plugin.errors import InputError

NEEDS_SYNTHETIC = ("ratio", "replace", "synthetic")  # policies


def with_synthetic(
    cfg: CfgNode | DictConfig,
    root: str | Sequence[str],
    policy: str | None = None,
    ratio: float | Sequence[float] | None = None,
) -> CfgNode | DictConfig:
    """A copy of ``cfg`` that trains on its own training set and synthetic ones together.

    The datasets are registered as a side effect. Synthetic datasets that are in the config already
    give way. A trainer of your own has to build its loader with `loaders.build_train_loader` for
    any policy but ``joint``; a LazyConfig is changed so that every trainer does.

    Args:
        cfg: a config of Detectron2 with a training set.
        root: folder of the synthetic dataset, or a generation config; or several of them.
        policy: ``joint``, ``real``, ``ratio``, ``replace`` or ``synthetic``, see
            `sampling.repeat_factors`; where absent ``ratio`` if a ratio is given, else what the
            config says.
        ratio: share of the synthetic images in an epoch, or under ``replace`` the probability that
            a real image gives way; one for all folders, or one for each.

    Raises:
        InputError: the training set, its sampler or the task is of a kind that is not handled, or
            the categories do not fit.
    """
    cfg = without_synthetic(cfg)
    folders = resolve_folders(root)
    ratio = list(ratio) if isinstance(ratio, tuple) else ratio
    if isinstance(cfg, CfgNode):
        settings = {
            "MODEL.KEYPOINT_ON": cfg.MODEL.KEYPOINT_ON,
            "MODEL.LOAD_PROPOSALS": cfg.MODEL.LOAD_PROPOSALS,
        }
        _check_task(cfg.DATASETS.TRAIN, settings)
        if threshold_of(cfg) is None:
            raise InputError(
                f"synthetic data does not go with the sampler {cfg.DATALOADER.SAMPLER_TRAIN}: "
                f"expected {REPEATING} (with the square root) or {PLAIN}"
            )
        names = [register_beside(cfg.DATASETS.TRAIN[0], *folder) for folder in folders]
        cfg.DATASETS.TRAIN = (*cfg.DATASETS.TRAIN, *names)
        # Detectron2 writes the config into the work dir: there it stands for the run by itself.
        others = [entry for entry in cfg.MOSAICFUSION.DATASETS if entry[0] not in names]
        entries = [
            (name, folder) if config is None else (name, folder, config)
            for name, (folder, config) in zip(names, folders, strict=True)
        ]
        cfg.MOSAICFUSION.DATASETS = (*others, *entries)
        if policy is None:
            policy = "ratio" if ratio is not None else cfg.MOSAICFUSION.POLICY
        cfg.MOSAICFUSION.POLICY = policy
        cfg.MOSAICFUSION.RATIO = ratio
        return cfg
    names = _lazy_names(cfg)
    train = cfg.dataloader.train
    mapper = train.get("mapper") or {}
    settings = {
        "dataloader.train.mapper.use_keypoint": mapper.get("use_keypoint"),
        "dataloader.train.dataset.proposal_files": train.dataset.get("proposal_files"),
    }
    _check_task(names, settings)
    cfg = with_sampler(cfg, policy or ("ratio" if ratio is not None else "joint"), ratio)
    added = [register_beside(names[0], *folder) for folder in folders]
    cfg.dataloader.train.dataset.names = [*names, *added]
    return cfg


def without_synthetic(cfg: CfgNode | DictConfig) -> CfgNode | DictConfig:
    """A copy of ``cfg`` less the synthetic datasets; its sampler stays, at policy ``joint``.

    Raises:
        InputError: nothing is left.
    """
    cfg = copy.deepcopy(cfg)
    if isinstance(cfg, CfgNode):
        cfg.defrost()
        add_mosaicfusion_config(cfg)
        cfg.DATASETS.TRAIN = tuple(_real(cfg.DATASETS.TRAIN, synthetic_names(cfg)))
        if cfg.MOSAICFUSION.POLICY in NEEDS_SYNTHETIC:
            cfg.MOSAICFUSION.POLICY = "joint"
        cfg.MOSAICFUSION.RATIO = None
        return cfg
    names = _lazy_names(cfg)
    real = _real(names, set())
    if len(real) < len(names):
        cfg.dataloader.train.dataset.names = real
    return cfg


def with_sampler(
    cfg: DictConfig, policy: str = "joint", ratio: float | Sequence[float] | None = None
) -> DictConfig:
    """A copy of a LazyConfig whose training loader has our sampler and reads its dataset once.

    Raises:
        InputError: its sampler is neither RepeatFactorTrainingSampler nor TrainingSampler.
    """
    cfg = copy.deepcopy(cfg)
    train = cfg.dataloader.train
    threshold = lazy_threshold(cfg)
    if threshold is None:
        raise InputError(
            f"synthetic data does not go with the sampler {_name_of(train.sampler['_target_'])}: "
            f"expected {REPEATING} of a threshold (with the square root) or {PLAIN}"
        )
    if not _is_ours(train):
        train.loader = train["_target_"]
        train["_target_"] = build_lazy_train_loader
        train.pop("sampler", None)
    train.threshold, train.policy, train.ratio = threshold, policy, ratio
    train.seed = (cfg.get("train") or {}).get("seed", -1)
    return cfg


def lazy_threshold(cfg: DictConfig) -> float | None:
    """t of a LazyConfig's sampler; None where it is none that ours stands for."""
    train = cfg.dataloader.train
    if _is_ours(train):
        return float(train.threshold)
    sampler = train.get("sampler")
    if sampler is None or _name_of(sampler["_target_"]) == PLAIN:
        return 0.0
    factors = sampler.get("repeat_factors")
    if _name_of(sampler["_target_"]) != REPEATING or not OmegaConf.is_dict(factors):
        return None
    if "repeat_thresh" not in factors or not factors.get("sqrt", True):
        return None
    return float(factors.repeat_thresh)


def reads_catalog(cfg: DictConfig) -> bool:
    """Whether a LazyConfig trains on names of Detectron2's catalog, as its own configs do."""
    return _dataset_target(cfg) == get_detection_dataset_dicts.__name__


def register_from_config(cfg: CfgNode) -> None:
    """Register what the config names under MOSAICFUSION and uses in DATASETS.

    The first real dataset of DATASETS.TRAIN sets the classes of all the others.

    Raises:
        InputError: an entry is malformed, or see `register`.
    """
    ours = cfg.MOSAICFUSION
    used = (*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST)
    synthetic = synthetic_names(cfg)
    first = next((name for name in cfg.DATASETS.TRAIN if name not in synthetic), None)
    real = [_entry("REAL_DATASETS", entry, (2,)) for entry in ours.REAL_DATASETS]
    for name, folder in sorted(real, key=lambda entry: entry[0] != first):
        if name in used:
            root = Path(ours.DATA_ROOT, folder)
            like = None if name == first else first
            if not root.is_dir():
                hint = f"; build it with: {ours.DATA_COMMAND}" if ours.DATA_COMMAND else ""
                raise InputError(f"dataset {name}: {root} does not exist{hint}")
            register(name, root, like=like, synthetic=False)
    for entry in ours.DATASETS:
        name, folder, *config = _entry("DATASETS", entry, (2, 3))
        if name in used:
            register(name, folder, like=first, generation_config=config[0] if config else None)


def register_beside(real: str, folder: str, generation_config: str | None = None) -> str:
    """Register a synthetic dataset with the classes of ``real``; returns its name."""
    name = f"{real}_mosaicfusion"
    if registered_folder(name) not in (None, folder):
        name += "_" + hashlib.sha256(folder.encode()).hexdigest()[:8]
    register(name, folder, like=real, generation_config=generation_config)
    return name


def synthetic_names(cfg: CfgNode) -> set[str]:
    """The names of DATASETS.TRAIN that stand for synthetic datasets."""
    listed = {str(entry[0]) for entry in cfg.MOSAICFUSION.DATASETS}
    return {name for name in cfg.DATASETS.TRAIN if name in listed or is_synthetic(name)}


def _real(names: Sequence[str], synthetic: set[str]) -> list[str]:
    real = [name for name in names if name not in synthetic and not is_synthetic(name)]
    if not real:
        raise InputError(
            f"the config trains on {', '.join(names) or 'no dataset'}: expected a real training "
            "set in it"
        )
    return real


def _check_task(names: Sequence[str], settings: Mapping[str, Any]) -> None:
    """Raises InputError where a training needs more than boxes and masks."""
    for key, value in settings.items():
        if value:
            raise InputError(f"{key} is on: synthetic images have boxes and masks alone")
    for name in names:
        task = MetadataCatalog.get(name).get("evaluator_type") or ""
        if "sem_seg" in task or "panoptic" in task:
            raise InputError(
                f"dataset {name} is for {task}: synthetic images have boxes and masks alone"
            )


def _entry(key: str, entry: Any, lengths: tuple[int, ...]) -> tuple[str, ...]:
    if isinstance(entry, str) or len(entry) not in lengths:
        expected = "(name, folder)" + (" or (name, folder, generation config)" * (3 in lengths))
        raise InputError(f"MOSAICFUSION.{key} has the entry {entry!r}: expected {expected}")
    return tuple(map(str, entry))


def _lazy_names(cfg: DictConfig) -> list[str]:
    if not reads_catalog(cfg):
        raise InputError(
            f"dataloader.train.dataset of the config is {_dataset_target(cfg)}: expected "
            f"{get_detection_dataset_dicts.__name__}"
        )
    names = cfg.dataloader.train.dataset.names
    return [names] if isinstance(names, str) else list(names)


def _dataset_target(cfg: DictConfig) -> str | None:
    loader: Any = (cfg.get("dataloader") or {}).get("train")
    dataset: Any = loader.get("dataset") if OmegaConf.is_dict(loader) else None
    return _name_of(dataset.get("_target_")) if OmegaConf.is_dict(dataset) else None


def _is_ours(loader: DictConfig) -> bool:
    # by name: a LazyConfig that was saved as yaml names its functions
    return _name_of(loader["_target_"]) == build_lazy_train_loader.__name__


def _name_of(target: Any) -> str | None:
    if target is None or isinstance(target, str):
        return target.rpartition(".")[2] if target else None
    return getattr(target, "__name__", str(target))
