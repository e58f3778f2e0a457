"""Which parts of one colour are one segment: those near each other without a border between.

The mask of an object may have several parts, and an autoencoder cuts thin ones; by their colour
alone they do not belong together. So parts of a category that are near each other are read as one
segment, and a border, all along the gap, keeps different objects apart that are as near.
Shapes: H x W pixels. The gap between two parts is where the distances to both add up to little
more than at its narrowest; touching parts have the distance 1.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Box = tuple[int, int, int, int]
Window = tuple[slice, slice]

JOIN = 8  # pixels between two parts of one segment, at most
CLOSED = 0.5  # of the middle of a gap; more border there keeps two parts apart
# In pixels. Borders reach farther than is read, since an autoencoder moves edges.
_DRAWN_FARTHER = 2
_DRAWN_SLACK = 6.0
_READ_SLACK = 2.0
_READ_MIDDLE = 2.0
_FAR = 1e6


def draw_borders(objects: Sequence[Mask], width: int, join: int = JOIN) -> Mask:
    """What keeps the objects of one category apart.

    Args:
        objects: bool[H, W] each, at least one, without a common pixel.
        width: pixels on each side of the middle between two.
        join: of `join_parts`.

    Returns:
        bool[H, W]; between any two that are as near as parts that are read as one, a line through
        the gap, whatever lies in it.
    """
    borders = np.zeros(objects[0].shape, dtype=bool)
    boxes = [_box(mask) for mask in objects]
    for one, other in itertools.combinations(range(len(objects)), 2):
        window = _window(boxes[one], boxes[other], join + _DRAWN_FARTHER + _DRAWN_SLACK)
        if window is None:
            continue
        first, second = objects[one][window], objects[other][window]
        near, far = _distances(first), _distances(second)
        narrowest = float((near + far).min())
        if narrowest <= join + _DRAWN_FARTHER:
            gap = near + far <= narrowest + _DRAWN_SLACK
            sides = np.maximum(near, far) <= width
            middle = np.abs(near - far) <= 2 * width
            borders[window] |= gap & np.where(first | second, sides, middle)
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
    boxes = [_box(mask) for mask in parts]
    for one, other in itertools.combinations(range(len(parts)), 2):
        old, new = max(group[one], group[other]), min(group[one], group[other])
        window = _window(boxes[one], boxes[other], join + _READ_SLACK)
        if old == new or window is None:
            continue
        if _are_one(parts[one][window], parts[other][window], border[window], join):
            group = [new if leader == old else leader for leader in group]
    return group


def _are_one(first: Mask, second: Mask, border: Mask, join: int) -> bool:
    near, far = _distances(first), _distances(second)
    narrowest = float((near + far).min())
    if narrowest > join:
        return False
    middle = (near + far <= narrowest + _READ_SLACK) & (np.abs(near - far) <= _READ_MIDDLE)
    return float(border[middle].mean()) <= CLOSED


def _distances(mask: Mask) -> npt.NDArray[np.float32]:
    """float32[H, W]: to the mask, in pixels; 0 in it, far where it is empty."""
    if not mask.any():
        return np.full(mask.shape, _FAR, np.float32)
    return np.asarray(cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5), np.float32)


def _box(mask: Mask) -> Box | None:
    """Top, bottom, left, right, the ends not included; None of an empty mask."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    if not len(rows):
        return None
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _window(first: Box | None, second: Box | None, reach: float) -> Window | None:
    """Rows and columns that are within ``reach`` of both."""
    if first is None or second is None:
        return None
    sides = []
    for start in (0, 2):
        low = max(first[start], second[start]) - int(reach)
        high = min(first[start + 1], second[start + 1]) + int(reach)
        if low >= high:
            return None
        sides.append(slice(max(low, 0), high))
    return sides[0], sides[1]
