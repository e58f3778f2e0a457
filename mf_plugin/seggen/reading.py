"""Which connected parts a colour map has, through an autoencoder's loss.

An autoencoder mixes colours over a few pixels: between a colour and the next lie others, which
may be those of categories that are not there, and what is thin comes out pale. So a pixel is read
twice, the second time with the colours found for sure around it; and a part whose colour is
explained as a mixture of its neighbour and something else goes to that neighbour.
Shapes: H x W pixels, P parts, K categories; part 0 is everything else.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from mf_plugin.seggen.palette import Palette

Mask = npt.NDArray[np.bool_]
Places = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]

MIN_CERTAINTY = 0.35  # of a part, mean of 1 - d1 / d2: below it the colour is none of the palette's
MIXED_CERTAINTY = 0.6  # below it a part may be a mixture
MIXED_DISTANCE = 30.0  # of its colour from the line between the two that it may be a mixture of
MIN_READ = 6  # pixels of a part before it is filled up
_PIXELS_AT_ONCE = 1 << 15  # whose distances to all colours are held at once
_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
_SQUARE = np.ones((3, 3), np.uint8)


@dataclass(frozen=True, eq=False)
class Parts:
    """The parts of a colour map.

    Attributes:
        owner: int32[H, W]; part of each pixel.
        categories: int[P], place of each part's category in the palette; -1 of part 0.
        read: bool[H, W]; pixels whose own colour says so, not their surroundings.
        certainty: float32[H, W], 1 - d1 / d2.
    """

    owner: Places
    categories: npt.NDArray[np.int64]
    read: Mask
    certainty: npt.NDArray[np.float32]


def find_parts(
    image: npt.NDArray[np.uint8],
    palette: Palette,
    min_area: int,
    reach: int,
    with_borders: bool = True,
) -> Parts:
    """Read a colour map uint8[H, W, 3]; the arguments are those of `colormap.decode`."""
    background, border = len(palette.ids), len(palette.ids) + 1
    # 1. Each pixel's colour, among those that are around it.
    nearest, certainty = nearest_colors(image, palette)
    seen = _read_again(image, nearest, palette, reach, with_borders)
    # 2. Connected parts, with a pixel's distance to borders, so that no gap in one joins two.
    apart = cv2.dilate((seen == border).astype(np.uint8), _CROSS) > 0
    parts, categories = _connected_parts(np.where(apart, background, seen), background)
    # 3. Those that are no mixture of colours.
    kept = _find_solid(parts, categories, image, certainty, palette)
    # 4. What is left goes to the nearest one in reach; then what is too small.
    for _ in range(2):
        settled = kept[parts]
        if not settled.any():
            return Parts(np.zeros_like(parts), categories, settled, certainty)
        owner, distance = _nearest_value(parts, settled)
        owner[(seen == background) & ~settled | (distance > reach)] = 0
        areas = np.bincount(owner.ravel(), minlength=len(categories))
        kept &= areas >= min_area
    settled = kept[parts]
    owner[~kept[owner]] = 0
    return Parts(owner, categories, settled & (owner == parts), certainty)


def nearest_colors(
    image: npt.NDArray[np.uint8], palette: Palette
) -> tuple[Places, npt.NDArray[np.float32]]:
    """Which colour each pixel is nearest to, and how certainly.

    Returns:
        int32[H, W], places in ``palette.all_colors``; and float32[H, W], 1 - d1 / d2 with the
        distances to the nearest and the second nearest colour.
    """
    colors = palette.seen_colors.astype(np.float32)
    pixels = image.reshape(-1, 3).astype(np.float32)
    nearest = np.empty(len(pixels), np.int32)
    certainty = np.empty(len(pixels), np.float32)
    lengths = (colors**2).sum(1)
    for start in range(0, len(pixels), _PIXELS_AT_ONCE):
        some = pixels[start : start + _PIXELS_AT_ONCE]
        squared = (some**2).sum(1)[:, None] - 2 * some @ colors.T + lengths
        place, rows = squared.argmin(1), np.arange(len(some))
        first = np.maximum(squared[rows, place], 0)
        squared[rows, place] = np.inf
        second = np.maximum(squared.min(1), 1)
        nearest[start : start + len(some)] = place
        certainty[start : start + len(some)] = 1 - np.sqrt(np.minimum(first / second, 1))
    return nearest.reshape(image.shape[:2]), certainty.reshape(image.shape[:2])


def share_of_border(
    image: npt.NDArray[np.uint8], palette: Palette, place: int
) -> npt.NDArray[np.float32]:
    """How much of the border's colour is in pixels that are otherwise a category or background.

    Args:
        image: uint8[H, W, 3].
        palette: of it.
        place: of the category, in the palette.

    Returns:
        float32[H, W]; 0 on the line from the background's colour to the category's, 1 at the
        border's (on that line too), below 0 away from it.
    """
    colors = palette.seen_colors.astype(np.float32)
    background, border = colors[len(palette.ids)], colors[len(palette.ids) + 1]
    pixels = image.astype(np.float32) - background
    line = colors[place] - background
    # The two colours may come out of an autoencoder as one: then all pixels are beside a point.
    along = np.clip(pixels @ line / max(line @ line, 1e-6), 0, 1)[..., None] * line
    way = border - background - along
    length = (way**2).sum(-1)
    share: npt.NDArray[np.float32] = np.ones_like(length)
    np.divide(((pixels - along) * way).sum(-1), length, out=share, where=length > 0)
    return share


def _read_again(
    image: npt.NDArray[np.uint8],
    nearest: Places,
    palette: Palette,
    reach: int,
    with_borders: bool,
) -> Places:
    """int32[H, W]: the nearest of the colours that fill a 3 x 3 square within ``reach``. The
    border's need not, a thin line being all of it, but it is near a segment."""
    background, border = len(palette.ids), len(palette.ids) + 1
    values = nearest.astype(np.float32)
    agree = (cv2.erode(values, _SQUARE) == values) & (cv2.dilate(values, _SQUARE) == values)
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    pixels = image.astype(np.float32)
    best = np.full(nearest.shape, np.inf, np.float32)
    seen = np.full(nearest.shape, background, np.int32)
    sure = agree & (nearest <= background)
    choices = [(place, sure & (nearest == place)) for place in np.unique(nearest[sure]).tolist()]
    if with_borders:
        choices.append((border, sure & (nearest < background)))
    for place, core in choices:
        around = cv2.dilate(core.astype(np.uint8), kernel) > 0
        squared = ((pixels - palette.seen_colors[place].astype(np.float32)) ** 2).sum(-1)
        better = around & (squared < best)
        best[better] = squared[better]
        seen[better] = place
    return seen


def _connected_parts(seen: Places, num_categories: int) -> tuple[Places, npt.NDArray[np.int64]]:
    """Parts int32[H, W] from 1, 0 where no category is; and each part's category."""
    parts = np.zeros(seen.shape, np.int32)
    categories = [-1]
    for place in np.unique(seen[seen < num_categories]).tolist():
        count, labels = cv2.connectedComponents((seen == place).astype(np.uint8), connectivity=4)
        inside = labels > 0
        parts[inside] = labels[inside] + len(categories) - 1
        categories += [place] * (count - 1)
    return parts, np.array(categories)


def _find_solid(
    parts: Places,
    categories: npt.NDArray[np.int64],
    image: npt.NDArray[np.uint8],
    certainty: npt.NDArray[np.float32],
    palette: Palette,
) -> Mask:
    """bool[P]: parts that are more than an edge, of a colour of the palette and of no mixture."""
    flat, count = parts.ravel(), len(categories)
    areas = np.maximum(np.bincount(flat, minlength=count), 1)
    sure = np.bincount(flat, certainty.ravel(), count) / areas
    means = np.stack([np.bincount(flat, image[..., k].ravel(), count) for k in range(3)], 1)
    means = means / areas[:, None]
    values = parts.astype(np.float32)
    inner = (cv2.erode(values, _CROSS) == values) & (cv2.dilate(values, _CROSS) == values)
    solid = np.zeros(count, dtype=bool)
    solid[parts[inner]] = True
    solid &= (sure >= MIN_CERTAINTY) & (areas >= MIN_READ)
    solid[0] = False
    colors = palette.seen_colors.astype(np.float64)
    boxes = _boxes(parts, count)
    for part in np.argsort(areas, kind="stable").tolist():
        if not solid[part] or sure[part] >= MIXED_CERTAINTY:
            continue
        window = parts[boxes[part]]
        ring = cv2.dilate((window == part).astype(np.uint8), _SQUARE, iterations=2) > 0
        beside = [p for p in np.unique(window[ring]).tolist() if p and p != part and solid[p]]
        beside = [p for p in beside if areas[p] > areas[part] or sure[p] > MIXED_CERTAINTY]
        others = [colors[len(palette.ids)], *(colors[categories[p]] for p in beside)]
        solid[part] = not any(
            _is_mixture(means[part], colors[categories[p]], other)
            for p in beside
            if categories[p] != categories[part] and sure[p] >= sure[part]
            for other in others
        )
    return solid


def _is_mixture(color: Floats, first: Floats, second: Floats) -> bool:
    """Whether a colour lies near the line from ``second`` to ``first``, not at ``second``."""
    along = first - second
    length = float(along @ along)
    if length == 0:
        return False
    share = float((color - second) @ along) / length
    off = color - second - share * along
    return 0.2 <= share <= 1.1 and float(np.linalg.norm(off)) < MIXED_DISTANCE


def _boxes(parts: Places, count: int) -> list[tuple[slice, slice]]:
    """Rows and columns of each part, and three more on every side."""
    top = np.full(count, parts.shape[0])
    left = np.full(count, parts.shape[1])
    bottom, right = np.zeros(count, np.int64), np.zeros(count, np.int64)
    rows, columns = np.nonzero(parts)
    owners = parts[rows, columns]
    np.minimum.at(top, owners, rows)
    np.minimum.at(left, owners, columns)
    np.maximum.at(bottom, owners, rows)
    np.maximum.at(right, owners, columns)
    return [
        (slice(max(t - 3, 0), b + 4), slice(max(x - 3, 0), y + 4))
        for t, b, x, y in zip(
            top.tolist(), bottom.tolist(), left.tolist(), right.tolist(), strict=True
        )
    ]


def _nearest_value(parts: Places, mask: Mask) -> tuple[Places, npt.NDArray[np.float32]]:
    """int32[H, W]: the part at the nearest pixel of a mask that is not empty; and how far it is."""
    distance, labels = cv2.distanceTransformWithLabels(
        (~mask).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    value = np.zeros(int(labels.max()) + 1, np.int32)
    value[labels[mask]] = parts[mask]
    return value[labels], distance
