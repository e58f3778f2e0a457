"""Procedural backgrounds, each named by a word that can stand in a caption.

A background is drawn in one of three ways: a plain colour under soft light, or a crop of a tile
that is built once per process. Tiles depend on (word, variant) only, never on the caller's
generator, so caching them changes no result. Images are float32[H, W, 3] RGB in 0..255.
"""

from __future__ import annotations

import zlib
from functools import cache
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from mf_plugin.arrays import AnyFloats, Float32Array, FloatArray, Pixels
from mf_plugin.errors import InputError

_Number = TypeVar("_Number", np.uint8, np.float32)

TILE = 256
VARIANTS = 8

# word -> hue (degrees) low and high, saturation low and high, value low and high
_PLAIN = {
    "red": (350, 370, 0.65, 0.95, 0.60, 0.90),
    "yellow": (48, 58, 0.55, 0.90, 0.85, 1.00),
    "green": (95, 150, 0.45, 0.85, 0.45, 0.80),
    "blue": (205, 235, 0.55, 0.90, 0.50, 0.95),
    "purple": (270, 300, 0.40, 0.80, 0.45, 0.80),
    "brown": (18, 32, 0.50, 0.75, 0.28, 0.52),
    "gray": (0, 360, 0.00, 0.06, 0.40, 0.65),
    "white": (0, 360, 0.00, 0.05, 0.92, 1.00),
    "black": (0, 360, 0.00, 0.15, 0.03, 0.14),
}
_PATTERNS = ("checkered", "striped", "dotted", "gradient")
_TEXTURES = ("grass", "sand", "wood", "brick", "water", "sky")

BACKGROUNDS: tuple[str, ...] = (*_PLAIN, *_PATTERNS, *_TEXTURES)


def draw_background(rng: np.random.Generator, word: str, size: tuple[int, int]) -> Float32Array:
    """A background of the kind `word`, float32[H, W, 3] RGB in 0..255.

    Raises InputError for a word that is not in BACKGROUNDS.
    """
    if word in _PLAIN:
        image: Float32Array = plain_colour(rng, word) * (
            1.0 + 0.10 * _crop(rng, _shading_tile(), size)
        )
    elif word in BACKGROUNDS:
        tile = _tile(word, int(rng.integers(VARIANTS)))
        image = _crop(rng, tile, size).astype(np.float32)
        if word in _PATTERNS:  # their colours are free: another order of channels is another tile
            image = image[:, :, rng.permutation(3)]
        image *= np.float32(rng.uniform(0.85, 1.12))
    else:
        raise InputError(f"unknown background {word!r}: expected one of {', '.join(BACKGROUNDS)}")
    return np.clip(image, 0.0, 255.0, out=image)


def plain_colour(rng: np.random.Generator, word: str) -> Float32Array:
    """A shade that the colour word covers, float32[3] RGB in 0..255."""
    hue_low, hue_high, sat_low, sat_high, val_low, val_high = _PLAIN[word]
    draw = rng.random(3)
    hue = hue_low + (hue_high - hue_low) * draw[0]
    saturation = sat_low + (sat_high - sat_low) * draw[1]
    value = val_low + (val_high - val_low) * draw[2]
    return _hsv(hue, saturation, value)


def film_grain(rng: np.random.Generator, size: tuple[int, int]) -> Float32Array:
    """Unit-variance noise float32[H, W, 1], a random window of a cached field."""
    return _window(rng, _grain_tile(), size)


def add_clutter(rng: np.random.Generator, image: Float32Array, blobs: int) -> Float32Array:
    """Blends `blobs` soft-edged shapes of random colour into float32[H, W, 3]; returns the result.

    They are drawn at a quarter of the resolution and blurred: things to look past, out of focus.
    """
    if blobs == 0:
        return image
    height, width = image.shape[:2]
    rows, columns = max(8, height // 4), max(8, width // 4)
    layer = np.zeros((rows, columns, 4), np.float32)
    side = min(rows, columns)
    for _ in range(blobs):
        colour = _hsv(rng.uniform(0, 360), rng.uniform(0.1, 0.8), rng.uniform(0.15, 0.95))
        opacity = float(rng.uniform(0.35, 0.8))
        centre = (int(rng.integers(columns)), int(rng.integers(rows)))
        axes = rng.uniform(0.08, 0.35, 2) * side
        angle = float(rng.uniform(0, 180))
        fill = (*(float(c) * opacity for c in colour), opacity)
        if rng.random() < 0.5:
            shape = (max(1, int(axes[0])), max(1, int(axes[1])))
            cv2.ellipse(layer, centre, shape, angle, 0, 360, fill, -1)
        else:
            corners = cv2.boxPoints((centre, (2 * axes[0], 2 * axes[1]), angle))
            cv2.fillConvexPoly(layer, corners.astype(np.int32), fill)
    layer = cv2.GaussianBlur(layer, (0, 0), float(rng.uniform(0.03, 0.08)) * side)
    layer = cv2.resize(layer, (width, height), interpolation=cv2.INTER_LINEAR)
    blended: Float32Array = image * (1.0 - layer[:, :, 3:]) + layer[:, :, :3]
    return blended


def _rgb(red: int, green: int, blue: int) -> Float32Array:
    return np.array([red, green, blue], np.float32)


def _hsv(hue: float, saturation: float, value: float) -> Float32Array:
    sector = (np.array([5.0, 3.0, 1.0]) + hue / 60.0) % 6.0
    ramp = np.clip(np.minimum(sector, 4.0 - sector), 0.0, 1.0)
    colour: FloatArray = (value - value * saturation * ramp) * 255.0
    return colour.astype(np.float32)


def _window(
    rng: np.random.Generator, field: npt.NDArray[_Number], size: tuple[int, int]
) -> npt.NDArray[_Number]:
    height, width = size
    if height > field.shape[0] or width > field.shape[1]:
        repeats = (-(-height // field.shape[0]), -(-width // field.shape[1]), 1)
        field = np.tile(field, repeats)
    top = int(rng.integers(field.shape[0] - height + 1))
    left = int(rng.integers(field.shape[1] - width + 1))
    return field[top : top + height, left : left + width]


def _crop(
    rng: np.random.Generator, tile: npt.NDArray[_Number], size: tuple[int, int]
) -> npt.NDArray[_Number]:
    """A crop with the aspect of `size`, at a random zoom, resampled to `size`."""
    height, width = size
    zoom = rng.uniform(0.35, 1.0) * TILE / max(height, width)
    rows, columns = max(2, int(height * zoom)), max(2, int(width * zoom))
    crop = _window(rng, tile, (rows, columns))
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    method = cv2.INTER_AREA if zoom > 1.0 else cv2.INTER_LINEAR
    source = np.ascontiguousarray(crop)
    resized: npt.NDArray[_Number] = cv2.resize(source, (width, height), interpolation=method)
    return resized if resized.ndim == 3 else resized[:, :, None]


def _tile_rng(word: str, variant: int) -> np.random.Generator:
    return np.random.default_rng([zlib.crc32(word.encode()), variant])


@cache
def _grain_tile() -> Float32Array:
    rng = _tile_rng("grain", 0)
    return rng.standard_normal((2 * TILE, 2 * TILE, 1)).astype(np.float32)


@cache
def _shading_tile() -> Float32Array:
    return _noise(_tile_rng("shading", 0), octaves=(2, 3))[:, :, None] * 2.0 - 1.0


@cache
def _tile(word: str, variant: int) -> Pixels:
    image = _PAINTERS[word](_tile_rng(word, variant))
    return np.clip(image, 0, 255).astype(np.uint8)


def _noise(
    rng: np.random.Generator, octaves: tuple[int, ...], stretch: tuple[int, int] = (1, 1)
) -> Float32Array:
    """Value noise float32[TILE, TILE] in 0..1: grids of `octaves` cells, halving in weight.

    `stretch` multiplies the cells along (rows, columns): (1, 8) gives fine vertical streaks.
    """
    field = np.zeros((TILE, TILE), np.float32)
    for level, cells in enumerate(octaves):
        shape = (min(TILE, cells * stretch[0] + 1), min(TILE, cells * stretch[1] + 1))
        grid = rng.random(shape, dtype=np.float32)
        field += cv2.resize(grid, (TILE, TILE), interpolation=cv2.INTER_CUBIC) / 2**level
    low, high = field.min(), field.max()
    noise: Float32Array = (field - low) / (high - low)
    return noise


def _mix(first: Float32Array, second: Float32Array, weight: AnyFloats) -> AnyFloats:
    """Colours float32[3] by weight float32[TILE, TILE]: 0 gives the first, 1 the second."""
    mixed: AnyFloats = first + (second - first) * weight[:, :, None]
    return mixed


def _axes(rng: np.random.Generator, angle: float) -> tuple[Float32Array, Float32Array]:
    """Pixel coordinates of the tile in a frame turned by `angle` radians, at a random phase."""
    y, x = np.mgrid[:TILE, :TILE].astype(np.float32)
    shift = rng.uniform(0, TILE, 2)
    u = x * np.cos(angle) + y * np.sin(angle) + shift[0]
    v = -x * np.sin(angle) + y * np.cos(angle) + shift[1]
    return u, v


def _two_colours(rng: np.random.Generator) -> tuple[Float32Array, Float32Array]:
    """Two colours that differ in lightness, so that a pattern of them stays readable."""
    light = _hsv(rng.uniform(0, 360), rng.uniform(0.0, 0.6), rng.uniform(0.8, 1.0))
    dark = _hsv(rng.uniform(0, 360), rng.uniform(0.2, 0.9), rng.uniform(0.15, 0.65))
    return (light, dark) if rng.random() < 0.5 else (dark, light)


def _checkered(rng: np.random.Generator) -> AnyFloats:
    cell = rng.uniform(16, 36)
    u, v = _axes(rng, float(rng.choice([0.0, np.pi / 4])))
    return _mix(*_two_colours(rng), ((u // cell + v // cell) % 2).astype(np.float32))


def _striped(rng: np.random.Generator) -> AnyFloats:
    period, duty = rng.uniform(18, 56), rng.uniform(0.3, 0.6)
    u, _ = _axes(rng, rng.uniform(0, np.pi))
    edge = np.abs((u / period) % 1.0 - 0.5) * 2.0
    weight = np.clip((edge - duty) * period / 2.0 + 0.5, 0, 1)
    return _mix(*_two_colours(rng), weight.astype(np.float32))


def _dotted(rng: np.random.Generator) -> AnyFloats:
    period, radius = rng.uniform(20, 44), rng.uniform(0.18, 0.36)
    u, v = _axes(rng, float(rng.choice([0.0, np.pi / 4])))
    distance = np.hypot((u / period) % 1.0 - 0.5, (v / period) % 1.0 - 0.5)
    weight = np.clip((radius - distance) * period + 0.5, 0, 1)
    return _mix(*_two_colours(rng), weight.astype(np.float32))


def _gradient(rng: np.random.Generator) -> AnyFloats:
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[-1 : 1 : TILE * 1j, -1 : 1 : TILE * 1j].astype(np.float32)
    ramp = (x * np.cos(angle) + y * np.sin(angle)) / 1.3 * 0.5 + 0.5
    return _mix(*_two_colours(rng), np.clip(ramp, 0, 1).astype(np.float32))


def _grass(rng: np.random.Generator) -> AnyFloats:
    blades = _noise(rng, (20, 40), stretch=(1, 4)) * 0.65 + _noise(rng, (3, 6, 12)) * 0.35
    tone = rng.uniform(0.85, 1.1)
    dark, light = _rgb(22, 66, 18) * tone, _rgb(128, 190, 62) * tone
    return _mix(dark, light, np.clip((blades - 0.5) * 1.7 + 0.5, 0, 1))


def _sand(rng: np.random.Generator) -> AnyFloats:
    _, v = _axes(rng, rng.uniform(-0.4, 0.4))
    bend = _noise(rng, (3, 5))
    ripples = np.sin(v / rng.uniform(4, 8) + bend * 14) * 0.5 + 0.5
    grains = _noise(rng, (128,))
    weight = 0.35 * ripples + 0.35 * grains + 0.3 * bend
    return _mix(_rgb(168, 132, 84), _rgb(240, 216, 168), weight)


def _wood(rng: np.random.Generator) -> AnyFloats:
    u, _ = _axes(rng, 0.0 if rng.random() < 0.5 else np.pi / 2)
    plank = u // rng.uniform(40, 72)
    bend = cv2.GaussianBlur(_noise(rng, (4, 8)), (0, 0), 6)
    grain = np.sin(u / rng.uniform(2.0, 4.0) + bend * 16 + plank * 2.4) * 0.5 + 0.5
    weight = 0.55 * grain + 0.25 * bend + 0.2 * ((plank * 0.618) % 1.0)
    tone = rng.uniform(0.8, 1.15)
    image = _mix(_rgb(98, 56, 26) * tone, _rgb(196, 138, 82) * tone, weight)
    image[np.diff(plank, axis=1, append=plank[:, -1:]) != 0] *= 0.45
    image[np.diff(plank, axis=0, append=plank[-1:]) != 0] *= 0.45
    return image


def _brick(rng: np.random.Generator) -> AnyFloats:
    height, width = rng.uniform(18, 28), rng.uniform(44, 64)
    u, v = _axes(rng, 0.0)
    row = (v // height).astype(np.int64)
    shifted: AnyFloats = u + (row % 2) * width / 2
    column = (shifted // width).astype(np.int64)
    tone = 0.8 + 0.4 * (((row * 73 + column * 151) % 17) / 16.0)
    light: AnyFloats = tone * (0.85 + 0.3 * _noise(rng, (64, 128)))
    image: AnyFloats = _rgb(164, 74, 52) * light[:, :, None]
    mortar = (v % height < 2.5) | (shifted % width < 2.5)
    image[mortar] = _rgb(196, 188, 176) * rng.uniform(0.8, 1.0)
    return image


def _water(rng: np.random.Generator) -> AnyFloats:
    waves = _noise(rng, (4, 8, 16), stretch=(4, 1))
    crest = np.exp(-(((waves - 0.55) / 0.06) ** 2))
    deep, shallow = _rgb(14, 78, 120), _rgb(62, 158, 188)
    image: AnyFloats = _mix(deep, shallow, waves) + crest[:, :, None] * _rgb(90, 84, 72)
    return image


def _sky(rng: np.random.Generator) -> AnyFloats:
    height = np.linspace(0, 1, TILE, dtype=np.float32)[:, None].repeat(TILE, axis=1)
    air = _mix(_rgb(64, 132, 214), _rgb(166, 208, 244), height)
    cloud = np.clip((_noise(rng, (4, 8, 16, 32), stretch=(2, 1)) - 0.52) * 4.0, 0, 1)
    image: AnyFloats = air + (_rgb(248, 248, 250) - air) * cloud[:, :, None]
    return image


_PAINTERS = {
    "checkered": _checkered,
    "striped": _striped,
    "dotted": _dotted,
    "gradient": _gradient,
    "grass": _grass,
    "sand": _sand,
    "wood": _wood,
    "brick": _brick,
    "water": _water,
    "sky": _sky,
}
