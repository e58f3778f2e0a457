"""Masks with categories <-> a colour map, an RGB image that a diffusion model can paint.

A segment has the colour of its category. Where two segments of one category come near each other,
the border's colour keeps them apart; near parts without a border between are one segment
(``joining.py``). SegGen (arXiv 2311.03355, section 3) draws it along every segment; here it
is drawn where colours alone would not tell, since through an autoencoder each edge costs the
segments beside it some pixels (docs/seggen.md has both measured). Reading back is by the nearest
colour (its appendix A2), ``reading.py`` does it.
Shapes: H x W pixels, S segments, K categories of the palette.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mf_plugin.errors import InputError
from mf_plugin.seggen.joining import JOIN, draw_borders, join_parts
from mf_plugin.seggen.palette import Palette
from mf_plugin.seggen.reading import Parts, find_parts, share_of_border

Image = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

KINDS = ("instance", "semantic", "panoptic")
BORDER_WIDTH = 2  # pixels on each side; an autoencoder of factor 4 keeps lines of 4
MIN_AREA = 30  # pixels of a segment; mini-LVIS annotates from 30 on
MIN_BORDER = 0.3  # share of the border's colour in a pixel of a border
REACH = 5  # pixels over which an autoencoder of factor 4 mixes colours


@dataclass(frozen=True, eq=False)
class Segment:
    """A segment read from a colour map.

    Attributes:
        mask: bool[H, W]; segments of one map share no pixel.
        confidence: 0 to 1; mean over its pixels of 1 - d1 / d2, with the distances to the nearest
            and the second nearest colour: 1 where the colours are exact, 0 halfway to another.
            Pixels that were given to it for want of a better one do not count.
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
    join: int = JOIN,
) -> Image:
    """Draw a colour map.

    Args:
        segments: (category id, bool[H, W]) each; for kind "instance" one an object. Where two
            overlap, the smaller one lies on top.
        size: H, W.
        palette: colours of these categories.
        kind: one of ``KINDS``; "semantic" has no borders.
        border_width: pixels that a border takes on each side of the middle between two segments of
            one category.
        join: as `decode` will take it: between segments that are farther apart is no border.

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
    owner = np.full(size, -1, np.int32)  # the segment on top
    areas = [np.count_nonzero(mask) for _, mask in segments]
    for index in sorted(range(len(segments)), key=lambda i: -areas[i]):
        category_id, mask = segments[index]
        colored[mask] = palette.color(category_id)
        owner[mask] = index
    if kind != "semantic":
        ids = [category_id for category_id, _ in segments]
        colored[_borders(owner, ids, border_width, join)] = palette.border
    return colored


def decode(
    image: Image,
    palette: Palette,
    kind: str,
    *,
    min_area: int = MIN_AREA,
    reach: int = REACH,
    join: int = JOIN,
    stuff_ids: Collection[int] = (),
) -> list[Segment]:
    """Read the segments of a colour map.

    Args:
        image: uint8[H, W, 3], RGB; painted, or through an autoencoder.
        palette: that it was painted with; `calibrate_palette` makes it robust to the autoencoder.
        kind: one of ``KINDS``. "instance": each connected part is a segment, or several of a
            category that are near each other. "semantic": all pixels of a category are one.
            "panoptic": as "instance", but as "semantic" for ``stuff_ids``.
        min_area: in pixels; smaller connected parts go to their surroundings.
        reach: pixels over which colours may be mixed; grows with the autoencoder's factor.
        join: pixels between two parts of one segment, at most.
        stuff_ids: for "panoptic", the categories of which an image has one segment.

    Returns:
        Segments in the order of the palette's ids, those of one category by falling area.

    Raises:
        InputError: the image is not uint8[H, W, 3] or has no pixel, an unknown kind, or a number
            below 0.
    """
    _check_kind(kind)
    for name, number in (("min_area", min_area), ("reach", reach), ("join", join)):
        if number < 0:
            raise InputError(f"{name} is {number}: expected 0 pixels or more")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3 or not image.size:
        raise InputError(f"colour map is {image.dtype}{list(image.shape)}: expected uint8[H, W, 3]")
    found = find_parts(image, palette, min_area, reach, with_borders=kind != "semantic")
    whole = set(palette.ids) if kind == "semantic" else set()
    whole |= set(stuff_ids) if kind == "panoptic" else set()
    segments = []
    for category_id, parts in _group_parts(found, image, palette, whole, join):
        mask = np.isin(found.owner, parts)
        sure = found.certainty[mask & found.read]
        segments.append(Segment(category_id, mask, float(sure.mean()) if len(sure) else 0.0))
    return segments


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise InputError(f"kind of colour map is {kind!r}: expected one of {', '.join(KINDS)}")


def _borders(owner: npt.NDArray[np.int32], ids: Sequence[int], width: int, join: int) -> Mask:
    """What keeps the objects of one category apart."""
    borders = np.zeros(owner.shape, dtype=bool)
    for category_id in {i for i in ids if ids.count(i) > 1}:
        twins = [owner == place for place, other in enumerate(ids) if other == category_id]
        borders |= draw_borders(twins, width, join)
    return borders


def _group_parts(
    found: Parts, image: Image, palette: Palette, whole: set[int], join: int
) -> list[tuple[int, list[int]]]:
    """(category id, parts) of each segment; the parts of a category in ``whole`` are one."""
    areas = np.bincount(found.owner.ravel(), minlength=len(found.categories))
    groups: list[tuple[int, list[int]]] = []
    for place in np.unique(found.categories[1:]).tolist():
        parts = [p for p in np.flatnonzero(found.categories == place).tolist() if areas[p]]
        category_id = palette.ids[place]
        if category_id in whole:
            first = [0] * len(parts)
        else:
            masks = [found.owner == part for part in parts]
            border = share_of_border(image, palette, place) >= MIN_BORDER
            first = join_parts(masks, border, join)
        for leader in sorted(set(first)):
            groups.append(
                (category_id, [p for p, g in zip(parts, first, strict=True) if g == leader])
            )
    sizes = {parts[0]: sum(areas[p] for p in parts) for _, parts in groups}
    return sorted(groups, key=lambda group: (palette.index[group[0]], -sizes[group[1][0]]))
