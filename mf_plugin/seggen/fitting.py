"""A real image's segments at the size of the generated image.

Shapes: a real image has H x W pixels, the generated one h x w.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from mf_plugin.errors import InputError

Mask = npt.NDArray[np.bool_]
Window = tuple[int, int, int, int]  # top, left, height, width in pixels of the real image

FITS = ("crop", "stretch")


def draw_window(
    real: tuple[int, int], size: tuple[int, int], fit: str, rng: np.random.Generator
) -> Window:
    """The part of a real image that the generated one shows.

    Args:
        real: (H, W).
        size: (h, w).
        fit: "crop": the largest window of the generated image's proportions, at a random place.
            "stretch": the whole image; its proportions change.

    Raises:
        InputError: another fit.
    """
    if fit not in FITS:
        raise InputError(f"fit is {fit!r}; expected one of {FITS}")
    if fit == "stretch":
        return 0, 0, *real
    scale = min(real[0] / size[0], real[1] / size[1])
    height, width = (
        min(whole, max(1, round(side * scale))) for whole, side in zip(real, size, strict=True)
    )
    top = int(rng.integers(real[0] - height + 1))
    left = int(rng.integers(real[1] - width + 1))
    return top, left, height, width


def fit_segments(
    segments: Sequence[tuple[int, Mask]], window: Window, size: tuple[int, int], merge: bool
) -> list[tuple[int, Mask]]:
    """Segments inside a window, at another size; no two share a pixel.

    Where two overlap, the smaller one lies on top, as colour maps have it.

    Args:
        segments: (category id, bool[H, W]), of one image.
        window: inside it.
        size: (h, w).
        merge: whether segments of one category become one.

    Returns:
        (category id, bool[h, w]), larger ones first; what is not in sight is left out.
    """
    if not segments:
        return []
    top, left, height, width = window
    inside = [(id_, mask[top : top + height, left : left + width]) for id_, mask in segments]
    owner = np.zeros((height, width), np.int32)  # 1 + the segment on top
    areas = [np.count_nonzero(mask) for _, mask in inside]
    for index in sorted(range(len(inside)), key=lambda i: -areas[i]):
        owner[inside[index][1]] = index + 1
    owner = cv2.resize(
        owner.astype(np.float32), size[::-1], interpolation=cv2.INTER_NEAREST_EXACT
    ).astype(np.int32)
    masks: dict[tuple[int, int], Mask] = {}
    for index in np.unique(owner[owner > 0]).tolist():
        category_id = inside[index - 1][0]
        key = (category_id, 0 if merge else index)
        mask = owner == index
        masks[key] = masks[key] | mask if key in masks else mask
    found = [(category_id, mask) for (category_id, _), mask in masks.items()]
    return sorted(found, key=lambda item: -np.count_nonzero(item[1]))
