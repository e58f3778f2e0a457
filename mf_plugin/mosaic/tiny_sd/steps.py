"""Numbered steps with checkpoints, and the learning rate of each."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from tqdm import tqdm

from mf_plugin.mosaic.tiny_sd.config import TinySDConfig

CHECKPOINT_SECONDS = 300


def run_steps(
    torch: ModuleType,
    name: str,
    work: Path,
    steps: int,
    state: dict[str, Any],
    step_fn: Callable[[int], float],
) -> None:
    """Run ``step_fn(step) -> loss`` up to ``steps``, with checkpoints of ``state``'s objects."""
    path = work / f"{name}.pt"
    start = 0
    if path.exists():
        saved = torch.load(path, weights_only=True)
        start = saved.pop("step")
        for key, value in saved.items():
            state[key].load_state_dict(value)

    def save(step: int) -> None:
        temporary = path.with_suffix(".tmp")
        torch.save({"step": step, **{k: v.state_dict() for k, v in state.items()}}, temporary)
        temporary.replace(path)

    if start >= steps:
        return
    last, losses, began = time.monotonic(), [], time.monotonic()
    with tqdm(total=steps, initial=start, desc=name, unit="step", mininterval=5) as bar:
        for step in range(start, steps):
            losses.append(step_fn(step))
            bar.update()
            if (step + 1) % 100 == 0:
                row = {"step": step + 1, "loss": float(np.mean(losses))}
                row["seconds"] = round(time.monotonic() - began)
                with open(work / f"{name}.jsonl", "a") as log:
                    log.write(json.dumps(row) + "\n")
                bar.set_postfix(loss=f"{row['loss']:.4f}")
                losses = []
            if time.monotonic() - last > CHECKPOINT_SECONDS:
                save(step + 1)
                last = time.monotonic()
    save(steps)


def schedule(step: int, cycles: tuple[tuple[int, float], ...], config: TinySDConfig) -> float:
    """Learning-rate factor of a step, counted over all cycles (see TinySDConfig)."""
    for steps, factor in cycles:
        if step < steps:
            fall = (steps - step) / max(1.0, config.decay * steps)
            return factor * min(1.0, (step + 1) / config.warmup, fall)
        step -= steps
    return 0.0


def total_steps(cycles: tuple[tuple[int, float], ...]) -> int:
    return sum(steps for steps, _ in cycles)
