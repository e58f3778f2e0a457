"""The optimiser of a yaml config: SGD or AdamW, with clipping of the norm of all gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from detectron2.solver.build import get_default_optimizer_params, maybe_add_gradient_clipping

from mf_plugin.errors import InputError

OPTIMIZERS = ("SGD", "ADAMW")
FULL_MODEL = "full_model"
# Weight decay pulls towards zero what has no natural zero (Swin, Sec. A2.1 of arXiv 2103.14030).
UNDECAYED = {"relative_position_bias_table": {"weight_decay": 0.0}}


def build_optimizer(cfg: Any, model: torch.nn.Module) -> torch.optim.Optimizer:
    """SOLVER.OPTIMIZER with Detectron2's keys for learning rates, decay and clipping.

    Raises:
        InputError: another optimiser is asked for.
    """
    solver = cfg.SOLVER
    if solver.OPTIMIZER not in OPTIMIZERS:
        raise InputError(
            f"SOLVER.OPTIMIZER {solver.OPTIMIZER!r}: expected one of {', '.join(OPTIMIZERS)}"
        )
    groups = get_default_optimizer_params(
        model,
        base_lr=solver.BASE_LR,
        weight_decay=solver.WEIGHT_DECAY,
        weight_decay_norm=solver.WEIGHT_DECAY_NORM,
        bias_lr_factor=solver.BIAS_LR_FACTOR,
        weight_decay_bias=solver.WEIGHT_DECAY_BIAS,
        overrides=dict(UNDECAYED),
    )
    if solver.OPTIMIZER == "ADAMW":
        optimizer = torch.optim.AdamW(groups, lr=solver.BASE_LR, foreach=True)
    else:
        optimizer = torch.optim.SGD(
            groups,
            lr=solver.BASE_LR,
            momentum=solver.MOMENTUM,
            nesterov=solver.NESTEROV,
            foreach=True,
        )
    clipping = solver.CLIP_GRADIENTS
    if not (clipping.ENABLED and clipping.CLIP_TYPE == FULL_MODEL):
        return maybe_add_gradient_clipping(cfg, optimizer)
    optimizer.register_step_pre_hook(_clip_all(clipping.CLIP_VALUE, clipping.NORM_TYPE))
    return optimizer


def _clip_all(max_norm: float, norm_type: float) -> Callable[..., None]:
    def clip(optimizer: torch.optim.Optimizer, args: tuple, kwargs: dict) -> None:
        weights = [p for group in optimizer.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(weights, max_norm, norm_type)

    return clip
