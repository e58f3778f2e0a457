"""Train a detector in Detectron2, with or without synthetic data, and dump its predictions.

The trainer, its logs, checkpoints, resuming and the launch of several processes are Detectron2's.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.engine import default_argument_parser, default_setup, launch
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger

from mf_plugin.data.choice import choose_synthetic
from mf_plugin.detectron2 import checks, lazy, trainer
from mf_plugin.detectron2.configs import (
    choose_data,
    choose_lazy_data,
    is_lazy,
    read_lazy_config,
    read_yaml_config,
    write_category_counts,
)
from mf_plugin.errors import InputError


@dataclass(frozen=True)
class TrainingOptions:
    """What the command line says about a run; None leaves the config's own value.

    Attributes:
        config: a yaml config or a LazyConfig.
        synthetic: folder of a synthetic dataset to train on as well, or a generation config; or
            several of them.
        no_synthetic: train without what synthetic data the config names.
        synthetic_only: train on the synthetic data alone, that is given or in the config.
        policy: how synthetic images are sampled: joint, real, ratio, replace, synthetic.
        synthetic_ratio: their share of an epoch, or the probability of replace; one or several.
        work_dir: where logs, checkpoints and results go.
        seed: of weights, draws and augmentation.
        opts: overrides: ``KEY VALUE ...`` for yaml, ``key=value ...`` for a LazyConfig.
        resume: go on from the latest checkpoint in the work dir.
        eval_only: predict with the weights that `find_checkpoint` finds.
        num_gpus: processes on this machine, a GPU each.
        num_machines: machines that train together.
        machine_rank: the number of this one.
        dist_url: where they meet; None finds a free port of this machine.
        add_config: ``module:function`` that add a project's own keys to a yaml config.
    """

    config: str
    synthetic: str | Sequence[str] | None = None
    no_synthetic: bool = False
    synthetic_only: bool = False
    policy: str | None = None
    synthetic_ratio: float | Sequence[float] | None = None
    work_dir: str | None = None
    seed: int | None = None
    opts: Sequence[str] = ()
    resume: bool = False
    eval_only: bool = False
    num_gpus: int = 1
    num_machines: int = 1
    machine_rank: int = 0
    dist_url: str | None = None
    add_config: Sequence[str] = ()


def train(options: TrainingOptions) -> Path:
    """Train, predict the test set, and return the folder with the results.

    They are ``results.segm.json`` for test sets in LVIS's format (``results_NAME.segm.json`` where
    there are several) and ``inference/coco_instances_results.json`` for COCO's.

    Raises:
        InputError: config, data or options are not usable; raised before the first iteration.
    """
    cfg = build_config(options)
    checks.check_datasets(cfg)
    if options.eval_only:
        find_checkpoint(cfg, options)
    url = options.dist_url
    if url is None:
        alone = options.num_machines == 1
        url = "auto" if alone else default_argument_parser().get_default("dist_url")
    launch(
        _work,
        options.num_gpus,
        num_machines=options.num_machines,
        machine_rank=options.machine_rank,
        dist_url=url,
        args=(options,),
    )
    return Path(_output_dir(cfg))


def build_config(options: TrainingOptions) -> Any:
    """The config that the run uses, all options merged in, its datasets registered.

    Raises:
        InputError: see `train`.
    """
    if options.seed is not None and options.seed < 0:
        raise InputError(f"seed {options.seed}: expected 0 or more")
    choice = choose_synthetic(options)
    default_dir = str(Path("work_dirs", Path(options.config).stem))
    if is_lazy(options.config):
        cfg = read_lazy_config(options.config, options.opts)
        settings = cfg.setdefault("train", {})
        if options.seed is not None:
            settings.seed = options.seed
        own = settings.get("output_dir", "./output")
        settings.output_dir = options.work_dir or (default_dir if own == "./output" else own)
        cfg = choose_lazy_data(
            cfg, choice.folders, options.no_synthetic, choice.policy, choice.ratio
        )
        device = settings.get("device", "cuda")
    else:
        cfg = read_yaml_config(options.config, options.opts, options.add_config)
        if options.seed is not None:
            cfg.SEED = options.seed
        own = cfg.OUTPUT_DIR
        cfg.OUTPUT_DIR = options.work_dir or (default_dir if own == "./output" else own)
        cfg = choose_data(cfg, choice.folders, options.no_synthetic, choice.policy, choice.ratio)
        device = cfg.MODEL.DEVICE
        cfg.freeze()
    is_yaml = isinstance(cfg, CfgNode)
    checks.check_device(device, torch.cuda.is_available(), lazy=not is_yaml)
    checks.check_processes(options, device, torch.cuda.device_count(), lazy=not is_yaml)
    return cfg


def find_checkpoint(cfg: Any, options: TrainingOptions) -> str:
    """What --eval-only predicts with: the weights that the overrides name, else the work dir's
    latest checkpoint, else the config's weights. With --resume the latest checkpoint comes first.

    Raises:
        InputError: there is none of them.
    """
    folder = Path(_output_dir(cfg))
    latest = folder / "last_checkpoint"
    is_yaml = isinstance(cfg, CfgNode)
    weights = cfg.MODEL.WEIGHTS if is_yaml else cfg.train.get("init_checkpoint", "")
    keys = options.opts[::2] if is_yaml else [item.partition("=")[0] for item in options.opts]
    named = weights and ("MODEL.WEIGHTS" if is_yaml else "train.init_checkpoint") in keys
    if latest.is_file() and (options.resume or not named):
        return str(folder / latest.read_text().strip())
    if not weights:
        name = "MODEL.WEIGHTS FILE" if is_yaml else "train.init_checkpoint=FILE"
        raise InputError(
            f"--eval-only: no checkpoint in {folder}; train first, or name one with {name} at the "
            "end of the command"
        )
    return weights


def _work(options: TrainingOptions) -> None:
    """One process of a run; it may have been spawned, so it registers and builds all anew."""
    cfg = build_config(options)
    folder = _output_dir(cfg)
    if comm.is_main_process():
        Path(folder).mkdir(parents=True, exist_ok=True)
    comm.synchronize()
    setup_logger(folder, distributed_rank=comm.get_rank(), name="mf_plugin", abbrev_name="mf")
    default_setup(
        cfg,
        argparse.Namespace(
            config_file=options.config,
            eval_only=options.eval_only,
            resume=options.resume,
            opts=list(options.opts),
        ),
    )
    if not isinstance(cfg, CfgNode):
        if options.eval_only:
            lazy.evaluate(cfg, find_checkpoint(cfg, options))
        else:
            lazy.train(cfg, resume=options.resume)
        return
    cfg = write_category_counts(cfg)
    if options.eval_only:
        trainer.evaluate(cfg, find_checkpoint(cfg, options))
        return
    training = trainer.Trainer(cfg)
    training.resume_or_load(resume=options.resume)
    training.train()


def _output_dir(cfg: Any) -> str:
    return cfg.OUTPUT_DIR if isinstance(cfg, CfgNode) else cfg.train.output_dir
