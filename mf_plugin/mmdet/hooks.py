"""Hooks of the runner: a progress bar with an estimate, and the memory layout of the weights."""

from __future__ import annotations

from typing import Any

import torch
from mmdet.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from tqdm import tqdm


@HOOKS.register_module()
class ProgressBarHook(Hook):
    """A tqdm bar over training iterations, and one over each validation and test.

    mmengine's own logger estimates the time too, but only every so many iterations.
    """

    priority = "VERY_LOW"

    def __init__(self) -> None:
        self._bar: Any = None  # a tqdm bar while one is open

    def before_train(self, runner: Any) -> None:
        self._open("training", runner.max_iters, initial=runner.iter)

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        if outputs and "loss" in outputs:
            self._bar.set_postfix(loss=f"{outputs['loss'].item():.2f}", refresh=False)
        self._bar.update(1)

    def after_train(self, runner: Any) -> None:
        self._close()

    def before_val_epoch(self, runner: Any) -> None:
        self._train_bar, self._bar = self._bar, None
        self._open("validation", len(runner.val_dataloader))

    def after_val_iter(self, *args: Any, **kwargs: Any) -> None:
        self._bar.update(1)

    def after_val_epoch(self, *args: Any, **kwargs: Any) -> None:
        self._close()
        self._bar = self._train_bar

    def before_test_epoch(self, runner: Any) -> None:
        self._open("test", len(runner.test_dataloader))

    def after_test_iter(self, *args: Any, **kwargs: Any) -> None:
        self._bar.update(1)

    def after_test_epoch(self, *args: Any, **kwargs: Any) -> None:
        self._close()

    def _open(self, text: str, total: int, initial: int = 0) -> None:
        self._bar = tqdm(
            desc=text, total=total, initial=initial, mininterval=1.0, disable=not is_main_process()
        )

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Keeps convolution weights as N, H, W, C in memory, which CPUs compute faster."""

    priority = "VERY_HIGH"

    def before_train(self, runner: Any) -> None:
        runner.model.to(memory_format=torch.channels_last)

    def before_test(self, runner: Any) -> None:
        runner.model.to(memory_format=torch.channels_last)
