"""Reading Detectron2's two kinds of config, and putting the data of a run into them."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode, LazyCall, LazyConfig, get_cfg
from detectron2.data import MetadataCatalog
from detectron2.evaluation import COCOEvaluator, LVISEvaluator
from detectron2.utils import comm
from omegaconf import DictConfig, OmegaConf

from mf_plugin.detectron2.config_keys import add_mosaicfusion_config
from mf_plugin.detectron2.evaluator import RareAPEvaluator
from mf_plugin.detectron2.synthetic import (
    lazy_threshold,
    reads_catalog,
    register_from_config,
    synthetic_names,
    with_sampler,
    with_synthetic,
    without_synthetic,
)
from mf_plugin.errors import InputError
from mf_plugin.extras import MissingExtra, require
from mf_plugin.frameworks import is_lazy_config


def is_lazy(path: str) -> bool:
    """Whether a config file of Detectron2 is a LazyConfig: Python, or the yaml of a saved one.

    Raises:
        InputError: the file is missing.
    """
    if not Path(path).is_file():
        raise InputError(f"config {path} does not exist: expected a file of configs/detectron2/")
    return is_lazy_config(path)


def read_yaml_config(
    path: str, opts: Sequence[str] = (), add_config: Sequence[str] = ()
) -> CfgNode:
    """Detectron2's defaults, our keys, CenterNet2's where they are used, the file, the overrides.

    Args:
        path: the yaml file; ``_BASE_`` is relative to it.
        opts: ``KEY VALUE`` pairs.
        add_config: ``module:function``, each called with the config before the file is merged.

    Raises:
        InputError: the file or an override cannot be read, or names an unknown key.
    """
    for item in opts:
        if item.startswith("--"):
            raise InputError(f"{item} stands behind the overrides: options come before them")
    if len(opts) % 2:
        raise InputError(
            f"overrides {' '.join(opts)!r}: expected KEY VALUE pairs, as in MODEL.DEVICE cpu"
        )
    cfg = get_cfg()
    add_mosaicfusion_config(cfg)
    try:
        content = CfgNode.load_yaml_with_base(path, allow_unsafe=True) or {}
        if "CENTERNET" in content.get("MODEL", {}):
            # importing it registers its models, too
            require("centernet.config", "detectron2").add_centernet_config(cfg)
        for name in add_config:
            _function(name)(cfg)
        cfg.merge_from_file(path, allow_unsafe=True)
        cfg.merge_from_list(list(opts))
    except (InputError, MissingExtra):
        raise
    except Exception as error:
        message = " ".join(str(error).split())
        raise InputError(f"config {path} cannot be read: {message}") from error
    return cfg


def read_lazy_config(path: str, opts: Sequence[str] = ()) -> DictConfig:
    """A LazyConfig with its overrides.

    Raises:
        InputError: the file or an override cannot be read.
    """
    for item in opts:
        if not item.partition("=")[0] or "=" not in item:
            raise InputError(f"override {item!r}: a LazyConfig expects key=value")
    try:
        return LazyConfig.apply_overrides(LazyConfig.load(path), list(opts))
    except (InputError, ImportError):
        raise
    except Exception as error:
        message = " ".join(str(error).split())
        raise InputError(f"config {path} cannot be read: {message}") from error


def choose_data(
    cfg: CfgNode,
    synthetic: str | Sequence[str] | None,
    no_synthetic: bool,
    policy: str | None,
    ratio: float | Sequence[float] | None,
) -> CfgNode:
    """The config with its datasets registered and the synthetic ones put in or left out.

    Raises:
        InputError: the options do not fit the config.
    """
    if no_synthetic or synthetic:
        cfg = without_synthetic(cfg)
    register_from_config(cfg)
    if synthetic:
        return with_synthetic(cfg, synthetic, policy, ratio)
    if policy is None and ratio is None:
        return cfg
    _expect_synthetic(bool(synthetic_names(cfg)))
    cfg.MOSAICFUSION.POLICY = policy or "ratio"
    cfg.MOSAICFUSION.RATIO = ratio
    return cfg


def choose_lazy_data(
    cfg: DictConfig,
    synthetic: str | Sequence[str] | None,
    no_synthetic: bool,
    policy: str | None,
    ratio: float | Sequence[float] | None,
) -> DictConfig:
    """`choose_data` for a LazyConfig; LVISEvaluator gives way to RareAPEvaluator.

    A config that has no training loader, or one of its own making, stays as it is.
    """
    if synthetic:
        cfg = with_synthetic(cfg, synthetic, policy, ratio)
    else:
        _expect_synthetic(policy is None and ratio is None)
        if reads_catalog(cfg):
            if no_synthetic:
                cfg = without_synthetic(cfg)
            if lazy_threshold(cfg) is not None:
                cfg = with_sampler(cfg)
    evaluator: Any = (cfg.get("dataloader") or {}).get("evaluator")
    kind = _target(evaluator) if OmegaConf.is_dict(evaluator) else None
    if kind == COCOEvaluator.__name__ and evaluator.get("output_dir") is None:
        evaluator.output_dir = str(Path(cfg.train.output_dir, "inference"))
    if kind == LVISEvaluator.__name__:
        cfg.dataloader.evaluator = LazyCall(RareAPEvaluator)(
            dataset_name=evaluator.dataset_name,
            output_prefix=str(Path(cfg.train.output_dir, "results")),
            max_dets=evaluator.get("max_dets_per_image") or 300,
        )
    return cfg


def write_category_counts(cfg: CfgNode) -> CfgNode:
    """The config with a file for CenterNet2's federated loss, written where it has none.

    CenterNet2 reads the number of training images of each category from
    MODEL.ROI_BOX_HEAD.CAT_FREQ_PATH, a file that is in neither package; the metadata of the
    training set has them.

    Raises:
        InputError: the metadata has no counts either.
    """
    head = cfg.MODEL.ROI_BOX_HEAD
    path = head.get("CAT_FREQ_PATH")
    if path is None or not head.USE_FED_LOSS or _counts(path) == cfg.MODEL.ROI_HEADS.NUM_CLASSES:
        return cfg
    name = cfg.DATASETS.TRAIN[0]
    counts = MetadataCatalog.get(name).get("class_image_count")
    if counts is None:
        raise InputError(
            f"federated loss wants the image count of each category: neither {path} nor the "
            f"metadata of {name} has them"
        )
    target = Path(cfg.OUTPUT_DIR, "category_image_count.json")
    if comm.get_local_rank() == 0:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.{os.getpid()}")
        partial.write_text(json.dumps(counts))
        partial.replace(target)
    comm.synchronize()
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.ROI_BOX_HEAD.CAT_FREQ_PATH = str(target)
    cfg.freeze()
    return cfg


def _counts(path: str) -> int | None:
    try:
        return len(json.loads(Path(path).read_text()))
    except (OSError, ValueError):
        return None


def _expect_synthetic(there: bool) -> None:
    if not there:
        raise InputError(
            "--policy, --synthetic-ratio and --synthetic-only expect --synthetic DIR, or a yaml "
            "config with a synthetic dataset in DATASETS.TRAIN"
        )


def _function(name: str) -> Any:
    module, _, function = name.partition(":")
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"--add-config {name}: expected MODULE:FUNCTION ({error})") from error


def _target(node: Any) -> str:
    target = node.get("_target_")
    return target.rpartition(".")[2] if isinstance(target, str) else target.__name__
