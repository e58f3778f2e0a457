"""Heat of a region -> a mask with the image's edges: the last steps of refined masks.

1. The heat becomes the log-odds of a place being the object's: 0 at the threshold (Otsu's), a fixed
   step between the mean heats of the two sides.
2. The soft mask tells which colours are the object's and which the background's: two histograms of
   the region, as in GrabCut (Rother et al., SIGGRAPH 2004). Their log-ratio is added to the heat's
   log-odds. So a ring's hole, of the background's colour, is not filled.
3. The bilateral solver smooths the soft mask inside the image's edges; it is never made binary on
   the way.

Steps 2 and 3 are repeated. Sizes are relative to the region's, so that they fit any model.

Shapes: a region is (h, w), P = h * w pixels.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import cv2
import numpy as np

from mf_plugin.arrays import AnyFloats, Float32Array, Mask, Pixels
from mf_plugin.errors import InputError
from mf_plugin.extras import require
from mf_plugin.fields import check_fields
from mf_plugin.mosaic.bilateral import BilateralConfig, build_grid, colour_cells, solve_on_grid
from mf_plugin.mosaic.refined_sums import RefinedMaps

_RARE = 1 / 4096  # share of an area that a colour has at least; bounds the log-ratio
_SURE = 30.0  # log-odds beyond it are the same to the solver


@dataclass(frozen=True)
class RefineConfig:
    """Parameters of refined masks.

    threshold_factor: what Otsu's (or the given) threshold of the heat is multiplied by.
    contrast: log-odds between the mean heat above the threshold and the mean heat below.
    colour_weight: what the colours' log-ratio counts beside the heat; 0 leaves colours out.
    rounds: how often colours are counted and the solver runs.
    cell: side of the solver's grid cells as a share of the region's side, sqrt(h * w).
    """

    threshold_factor: float = 1.1
    contrast: float = 4.0
    colour_weight: float = 2.0
    rounds: int = 3
    cell: float = 3 / 32

    def __post_init__(self) -> None:
        check_fields(self, "refine ")
        for name in ("threshold_factor", "contrast", "cell"):
            if not getattr(self, name) > 0:
                raise InputError(f"refine {name} is {getattr(self, name)}; expected more than 0")
        if self.colour_weight < 0:
            raise InputError(f"refine colour_weight is {self.colour_weight}; expected 0 or more")
        if self.rounds < 1:
            raise InputError(f"refine rounds is {self.rounds}; expected at least 1")


def merge_refined(
    refined: RefinedMaps, size: tuple[int, int], scales: tuple[int, ...]
) -> Float32Array:
    """Mean of the maps at ``scales``, weighted by the agreement there, resized bicubically to
    ``size`` = (h, w).

    Returns:
        float32[h, w] from 0 to 1, its maximum 1; all zero where all maps are.

    Raises:
        InputError: a scale that was not read, or a map that is not finite.
    """
    total: AnyFloats | float = 0.0
    for scale in scales:
        if scale not in refined.maps:
            raise InputError(
                f"mask scale {scale}: the model has attention at {sorted(refined.maps)}"
            )
        if not np.isfinite(refined.maps[scale]).all():
            raise InputError(f"attention at scale {scale} is not finite; expected numbers")
        total = total + refined.agreement[scale] * np.asarray(refined.maps[scale], np.float32)
    mean = np.asarray(total, np.float32)
    heat: Float32Array = cv2.resize(mean, size[::-1], interpolation=cv2.INTER_CUBIC)
    return np.clip(heat / heat.max(), 0, 1) if heat.max() > 0 else np.zeros(size, np.float32)


def refine_mask(
    heat: AnyFloats,
    threshold: float,
    image: Pixels,
    config: RefineConfig,
    bilateral: BilateralConfig,
) -> Mask:
    """The mask of a region's object.

    Args:
        heat: float[h, w] from 0 to 1.
        threshold: of the heat.
        image: uint8[h, w, 3], RGB.
        config: parameters.
        bilateral: of the solver; its ``sigma_spatial`` is replaced by the config's ``cell``.

    Returns:
        bool[h, w]; empty where the threshold does not divide the heat.
    """
    above = heat > threshold
    if not above.any() or above.all():
        return np.zeros(heat.shape, dtype=bool)
    odds = heat_log_odds(heat, threshold, config.contrast)
    side = math.sqrt(heat.size)
    bilateral = dataclasses.replace(bilateral, sigma_spatial=config.cell * side)
    grid = build_grid(image, bilateral)
    colours = _Colours(image, bilateral)
    soft = _probability(odds)
    for _ in range(config.rounds):
        log_ratio = colours.log_ratio(soft).reshape(heat.shape)
        target = _probability(odds + config.colour_weight * log_ratio)
        soft = solve_on_grid(grid, target, bilateral).reshape(heat.shape).clip(0, 1)
    return soft > 0.5


def heat_log_odds(heat: AnyFloats, threshold: float, contrast: float) -> AnyFloats:
    """float[h, w]: 0 at the threshold, linear in the heat, ``contrast`` between the mean heats of
    the pixels above and below, of which there must be some."""
    above = heat > threshold
    step = heat[above].mean() - heat[~above].mean()
    odds: AnyFloats = contrast * (heat - threshold) / step
    return odds.clip(-_SURE, _SURE)


class _Colours:
    """The colours of an image, in the cells of the bilateral grid, smoothed by one cell."""

    def __init__(self, image: Pixels, bilateral: BilateralConfig) -> None:
        cells = colour_cells(image, bilateral)
        self._shape = tuple(int(side) + 1 for side in cells.max(axis=1))
        self._pixels = np.ravel_multi_index(tuple(cells), self._shape)
        self._all = self._count(np.ones(len(self._pixels)))

    def log_ratio(self, soft: AnyFloats) -> AnyFloats:
        """log p(colour | object) / p(colour | background) of each pixel, float64[P], from the
        probabilities [h, w] that pixels are the object's."""
        inside = self._count(soft.ravel())
        outside = np.maximum(self._all - inside, 0)
        area = float(soft.sum())
        rest = soft.size - area
        shares = (inside / max(area, 1.0), outside / max(rest, 1.0))
        ratio: AnyFloats = np.log((shares[0] + _RARE) / (shares[1] + _RARE))
        of_pixels: AnyFloats = ratio[self._pixels]
        return of_pixels

    def _count(self, weights: AnyFloats) -> AnyFloats:
        """Smoothed sums of the pixels of each colour."""
        ndimage = require("scipy.ndimage", "diffusion")
        counts = np.bincount(self._pixels, weights, math.prod(self._shape)).reshape(self._shape)
        smooth: AnyFloats = ndimage.gaussian_filter(counts, 1.0, mode="constant")
        return smooth.ravel()


def _probability(log_odds: AnyFloats) -> AnyFloats:
    return 1 / (1 + np.exp(-log_odds))
