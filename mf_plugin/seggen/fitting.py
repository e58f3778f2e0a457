"""A real image's segments at the size of the generated image.

Shapes: a real image has H x W pixels, the generated one h x w.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mf_plugin.seggen.views import View

Mask = npt.NDArray[np.bool_]

CROP, STRETCH = FITS = ("crop", "stretch")


def stretched_view(size: tuple[int, int]) -> View:
    """The whole image; its proportions change."""
    return View(size, size, (0, 0))


def scale_mask(mask: Mask, size: tuple[int, int]) -> Mask:
    """bool[H, W] -> bool[h, w] of the nearest pixels: what shares none before shares none after."""
    rows, columns = (
        (2 * np.arange(new) + 1) * old // (2 * new)
        for old, new in zip(mask.shape, size, strict=True)
    )
    scaled: Mask = mask[rows[:, None], columns]
    return scaled


def fit_segments(
    segments: Sequence[tuple[int, Mask]], view: View, merge: bool
) -> list[tuple[int, Mask]]:
    """What a view shows of segments; no two share a pixel.

    Where two overlap, the smaller one lies on top, as colour maps have it.

    Args:
        segments: (category id, bool[H, W]), of one image.
        merge: whether segments of one category become one.

    Returns:
        (category id, bool[h, w]), larger ones first; what is not in sight is left out.
    """
    seen = [(category_id, view.mask(mask)) for category_id, mask in segments]
    owner = np.zeros(view.size, np.int32)  # 1 + the segment on top
    areas = [np.count_nonzero(mask) for _, mask in seen]
    for index in sorted(range(len(seen)), key=lambda i: -areas[i]):
        owner[seen[index][1]] = index + 1
    masks: dict[tuple[int, int], Mask] = {}
    for index in np.unique(owner[owner > 0]).tolist():
        category_id = seen[index - 1][0]
        key = (category_id, 0 if merge else index)
        mask = owner == index
        masks[key] = masks[key] | mask if key in masks else mask
    found = [(category_id, mask) for (category_id, _), mask in masks.items()]
    return sorted(found, key=lambda item: -np.count_nonzero(item[1]))
