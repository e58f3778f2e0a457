"""Masks with categories <-> a colour map, an RGB image that a diffusion model can paint.

A segment has the colour of its category, and an edge in the border's colour, so that two things of
one category that touch come apart (SegGen, arXiv 2311.03355, section 3). Reading it back: every
pixel takes the nearest colour (appendix A2), connected pixels of one category are a segment, what
is too thin or too small is colour mixed by the autoencoder and goes to its surroundings, and the
edges go to the segment that they surround.
Shapes: H x W pixels, S segments, K categories of the palette.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from mf_plugin.errors import InputError
from mf_plugin.seggen.palette import Palette

Image = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

KINDS = ("instance", "semantic", "panoptic")
BORDER_WIDTH = 1  # pixels, inside each segment: two where segments touch
MIN_AREA = 30  # pixels of a segment, its edge included; mini-LVIS annotates from 30 on
_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
_ROWS_AT_ONCE = 1 << 15  # pixels whose distances to all colours are held at once


@dataclass(frozen=True, eq=False)
class Segment:
    """A segment read from a colour map.

    Attributes:
        mask: bool[H, W]; segments of one map share no pixel.
        confidence: 0 to 1; mean over its pixels of 1 - d1 / d2, with the distances to the nearest
            and the second nearest colour: 1 where the colours are exact, 0 halfway to another.
            Its edge does not count.
    """

    category_id: int
    mask: Mask
    confidence: float


def encode(
    segments: Sequence[tuple[int, Mask]],
    size: tuple[int, int],
    palette: Palette,
    kind: str,
    *,
    border_width: int = BORDER_WIDTH,
) -> Image:
    """Draw a colour map.

    Args:
        segments: (category id, bool[H, W]) each; for kind "instance" one an object. Where two
            overlap, the smaller one lies on top.
        size: H, W.
        palette: colours of these categories.
        kind: one of ``KINDS``: "semantic" has no edges, and segments of one category are one.
        border_width: of the edges, in pixels, inside each segment.

    Returns:
        uint8[H, W, 3], RGB.

    Raises:
        InputError: a category without colour, a mask of another size, an unknown kind.
    """
    _check_kind(kind)
    if border_width < 1:
        raise InputError(f"border_width is {border_width}: expected 1 pixel or more")
    for category_id, mask in segments:
        palette.color(category_id)
        if mask.shape != tuple(size) or mask.dtype != np.bool_:
            raise InputError(
                f"mask of category {category_id} is {mask.dtype}{list(mask.shape)}: expected "
                f"bool{list(size)}"
            )
    colored = np.full((*size, 3), palette.background, np.uint8)
    owner = np.zeros(size, np.int32)  # 1 + the segment on top
    areas = [np.count_nonzero(mask) for _, mask in segments]
    for index in sorted(range(len(segments)), key=lambda i: -areas[i]):
        category_id, mask = segments[index]
        colored[mask] = palette.color(category_id)
        owner[mask] = index + 1
    if kind != "semantic":
        colored[_edges(owner, border_width)] = palette.border
    return colored


def decode(
    image: Image,
    palette: Palette,
    kind: str,
    *,
    min_area: int = MIN_AREA,
    border_width: int = BORDER_WIDTH,
    stuff_ids: Collection[int] = (),
) -> list[Segment]:
    """Read the segments of a colour map.

    Args:
        image: uint8[H, W, 3], RGB; painted, or through an autoencoder.
        palette: that it was painted with.
        kind: one of ``KINDS``. "instance": each connected part is a segment. "semantic": all pixels
            of a category are one. "panoptic": as "instance", but as "semantic" for ``stuff_ids``.
        min_area: smaller connected parts go to their surroundings.
        border_width: that it was painted with.
        stuff_ids: for "panoptic", the categories of which an image has one segment.

    Returns:
        Segments in the order of the palette's ids, those of one category by falling area.

    Raises:
        InputError: the image is not uint8[H, W, 3], an unknown kind.
    """
    _check_kind(kind)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
        raise InputError(
            f"colour map is {image.dtype}{list(image.shape)}: expected uint8[H, W, 3]"
        )
    nearest, certainty = nearest_colors(image, palette)
    num_categories = len(palette.ids)
    is_border = nearest == num_categories + 1

    # 1. Connected parts of one category; the background is part 0.
    parts, categories = _connected_parts(nearest, num_categories)
    # 2. Too thin: mixed colours between two others.
    thick = _thick_parts(parts, len(categories))
    settled = (thick[parts] & ~is_border) | (nearest == num_categories)
    # 3. Edges go to the nearest part, mixed colours to the nearest part or background.
    reach = border_width + 2
    filled = _fill(parts, settled, is_border, reach)
    # 4. Too small.
    areas = np.bincount(filled.ravel(), minlength=len(categories))
    small = areas < min_area
    small[0] = False
    if small.any():
        filled = _fill(filled, ~small[filled], np.zeros_like(is_border), None)
    core = settled & (parts == filled)
    return list(
        _segments(filled, core, certainty, categories, palette, kind, frozenset(stuff_ids))
    )


def nearest_colors(
    image: Image, palette: Palette
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Which colour each pixel is nearest to, and how certainly.

    Returns:
        int32[H, W], places in ``palette.all_colors``; and float32[H, W], 1 - d1 / d2 with the
        distances to the nearest and the second nearest colour.
    """
    colors = palette.all_colors.astype(np.float32)
    pixels = image.reshape(-1, 3).astype(np.float32)
    nearest = np.empty(len(pixels), np.int32)
    certainty = np.empty(len(pixels), np.float32)
    lengths = (colors**2).sum(1)
    for start in range(0, len(pixels), _ROWS_AT_ONCE):
        some = pixels[start : start + _ROWS_AT_ONCE]
        squared = (some**2).sum(1)[:, None] - 2 * some @ colors.T + lengths
        place = squared.argmin(1)
        rows = np.arange(len(some))
        first = np.maximum(squared[rows, place], 0)
        squared[rows, place] = np.inf
        second = np.maximum(squared.min(1), 1)
        nearest[start : start + len(some)] = place
        certainty[start : start + len(some)] = 1 - np.sqrt(np.minimum(first / second, 1))
    return nearest.reshape(image.shape[:2]), certainty.reshape(image.shape[:2])


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise InputError(f"kind of colour map is {kind!r}: expected one of {', '.join(KINDS)}")


def _edges(owner: npt.NDArray[np.int32], width: int) -> Mask:
    """Pixels of a segment that lie within ``width`` of another one or of the background. The edge
    of the image is no edge of a segment."""
    values = owner.astype(np.float32)
    lowest = cv2.erode(values, _CROSS, iterations=width)
    highest = cv2.dilate(values, _CROSS, iterations=width)
    edges: Mask = (owner > 0) & (lowest != highest)
    return edges


def _connected_parts(
    nearest: npt.NDArray[np.int32], num_categories: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Parts int32[H, W] from 1, 0 where no category is; and the category's place of each part."""
    parts = np.zeros(nearest.shape, np.int32)
    categories = [-1]
    for place in np.unique(nearest[nearest < num_categories]).tolist():
        count, labels = cv2.connectedComponents(
            (nearest == place).astype(np.uint8), connectivity=4
        )
        inside = labels > 0
        parts[inside] = labels[inside] + len(categories) - 1
        categories += [place] * (count - 1)
    return parts, np.array(categories)


def _thick_parts(parts: npt.NDArray[np.int32], count: int) -> Mask:
    """bool[parts]: whether some pixel of a part has all four neighbours in it."""
    values = parts.astype(np.float32)
    inner = (cv2.erode(values, _CROSS) == values) & (cv2.dilate(values, _CROSS) == values)
    thick = np.zeros(count, dtype=bool)
    thick[parts[inner & (parts > 0)]] = True
    return thick


def _fill(
    parts: npt.NDArray[np.int32], settled: Mask, is_border: Mask, reach: int | None
) -> npt.NDArray[np.int32]:
    """Unsettled pixels take the part of the nearest settled one; edges that of the nearest
    settled one of a segment, unless it is farther than ``reach``."""
    filled = np.where(settled, parts, 0)
    if not settled.any():
        return filled
    rest = ~settled & ~is_border
    filled[rest] = parts[_nearest(settled)[0]][rest]
    if is_border.any() and (filled > 0).any():
        where, distance = _nearest(filled > 0)
        taken = is_border & (distance <= reach)
        filled[taken] = filled[where][taken]
    return filled


def _nearest(
    mask: Mask,
) -> tuple[tuple[npt.NDArray[np.int64], ...], npt.NDArray[np.float32]]:
    """Rows and columns int64[H, W] of the nearest pixel of a mask that is not empty, and how far it
    is."""
    distance, labels = cv2.distanceTransformWithLabels(
        (~mask).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    flat = np.zeros(labels.max() + 1, np.int64)
    flat[labels[mask]] = np.flatnonzero(mask)
    return np.unravel_index(flat[labels], mask.shape), distance


def _segments(
    filled: npt.NDArray[np.int32],
    core: Mask,
    certainty: npt.NDArray[np.float32],
    categories: npt.NDArray[np.int64],
    palette: Palette,
    kind: str,
    stuff_ids: frozenset[int],
) -> Iterator[Segment]:
    areas = np.bincount(filled.ravel(), minlength=len(categories))
    found = [part for part in range(1, len(categories)) if areas[part]]
    by_category: dict[int, list[list[int]]] = {}
    for part in sorted(found, key=lambda p: -int(areas[p])):
        groups = by_category.setdefault(int(categories[part]), [])
        whole = kind == "semantic" or palette.ids[categories[part]] in stuff_ids
        if whole and groups:
            groups[0].append(part)
        else:
            groups.append([part])
    for place in sorted(by_category):
        for group in by_category[place]:
            mask = np.isin(filled, group)
            sure = certainty[mask & core]
            confidence = float(sure.mean()) if len(sure) else 0.0
            yield Segment(palette.ids[place], mask, confidence)
