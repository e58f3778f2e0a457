"""A binary mask as LVIS polygons that decode to the same mask.

Polygons run along the pixels' edges: pixel (x, y) is the square from (x, y) to (x + 1, y + 1),
which is how pycocotools rasterises. LVIS polygons are filled and united, they have no holes: a
part with a hole is cut through the hole until no hole is left.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt

from mf_plugin.arrays import Mask
from mf_plugin.errors import InputError

Outline = npt.NDArray[np.int32]  # [N, 2], x and y

SMALL_HOLE = 3  # pixels; holes up to this size are filled


def mask_to_polygons(mask: Mask) -> list[list[float]]:
    """Outlines of a mask bool[H, W] as [[x0, y0, x1, y1, ...], ...], pixels from the top left.

    Every polygon has at least 4 points, on integer coordinates, along rows and columns. Decoding
    with pycocotools gives the mask back, with holes of up to SMALL_HOLE pixels filled. An empty
    mask gives an empty list. Raises InputError for anything but a bool array of two dimensions.
    """
    if mask.ndim != 2 or mask.dtype != np.bool_:
        raise InputError(f"mask is {mask.dtype}{list(mask.shape)}: expected bool[H, W]")
    polygons: list[list[float]] = []
    for part, top, left in _parts(_fill_small_holes(mask), 0, 0):
        outlines, holes = _outlines(part)
        if holes:
            _trace_cut(part, holes[0], top, left, polygons)
        else:
            polygons.append(_flat(outlines[0], top, left))
    return polygons


def _trace_cut(part: Mask, hole: Outline, top: int, left: int, polygons: list[list[float]]) -> None:
    """Cuts a part along a row through a hole, and its pieces likewise while they have holes."""
    cut = int(hole[:, 1].min() + hole[:, 1].max() + 1) // 2
    for piece, y, x in (*_parts(part[:cut], top, left), *_parts(part[cut:], top + cut, left)):
        outlines, holes = _outlines(piece)
        if holes:
            _trace_cut(piece, holes[0], y, x, polygons)
        else:
            polygons.append(_flat(outlines[0], y, x))


def _parts(mask: Mask, top: int, left: int) -> Iterator[tuple[Mask, int, int]]:
    """Connected parts (over edges, not corners) as (bool[h, w], top, left)."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        mask.astype(np.uint8), connectivity=4
    )
    for label in range(1, count):
        x, y, width, height, _ = (int(v) for v in stats[label])
        yield labels[y : y + height, x : x + width] == label, top + y, left + x


def _fill_small_holes(mask: Mask) -> Mask:
    # The frame joins all background that reaches the border.
    ground = np.pad(~mask, 1, constant_values=True).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(ground, connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] <= SMALL_HOLE
    small[labels[0, 0]] = False
    small[0] = False
    return mask | small[labels[1:-1, 1:-1]] if small.any() else mask


def _outlines(part: Mask) -> tuple[list[Outline], list[Outline]]:
    """Outer outlines and hole outlines int[N, 2] (x, y), along pixel edges.

    Tracing the mask at twice its size puts border pixel 2x on a pixel's left edge and 2x + 1 on its
    right: (u + 1) // 2 is the edge's coordinate. Around a hole the border runs through the mask's
    own pixels, so the same rule holds.
    """
    doubled = part.astype(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    contours, hierarchy = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    outer: list[Outline] = []
    holes: list[Outline] = []
    for contour, (_, _, _, parent) in zip(contours, hierarchy[0], strict=True):
        (outer if parent < 0 else holes).append((contour[:, 0] + 1) // 2)
    return outer, holes


def _flat(outline: Outline, top: int, left: int) -> list[float]:
    """Corners only, as [x0, y0, x1, y1, ...] in the whole mask's frame."""
    points = outline[np.any(outline != np.roll(outline, 1, axis=0), axis=1)]
    incoming = np.sign(points - np.roll(points, 1, axis=0))
    outgoing = np.sign(np.roll(points, -1, axis=0) - points)
    corners = points[np.any(incoming != outgoing, axis=1)] + (left, top)
    return [float(v) for v in corners.ravel()]
