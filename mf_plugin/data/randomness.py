"""Generating inside a training run must not move that run's draws."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


@contextmanager
def random_state_kept() -> Iterator[None]:
    """Afterwards the generators of ``random``, numpy and torch are where they were before."""
    import torch

    python, legacy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)
