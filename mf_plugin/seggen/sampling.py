"""What both models' sampling shares: checked arguments, one generator an image, pixels out.

Shapes: N images, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mf_plugin.errors import InputError
from mf_plugin.extras import require

Images = npt.NDArray[np.uint8]


def check_arguments(
    captions: Sequence[str], seeds: Sequence[int], steps: int, guidance: float
) -> None:
    """Raise InputError for what diffusers would take wrongly or explain badly."""
    if isinstance(captions, str):
        raise InputError(f"captions is the text {captions!r}; expected a list of them")
    if not captions or len(seeds) != len(captions):
        raise InputError(
            f"{len(captions)} captions and {len(seeds)} seeds; expected one seed for each caption, "
            "and at least one"
        )
    if steps < 1:
        raise InputError(f"steps is {steps}; expected at least 1")
    if guidance < 1:
        raise InputError(f"guidance is {guidance}; expected at least 1, which is none")


def make_generators(seeds: Sequence[int]) -> list[Any]:
    """A CPU generator for each image: what else is in the batch changes nothing."""
    torch = require("torch", "diffusion")
    return [torch.Generator("cpu").manual_seed(int(seed)) for seed in seeds]


def to_pixels(images: npt.NDArray[Any]) -> Images:
    """float[N, H, W, 3] in [0, 1] -> uint8; what is not finite becomes 0."""
    rounded: npt.NDArray[Any] = np.rint(np.nan_to_num(images).clip(0, 1) * 255)
    return rounded.astype(np.uint8)
