"""Pastes RGBA sprites onto procedural backgrounds, with exact masks.

Sprites are uint8[h, w, 4] RGB + alpha, not premultiplied. They are premultiplied before any
resampling, so no colour of transparent pixels bleeds in, and shrunk by area averaging before they
are turned. Images are uint8[H, W, 3] RGB. All randomness comes from the caller's generator.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from mf_plugin.arrays import Float32Array, FloatArray, Mask, Pixels
from mf_plugin.errors import InputError
from mf_plugin.lvis.backgrounds import BACKGROUNDS, add_clutter, draw_background, film_grain

Box = tuple[float, float, float, float]  # top, left, bottom, right


@dataclass(frozen=True)
class ComposeOptions:
    """What compose_image may vary. Sizes are the sprite's longest side over the image's smaller."""

    object_size: tuple[float, float] = (0.14, 0.60)
    rotation_std: float = 14.0  # degrees
    mirror: float = 0.5  # probability
    min_inside: float = 0.5  # share of a sprite's box that lies within the image
    max_cover: float = 0.35  # share of a box that a newcomer may cover, while a place is found
    placement_tries: int = 8
    min_visible: float = 0.25  # share of an object's area
    min_pixels: int = 30
    shadow: float = 0.35  # probability
    clutter: float = 0.5  # probability
    max_blobs: int = 7
    grain: tuple[float, float] = (0.0, 5.0)  # standard deviation, grey levels


@dataclass(frozen=True)
class Instance:
    category_id: int
    mask: Mask  # bool[H, W], the visible part
    full_area: int  # pixels of the whole object, the parts out of sight included


@dataclass(frozen=True)
class Composition:
    image: Pixels  # uint8[H, W, 3] RGB
    instances: tuple[Instance, ...]
    unannotated: tuple[int, ...]  # category ids of objects too hidden to be annotated, one each


DEFAULT_OPTIONS = ComposeOptions()

_SINGLE_FILL = (0.58, 0.92)
_SINGLE_ROTATION_STD = 7.0
_CONTRAST_LEVEL = 28.0  # grey levels by which an edge pixel must differ from the ground behind it
_CONTRAST_SHARE = 0.6  # of the edge pixels


def compose_single(
    rng: np.random.Generator,
    rgba: Pixels,
    size: tuple[int, int] = (64, 64),
    background: str | Sequence[str] | None = None,
) -> tuple[Pixels, Float32Array, str]:
    """One object that nearly fills an image of any aspect.

    Returns (image uint8[H, W, 3], alpha float32[H, W] in 0..1, background word). Of several
    `background` words (default: all) one is drawn, and again where the object would not stand out.
    Raises InputError for a sprite that is not uint8[h, w, 4] or an unknown background.
    """
    check_sprite(rgba)
    height, width = size
    turn = float(np.clip(rng.normal(0.0, _SINGLE_ROTATION_STD), -25.0, 25.0))
    rows, columns = _turned_extent(rgba.shape[0], rgba.shape[1], turn)
    scale = rng.uniform(*_SINGLE_FILL) * min(height / rows, width / columns)
    slack = np.array([height - scale * rows, width - scale * columns]) / 2.0
    centre = np.array([height, width]) / 2.0 + slack * rng.uniform(-0.7, 0.7, 2)
    layer = _place(_light(rng, rgba), scale, turn, rng.random() < 0.5, centre, size)
    colour, alpha = layer[:, :, :3], layer[:, :, 3]
    shadow = _shadow(rng, alpha, min(size)) if rng.random() < 0.25 else None

    ring = (alpha > 0.9) & (cv2.erode(alpha, _RING, borderValue=0) <= 0.9)
    words = (background,) if isinstance(background, str) else tuple(background or BACKGROUNDS)
    for _ in range(4):
        word = words[0] if len(words) == 1 else words[int(rng.integers(len(words)))]
        ground = draw_background(rng, word, size)
        if _stands_out(colour[ring], ground[ring]):
            break
    if shadow is not None:
        ground = ground * (1.0 - shadow)[:, :, None]
    image = ground * (1.0 - alpha)[:, :, None] + colour
    image += film_grain(rng, size) * np.float32(rng.uniform(0.0, 3.0))
    return _to_uint8(image), np.minimum(alpha, 1.0), word


def compose_image(
    rng: np.random.Generator,
    sprites: Sequence[tuple[int, Pixels]],
    size: tuple[int, int] = (160, 160),
    options: ComposeOptions = DEFAULT_OPTIONS,
) -> Composition:
    """Pastes `sprites` [(category id, uint8[h, w, 4])] one over the other.

    Later sprites lie in front. A mask is what stays visible of an object within the image; objects
    below `min_visible` or `min_pixels` stay in the picture and are listed in `unannotated` if any
    pixel of them is left.
    """
    height, width = size
    if min(size) < 16:
        raise InputError(f"image size {height}x{width}: expected at least 16x16")
    word = BACKGROUNDS[int(rng.integers(len(BACKGROUNDS)))]
    image = draw_background(rng, word, size)
    if rng.random() < options.clutter:
        image = add_clutter(rng, image, int(rng.integers(1, options.max_blobs + 1)))

    owner = np.zeros(size, np.uint8)  # 1 + index of the object on top
    full_areas: list[int] = []
    boxes: list[Box] = []
    for index, (_, rgba) in enumerate(sprites):
        check_sprite(rgba)
        low, high = np.log(options.object_size)
        turn = rng.normal(0.0, options.rotation_std)
        scale = math.exp(rng.uniform(low, high)) * min(size) / max(rgba.shape[:2])
        rows, columns = _turned_extent(rgba.shape[0], rgba.shape[1], turn)
        box = _find_place(rng, scale * rows, scale * columns, size, boxes, options)
        boxes.append(box)
        mirrored = rng.random() < options.mirror

        # 1. The object in a window of its own, 2 px wider than its box.
        top, left = math.floor(box[0]) - 2, math.floor(box[1]) - 2
        window = (math.ceil(box[2]) + 2 - top, math.ceil(box[3]) + 2 - left)
        centre = np.array([(box[0] + box[2]) / 2 - top, (box[1] + box[3]) / 2 - left])
        lit = _light(rng, rgba)
        layer = _place(lit, scale, turn, mirrored, centre, window)
        full_areas.append(int(np.count_nonzero(layer[:, :, 3] > 0.5)))

        # 2. The part of the window that lies in the image.
        y0, x0 = max(0, top), max(0, left)
        y1, x1 = min(height, top + window[0]), min(width, left + window[1])
        layer = layer[y0 - top : y1 - top, x0 - left : x1 - left]
        colour, alpha = layer[:, :, :3], layer[:, :, 3]
        ground = image[y0:y1, x0:x1]
        ring = (alpha > 0.9) & (cv2.erode(alpha, _RING) <= 0.9)
        if not _stands_out(colour[ring], ground[ring]):
            colour = _relight(colour, alpha, ground)
        if rng.random() < options.shadow:
            ground = ground * (1.0 - _shadow(rng, alpha, max(window)))[:, :, None]
        image[y0:y1, x0:x1] = ground * (1.0 - alpha)[:, :, None] + colour
        owner[y0:y1, x0:x1][alpha > 0.5] = index + 1

    # 3. One light and one camera for all.
    image *= np.float32(rng.uniform(0.85, 1.1)) * rng.uniform(0.95, 1.05, 3).astype(np.float32)
    image += film_grain(rng, size) * np.float32(rng.uniform(*options.grain))

    # 4. What can still be seen.
    visible = np.bincount(owner.ravel(), minlength=len(sprites) + 1)[1:]
    instances, unannotated = [], []
    for index, (category_id, _) in enumerate(sprites):
        floor = max(options.min_pixels, options.min_visible * full_areas[index])
        if visible[index] >= floor:
            instances.append(Instance(category_id, owner == index + 1, full_areas[index]))
        elif visible[index] > 0:
            unannotated.append(category_id)
    return Composition(_to_uint8(image), tuple(instances), tuple(unannotated))


def check_sprite(rgba: Pixels) -> None:
    """Raises InputError unless `rgba` is uint8[h, w, 4]."""
    if rgba.ndim != 3 or rgba.shape[2] != 4 or rgba.dtype != np.uint8:
        raise InputError(f"sprite is {rgba.dtype}{list(rgba.shape)}: expected uint8[h, w, 4]")


_RING = np.ones((3, 3), np.uint8)
_LEVELS = np.arange(256, dtype=np.float32)[:, None] / np.float32(255.0)


def _light(rng: np.random.Generator, rgba: Pixels) -> Float32Array:
    """Gain, gamma and a tint, then premultiplied: float32[h, w, 4], colour 0..255, alpha 0..1."""
    draw = rng.random(5).astype(np.float32)
    gain, gamma = 0.8 + 0.35 * draw[0], 0.75 + 0.55 * draw[1]
    tint = 0.94 + 0.12 * draw[2:]
    table = np.empty((1, 256, 4), np.float32)
    table[0, :, :3] = np.minimum(_LEVELS**gamma * (gain * tint) * 255.0, 255.0)
    table[0, :, 3] = _LEVELS[:, 0]
    lit: Float32Array = cv2.LUT(rgba, table)
    lit[:, :, :3] *= lit[:, :, 3:]
    return lit


def _place(
    premultiplied: Float32Array,
    scale: float,
    turn: float,
    mirrored: bool,
    centre: FloatArray,
    size: tuple[int, int],
) -> Float32Array:
    """Scales, mirrors and turns (degrees), its middle at `centre` (y, x): float32[H, W, 4]."""
    rows, columns = premultiplied.shape[:2]
    if scale < 1.0:
        small = (max(1, round(columns * scale)), max(1, round(rows * scale)))
        source = cv2.resize(premultiplied, small, interpolation=cv2.INTER_AREA)
    else:
        source = premultiplied
    zoom_y, zoom_x = scale * rows / source.shape[0], scale * columns / source.shape[1]
    cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    flip = -1.0 if mirrored else 1.0
    a, b = flip * cos * zoom_x, -sin * zoom_y
    c, d = flip * sin * zoom_x, cos * zoom_y
    # Pixel i has its centre at i + 0.5; OpenCV counts from pixel centres.
    middle_y, middle_x = (source.shape[0] - 1) / 2.0, (source.shape[1] - 1) / 2.0
    matrix = np.array(
        [
            [a, b, centre[1] - 0.5 - a * middle_x - b * middle_y],
            [c, d, centre[0] - 0.5 - c * middle_x - d * middle_y],
        ]
    )
    placed: Float32Array = cv2.warpAffine(
        source, matrix, (size[1], size[0]), flags=cv2.INTER_LINEAR
    )
    return placed


def _turned_extent(rows: int, columns: int, turn: float) -> tuple[float, float]:
    """Height and width of the upright box around a turned rectangle."""
    cos, sin = abs(math.cos(math.radians(turn))), abs(math.sin(math.radians(turn)))
    return rows * cos + columns * sin, rows * sin + columns * cos


def _find_place(
    rng: np.random.Generator,
    rows: float,
    columns: float,
    size: tuple[int, int],
    boxes: Sequence[Box],
    options: ComposeOptions,
) -> Box:
    """A box (top, left, bottom, right): the first draw that covers little, or the best of them."""
    # A share of min_inside of the box's area stays inside if each axis keeps its square root.
    out = 1.0 - math.sqrt(options.min_inside)
    best: Box | None = None
    best_cover = math.inf
    for _ in range(options.placement_tries):
        draw = rng.random(2)
        edge = out if rng.random() < 0.3 else 0.0
        top = _between(draw[0], -edge * rows, size[0] - (1 - edge) * rows)
        left = _between(draw[1], -edge * columns, size[1] - (1 - edge) * columns)
        box = (top, left, top + rows, left + columns)
        cover = max((_cover(box, other) for other in boxes), default=0.0)
        if best is None or cover < best_cover:
            best, best_cover = box, cover
        if cover <= options.max_cover * rng.random():
            break
    assert best is not None  # there is one try at least
    return best


def _between(draw: float, low: float, high: float) -> float:
    return low + draw * (high - low) if high > low else (low + high) / 2.0


def _cover(box: Box, other: Box) -> float:
    """The larger share of either box that their intersection takes."""
    rows = min(box[2], other[2]) - max(box[0], other[0])
    columns = min(box[3], other[3]) - max(box[1], other[1])
    if rows <= 0 or columns <= 0:
        return 0.0
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (box, other)]
    return rows * columns / min(areas)


def _stands_out(edge: Float32Array, ground: Float32Array) -> bool:
    """Whether enough of an object's edge pixels [N, 3] differ from the ground behind them."""
    if len(edge) == 0:
        return True
    differs = np.abs(edge - ground).max(axis=1) > _CONTRAST_LEVEL
    return np.count_nonzero(differs) >= _CONTRAST_SHARE * len(edge)


def _relight(colour: Float32Array, alpha: Float32Array, ground: Float32Array) -> Float32Array:
    """Moves the object's light away from the ground's: darker on bright ground, else brighter."""
    if float(ground.mean()) > 110.0:
        return colour * np.float32(0.68)
    return colour * np.float32(0.6) + alpha[:, :, None] * np.float32(0.4 * 255.0)


def _shadow(rng: np.random.Generator, alpha: Float32Array, extent: int) -> Float32Array:
    """How much of the ground's light the object takes away, float32[H, W] in 0..1."""
    shift = rng.uniform(-0.05, 0.05) * extent, rng.uniform(0.02, 0.07) * extent
    matrix = np.array([[1.0, 0.0, shift[0]], [0.0, 1.0, shift[1]]])
    moved = cv2.warpAffine(alpha, matrix, (alpha.shape[1], alpha.shape[0]))
    blurred: Float32Array = cv2.GaussianBlur(moved, (0, 0), max(0.8, 0.03 * extent))
    return blurred * rng.uniform(0.25, 0.5)


def _to_uint8(image: Float32Array) -> Pixels:
    return np.clip(image + 0.5, 0, 255).astype(np.uint8)
