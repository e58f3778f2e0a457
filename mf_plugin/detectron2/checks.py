"""What must hold before a long training starts."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from omegaconf import OmegaConf

from mf_plugin.detectron2.catalog import is_synthetic, registered_folder
from mf_plugin.errors import InputError


def check_device(device: str, has_gpu: bool, *, lazy: bool) -> None:
    """
    Raises:
        InputError: the config wants a GPU and there is none.
    """
    if str(device).startswith("cuda") and not has_gpu:
        override = "train.device=cpu" if lazy else "MODEL.DEVICE cpu"
        raise InputError(
            f"the config asks for the device {device!r} and torch sees no GPU: add {override} at "
            "the end of the command"
        )


def check_processes(options: Any, device: str, num_gpus: int, *, lazy: bool) -> None:
    """
    Args:
        options: `training.TrainingOptions`.
        device: of the config.
        num_gpus: that torch sees on this machine.
        lazy: whether the config is a LazyConfig.

    Raises:
        InputError: as many processes cannot run here.
    """
    if options.num_gpus < 1 or options.num_machines < 1:
        raise InputError(
            f"--num-gpus {options.num_gpus} --num-machines {options.num_machines}: expected 1 or "
            "more of each"
        )
    if not 0 <= options.machine_rank < options.num_machines:
        raise InputError(
            f"--machine-rank {options.machine_rank}: expected 0 to {options.num_machines - 1}"
        )
    processes = options.num_gpus * options.num_machines
    if processes == 1:
        return
    if num_gpus and options.num_gpus > num_gpus:
        raise InputError(f"--num-gpus {options.num_gpus}: torch sees {num_gpus} here")
    if device == "cpu" and not lazy and not options.eval_only:
        raise InputError(
            f"{processes} processes on the device 'cpu': Detectron2's trainer for yaml configs "
            "has a GPU for each; a LazyConfig, and --eval-only, run without"
        )


def check_datasets(cfg: Any) -> None:
    """Every dataset is known and its annotations are there; test sets of ours load.

    Raises:
        InputError: names the dataset and what is missing.
    """
    train, test = dataset_names(cfg)
    for name in (*train, *test):
        if name not in DatasetCatalog:
            raise InputError(
                f"dataset {name!r} is not registered: expected a built-in one, one of "
                "MOSAICFUSION.DATASETS or MOSAICFUSION.REAL_DATASETS, or one that the config's "
                "own code registers"
            )
        json_file = MetadataCatalog.get(name).get("json_file")
        local = registered_folder(name) is None and json_file and "://" not in json_file
        if local and not Path(json_file).is_file():
            where = os.environ.get("DETECTRON2_DATASETS", "datasets")
            raise InputError(
                f"annotations of {name} are missing: {json_file}; Detectron2 looks below "
                f"DETECTRON2_DATASETS, which is {where!r}"
            )
    for name in test:
        if registered_folder(name) is not None and not is_synthetic(name):
            DatasetCatalog.get(name)


def dataset_names(cfg: Any) -> tuple[list[str], list[str]]:
    """The names of the training and the test sets of either kind of config."""
    if isinstance(cfg, CfgNode):
        return list(cfg.DATASETS.TRAIN), list(cfg.DATASETS.TEST)
    loaders = cfg.get("dataloader") or {}
    return _lazy_names(loaders.get("train")), _lazy_names(loaders.get("test"))


def _lazy_names(loader: Any) -> list[str]:
    dataset: Any = loader.get("dataset") if OmegaConf.is_dict(loader) else None
    if not OmegaConf.is_dict(dataset):
        return []
    names: str | Iterable[str] = dataset.get("names") or []
    return [names] if isinstance(names, str) else list(names)
