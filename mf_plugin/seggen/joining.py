"""Which parts of one colour are one segment: those near each other without a border between.

The mask of an object may have several parts, and an autoencoder cuts thin ones; by their colour
alone they do not belong together. So parts of a category that are near each other are read as one
segment, and a border, all along the gap, keeps different objects apart that are as near.
Shapes: H x W pixels. The gap between two parts is where the distances to both add up to little
more than at its narrowest; touching parts have the distance 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Window = tuple[slice, slice]

JOIN = 8  # pixels between two parts of one segment, at most
CLOSED = 0.5  # of the middle of a gap; more border there keeps two parts apart
# In pixels. Borders reach farther than is read, since an autoencoder moves edges.
_DRAWN_FARTHER = 2
_DRAWN_SLACK = 6.0
_READ_SLACK = 2.0
_READ_MIDDLE = 2.0


def find_borders(first: Mask, second: Mask, width: int, join: int = JOIN) -> Mask | None:
    """What keeps two objects of one category apart.

    Args:
        first, second: bool[H, W] without a common pixel.
        width: pixels on each side of the middle.
        join: of `join_parts`.

    Returns:
        bool[H, W], a line through the gap, whatever lies in it; None where the two are farther
        apart than parts that are read as one.
    """
    found = _distances(first, second, join + _DRAWN_FARTHER, _DRAWN_SLACK)
    if found is None:
        return None
    window, near, far, gap = found
    sides = np.maximum(near, far) <= width
    within = (first | second)[window]
    drawn = np.where(within, sides, np.abs(near - far) <= 2 * width)
    borders = np.zeros(first.shape, dtype=bool)
    borders[window] = gap & drawn
    return borders


def join_parts(parts: Sequence[Mask], border: Mask, join: int = JOIN) -> list[int]:
    """Group the parts of one category.

    Args:
        parts: bool[H, W] each, without a common pixel.
        border: bool[H, W]; pixels of borders, of these parts or of none.
        join: pixels between two that are one, at most.

    Returns:
        For each part the first one that it is one with.
    """
    group = list(range(len(parts)))
    for place, second in enumerate(parts):
        for before in range(place):
            old, new = max(group[place], group[before]), min(group[place], group[before])
            if old != new and _are_one(parts[before], second, border, join):
                group = [new if leader == old else leader for leader in group]
    return group


def _are_one(first: Mask, second: Mask, border: Mask, join: int) -> bool:
    found = _distances(first, second, join, _READ_SLACK)
    if found is None:
        return False
    window, near, far, gap = found
    middle = gap & (np.abs(near - far) <= _READ_MIDDLE)
    return float(border[window][middle].mean()) <= CLOSED


def _distances(
    first: Mask, second: Mask, limit: float, slack: float
) -> tuple[Window, npt.NDArray[np.float32], npt.NDArray[np.float32], Mask] | None:
    """A window around the gap; in it, the distances to both and the gap. None where the two are
    more than ``limit`` apart."""
    window = _window(first, second, int(limit + slack))
    if window is None or not (first[window].any() and second[window].any()):
        return None
    near, far = (
        cv2.distanceTransform((~mask[window]).astype(np.uint8), cv2.DIST_L2, 5)
        for mask in (first, second)
    )
    narrowest = float((near + far).min())
    if narrowest > limit:
        return None
    return window, near, far, near + far <= narrowest + slack


def _window(first: Mask, second: Mask, reach: int) -> Window | None:
    """Rows and columns that are within ``reach`` of both."""
    sides = []
    for axis in (1, 0):
        spans = [np.flatnonzero(mask.any(axis)) for mask in (first, second)]
        if not all(len(span) for span in spans):
            return None
        start = max(int(span[0]) for span in spans) - reach
        end = min(int(span[-1]) for span in spans) + reach + 1
        if start >= end:
            return None
        sides.append(slice(max(start, 0), end))
    return sides[0], sides[1]
