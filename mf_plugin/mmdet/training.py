"""Train a detector on mmengine's Runner, with or without synthetic data, and dump its predictions.

Logging, checkpoints, resuming and distributed launch are the runner's own.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmdet.evaluation import CocoMetric, SemSegMetric
from mmdet.registry import METRICS
from mmengine.config import Config, DictAction
from mmengine.dataset import BaseDataset
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from mmengine.runner.checkpoint import find_latest_checkpoint

from mf_plugin.data.choice import choose_synthetic
from mf_plugin.errors import InputError
from mf_plugin.mmdet.metrics import LVISResults
from mf_plugin.mmdet.panoptic import PanopticQuality
from mf_plugin.mmdet.registered import class_of, leaves
from mf_plugin.mmdet.semantic import SemanticIoU
from mf_plugin.mmdet.synthetic import (
    is_repeat_factor_sampler,
    with_synthetic,
    without_synthetic,
)
from mf_plugin.mmdet.weights import install_weights_only

logger = logging.getLogger(__name__)

RESULT_METRICS = (LVISResults, CocoMetric)  # with RareAP and LVISMetric, their subclasses
MAP_METRICS = (PanopticQuality, SemanticIoU, SemSegMetric)  # of maps, which eval_rare does not read


@dataclass(frozen=True)
class TrainingOptions:
    """What the command line says about a run; None leaves the config's own value.

    Attributes:
        config: a config file of mmengine.
        synthetic: folder of a synthetic dataset to train on as well, or a generation config; or
            several of them.
        no_synthetic: train without what synthetic data the config names.
        synthetic_only: train on the synthetic data alone, that is given or in the config.
        policy: how synthetic images are sampled: joint, real, ratio, replace, synthetic.
        synthetic_ratio: their share of an epoch, or the probability of replace; one or several.
        work_dir: where logs, checkpoints and results go.
        seed: of weights, draws and augmentation.
        cfg_options: ``key=value`` items that override the config.
        resume: go on from the latest checkpoint in the work dir; without one, begin.
        eval_only: predict without training, with the ``load_from`` of ``cfg_options``, else with
            the latest checkpoint in the work dir, else with the config's ``load_from``.
        launcher: none, pytorch, slurm or mpi.
    """

    config: str
    synthetic: str | Sequence[str] | None = None
    no_synthetic: bool = False
    synthetic_only: bool = False
    policy: str | None = None
    synthetic_ratio: float | Sequence[float] | None = None
    work_dir: str | None = None
    seed: int | None = None
    cfg_options: Sequence[str] = ()
    resume: bool = False
    eval_only: bool = False
    launcher: str = "none"


class QuietRunner(Runner):
    """mmengine's Runner; the log file gets everything, the console warnings and progress bars."""

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.setLevel(logging.WARNING)
        return logger


def train(options: TrainingOptions) -> Path:
    """Train, predict the test set, and return the folder with ``results.segm.json``.

    Raises:
        InputError: config, data or options are not usable; raised before the first iteration.
    """
    cfg = build_config(options)
    check_annotation_files(cfg)
    check_weights(cfg)
    install_weights_only()
    runner = QuietRunner.from_cfg(cfg)
    if cfg.get("test_dataloader"):
        runner.test_loop  # noqa: B018  builds it now: bad test data must not cost a training run
    if not options.eval_only:
        runner.train()
    if cfg.get("test_dataloader"):
        runner.test()
    return Path(cfg.work_dir)


def build_config(options: TrainingOptions) -> Config:
    """The config that the run uses, all options merged in.

    Raises:
        InputError: see `train`.
    """
    # 1. Read the file and merge the overrides.
    cfg = read_config(options.config)
    overrides = parse_overrides(options.cfg_options)
    if overrides:
        old_root = cfg.get("data_root")
        cfg.merge_from_dict(overrides)
        if "data_root" in overrides and old_root:
            cfg = _move_paths(cfg, old_root, overrides["data_root"])

    # 2. Put the synthetic data in, or take it out.
    cfg = _choose_data(cfg, options)

    # 3. Where things go, and the seed.
    name = Path(options.config).stem
    cfg.work_dir = options.work_dir or cfg.get("work_dir") or str(Path("work_dirs") / name)
    cfg.launcher = options.launcher
    if options.seed is not None:
        if options.seed < 0:
            raise InputError(f"seed {options.seed}: expected 0 or more")
        cfg.randomness = dict(cfg.get("randomness") or {}, seed=options.seed)
    _write_results(cfg)

    # 4. Where it starts from.
    _choose_weights(cfg, options, named="load_from" in overrides)
    return cfg


def _choose_weights(cfg: Config, options: TrainingOptions, named: bool) -> None:
    """``load_from`` is where a training starts; what it has trained since comes first.

    mmengine would resume the training that wrote ``load_from``, at its last iteration.
    """
    wanted = options.resume or (options.eval_only and not named)
    latest = None
    if wanted and Path(cfg.work_dir).is_dir():
        latest = find_latest_checkpoint(cfg.work_dir)
    cfg.resume = options.resume and latest is not None
    if latest is not None:
        cfg.load_from = latest
    if options.eval_only and not cfg.get("load_from"):
        raise InputError(
            f"--eval-only: no checkpoint in {cfg.work_dir}; train first, or name one with "
            "--cfg-options load_from=FILE"
        )


def read_config(path: str) -> Config:
    """Read a config file of mmengine.

    Raises:
        InputError: the file is missing or is no config.
    """
    if not Path(path).is_file():
        raise InputError(f"config {path} does not exist: expected a file of configs/mmdet/")
    try:
        return Config.fromfile(path)
    except (InputError, ImportError):
        raise
    except Exception as error:
        message = " ".join(str(error).split())
        raise InputError(f"config {path} cannot be read: {message}") from error


def parse_overrides(items: Sequence[str]) -> dict[str, Any]:
    """``["a.b=1", "c=x,y"]`` to a dict, by mmengine's rules.

    Raises:
        InputError: an item is not ``key=value``.
    """
    for item in items:
        if not item.partition("=")[0] or "=" not in item:
            raise InputError(f"--cfg-options {item!r}: expected key=value")
    if not items:
        return {}
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--options", nargs="+", action=DictAction)
    return parser.parse_args(["--options", *items]).options


def check_annotation_files(cfg: Config) -> None:
    """Every annotation file that the config names is there.

    A dataset that finds its file in a way of its own is left to say so itself.

    Raises:
        InputError: one is not; says how to build it where the config knows (``data_command``).
    """
    for split in ("train", "val", "test"):
        loader = cfg.get(f"{split}_dataloader")
        for dataset in leaves(loader["dataset"]) if loader and loader.get("dataset") else ():
            path = _annotation_file(dataset)
            if path is not None and not path.is_file():
                command = cfg.get("data_command")
                hint = f"; build it with: {command}" if command else ""
                raise InputError(f"annotations of the {split} set are missing: {path}{hint}")


def check_weights(cfg: Config) -> None:
    """The weights that a training starts from are there; remote ones are left to mmengine.

    Raises:
        InputError: they are not.
    """
    path = cfg.get("load_from")
    if path and "://" not in path and not Path(path).is_file():
        raise InputError(
            f"load_from {path} does not exist: train it first, or name another file with "
            "--cfg-options load_from=FILE"
        )


def _annotation_file(dataset: Any) -> Path | None:
    """The file that a dataset will read; None where that is remote, or its class finds it."""
    file = dataset.get("ann_file")
    root = dataset.get("data_root") or ""
    if not isinstance(file, str) or not file or dataset.get("backend_args"):
        return None
    if "://" in file or "://" in root:
        return None
    kind = class_of(dataset)
    if getattr(kind, "_join_prefix", None) is not BaseDataset._join_prefix:
        return None
    if kind.__module__.partition(".")[0] not in ("mmdet", "mf_plugin"):
        return None  # a user's own may set its root or file itself
    return Path(root, file)


def _write_results(cfg: Config) -> None:
    """The test metric writes its predictions to the work dir."""
    evaluators = _evaluators(cfg.get("test_evaluator"))
    writers = [
        evaluator
        for evaluator in evaluators
        if issubclass(class_of(evaluator, METRICS), RESULT_METRICS)
    ]
    kinds = [class_of(evaluator, METRICS) for evaluator in evaluators]
    pairs = zip(evaluators, kinds, strict=True)
    maps = [evaluator for evaluator, kind in pairs if issubclass(kind, PanopticQuality)]
    for evaluator in (*writers, *maps):
        evaluator["outfile_prefix"] = str(Path(cfg.work_dir) / "results")
    if not writers and not all(issubclass(kind, MAP_METRICS) for kind in kinds):
        logger.warning(
            "test_evaluator (%s) writes no results.segm.json for tools/eval_rare.py: CocoMetric, "
            "LVISMetric and LVISResults do",
            ", ".join(kind.__name__ for kind in kinds),
        )


def _choose_data(cfg: Config, options: TrainingOptions) -> Config:
    choice = choose_synthetic(options)
    if options.no_synthetic:
        return without_synthetic(cfg)
    if choice.folders:
        return with_synthetic(cfg, choice.folders, choice.policy, choice.ratio)
    if choice.policy or choice.ratio is not None:
        sampler: Any = (cfg.get("train_dataloader") or {}).get("sampler") or {}
        if not is_repeat_factor_sampler(sampler):
            raise InputError(
                "--policy, --synthetic-ratio and --synthetic-only expect --synthetic DIR, or a "
                f"config whose sampler is RepeatFactorSampler; it is {sampler.get('type')}"
            )
        sampler.policy = choice.policy or "ratio"
        sampler.synthetic_ratio = choice.ratio
    return cfg


def _move_paths(cfg: Config, old: str, new: str) -> Config:
    """The config with every path below ``old`` below ``new``: mmengine fills them in on reading."""
    old = old.rstrip("/")

    def move(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: move(value) for key, value in node.items()}
        if isinstance(node, (list, tuple)):
            return type(node)(move(value) for value in node)
        if isinstance(node, str) and (node == old or node.startswith(old + "/")):
            return new.rstrip("/") + node[len(old) :]
        return node

    return Config(move(cfg.to_dict()), filename=cfg.filename)


def _evaluators(evaluator: Any) -> list[Any]:
    if not evaluator:
        return []
    return list(evaluator) if isinstance(evaluator, (list, tuple)) else [evaluator]
