"""How a real image of any size becomes one of the model's: scaled, cut out, perhaps mirrored.

The same view is taken of the image and of its masks. Shapes: H x W pixels of the original, h x w of
the view.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from mf_plugin.errors import InputError

MOST_ZOOM = 16.0  # a part of 1/16 of the image's sides


@dataclass(frozen=True)
class View:
    """A part of an image, scaled.

    Attributes:
        size: (h, w) of the view.
        scaled: (height, width) of the whole image, scaled as the view is.
        corner: (top, left) of the view in it.
        mirrored: left and right change places, after the cut.
    """

    size: tuple[int, int]
    scaled: tuple[int, int]
    corner: tuple[int, int]
    mirrored: bool = False

    def image(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """uint8[H, W, 3] -> uint8[h, w, 3]."""
        return self._cut(self._scale(image))

    def mask(self, mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """bool[H, W] -> bool[h, w]: pixels that the mask covers by half or more."""
        return self._cut(self._scale(mask.astype(np.uint8) * 255)) >= 128

    def _scale(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        height, width = self.scaled
        if pixels.shape[:2] == self.scaled:
            return pixels
        shrinks = height * width < pixels.shape[0] * pixels.shape[1]
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(pixels, (width, height), interpolation=method), np.uint8)

    def _cut(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        (top, left), (height, width) = self.corner, self.size
        part = pixels[top : top + height, left : left + width]
        return np.ascontiguousarray(part[:, ::-1] if self.mirrored else part)


def centre_view(original: tuple[int, int], size: tuple[int, int]) -> View:
    """The largest centred part of the size's aspect ratio, scaled to the size."""
    scaled = _scaled(original, size, 1.0)
    corner = ((scaled[0] - size[0]) // 2, (scaled[1] - size[1]) // 2)
    return View(size, scaled, corner)


def draw_view(
    original: tuple[int, int],
    size: tuple[int, int],
    rng: np.random.Generator,
    *,
    zoom: float = 1.0,
    mirror: bool = False,
) -> View:
    """A random view.

    Args:
        original: (H, W) of the image.
        size: (h, w).
        rng: draws scale, corner and mirroring, always in this order.
        zoom: the scale is drawn from 1 to it, where 1 is the smallest that fills the view.
        mirror: whether half of the views are mirrored.

    Raises:
        InputError: zoom is not 1 to ``MOST_ZOOM``.
    """
    if not 1 <= zoom <= MOST_ZOOM:
        raise InputError(f"zoom is {zoom}; expected 1 to {MOST_ZOOM:g}")
    scaled = _scaled(original, size, 1 + (zoom - 1) * float(rng.random()))
    top, left = (int(rng.integers(s - v + 1)) for s, v in zip(scaled, size, strict=True))
    mirrored = bool(rng.random() < 0.5)
    return View(size, scaled, (top, left), mirrored and mirror)


def _scaled(original: tuple[int, int], size: tuple[int, int], zoom: float) -> tuple[int, int]:
    factor = zoom * max(size[0] / original[0], size[1] / original[1])
    height, width = (max(v, round(o * factor)) for o, v in zip(original, size, strict=True))
    return height, width
