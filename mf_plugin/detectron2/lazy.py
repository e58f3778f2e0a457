"""Training from a LazyConfig, in the steps of Detectron2's tools/lazyconfig_train_net.py."""

from __future__ import annotations

from typing import Any

import torch
from detectron2.config import instantiate
from detectron2.engine import AMPTrainer, SimpleTrainer, default_writers, hooks
from detectron2.engine.defaults import create_ddp_model
from detectron2.evaluation import inference_on_dataset, print_csv_format
from detectron2.utils import comm

from mf_plugin.detectron2.trainer import skip_draws, usable_writers
from mf_plugin.detectron2.weights import Checkpointer


def train(cfg: Any, *, resume: bool) -> None:
    """Train, and measure at the end and every ``train.eval_period`` iterations."""
    # 1. The model before the data, so that both arms of a comparison start from the same weights.
    model = instantiate(cfg.model)
    model.to(cfg.train.device)
    cfg.optimizer.params.model = model
    optimizer = instantiate(cfg.optimizer)
    loader = instantiate(cfg.dataloader.train)

    # 2. The trainer and its hooks.
    options = dict(cfg.train.ddp)
    if torch.device(cfg.train.device).type == "cpu":
        options.setdefault("device_ids", None)  # Detectron2 would give each process a GPU
    model = create_ddp_model(model, **options)
    kind = AMPTrainer if cfg.train.amp.enabled else SimpleTrainer
    trainer = kind(model, loader, optimizer)
    checkpointer = Checkpointer(model, cfg.train.output_dir, trainer=trainer)
    main = comm.is_main_process()
    period = cfg.train.log_period
    writers = default_writers(cfg.train.output_dir, cfg.train.max_iter) if main else []
    trainer.register_hooks(
        [
            hooks.IterationTimer(),
            hooks.LRScheduler(scheduler=instantiate(cfg.lr_multiplier)),
            hooks.PeriodicCheckpointer(checkpointer, **cfg.train.checkpointer) if main else None,
            hooks.EvalHook(cfg.train.eval_period, lambda: test(cfg, model)),
            hooks.PeriodicWriter(usable_writers(writers), period=period) if main else None,
        ]
    )

    # 3. Where it starts from.
    checkpointer.resume_or_load(cfg.train.init_checkpoint, resume=resume)
    start = trainer.iter + 1 if resume and checkpointer.has_checkpoint() else 0
    skip_draws(loader, start, cfg.dataloader.train.get("total_batch_size", 0))
    trainer.train(start, cfg.train.max_iter)


def evaluate(cfg: Any, checkpoint: str) -> None:
    """Predict and measure the test set of a config with the weights of a file."""
    model = instantiate(cfg.model)
    model.to(cfg.train.device)
    Checkpointer(model).load(checkpoint)
    test(cfg, model)


def test(cfg: Any, model: torch.nn.Module) -> dict | None:
    """The metrics of ``dataloader.evaluator`` on ``dataloader.test``; None without an evaluator."""
    if "evaluator" not in cfg.dataloader:
        return None
    found = inference_on_dataset(
        model, instantiate(cfg.dataloader.test), instantiate(cfg.dataloader.evaluator)
    )
    print_csv_format(found or {})
    return found
