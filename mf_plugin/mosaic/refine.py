"""Heat of a region -> a mask with the image's edges: the last steps of refined masks.

1. The heat becomes the log-odds of a pixel being the object's: those of two normal distributions,
   one on either side of the threshold (Otsu's). Heat that divides well counts much, vague heat
   little.
2. The soft mask tells which colours are the object's and which the background's: two histograms of
   the region, as in GrabCut (Rother et al., SIGGRAPH 2004). Their log-ratio is added to the heat's
   log-odds. So a ring's hole, of the background's colour, is not filled.
3. The bilateral solver smooths the soft mask inside the image's edges; it is not made binary on the
   way. Steps 2 and 3 are repeated.
4. Parts that lie where the heat is low are taken out: in a mosaic, a neighbour of the same colour
   reaches into the region.

Sizes are relative to the region's, so that they fit any model.

Shapes: a region is (h, w), P = h * w pixels.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from mf_plugin.errors import InputError
from mf_plugin.extras import require
from mf_plugin.mosaic.bilateral import BilateralConfig, build_grid, colour_cells, solve_on_grid
from mf_plugin.mosaic.refined_sums import RefinedMaps

_RARE = 1 / 4096  # share of an area that a colour has at least; bounds the log-ratio
_FLAT = 1e-6  # heat that varies by less than this share is the same everywhere
_TINY = 1e-9
_SURE = 30.0  # log-odds beyond it are the same to the solver

Image = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.floating]


@dataclass(frozen=True)
class RefineConfig:
    """Parameters of refined masks.

    threshold_factor: what Otsu's (or the given) threshold of the heat is multiplied by; the blur of
        coarse maps puts it too low.
    heat_weight: what the log-odds of the heat count; below 1, as neighbouring pixels tell the same.
    colour_weight: what the colours' log-ratio counts beside the heat; 0 leaves colours out.
    rounds: how often colours are counted and the solver runs.
    cell: side of the solver's grid cells as a share of the region's side, sqrt(h * w).
    """

    threshold_factor: float = 1.2
    heat_weight: float = 0.2
    colour_weight: float = 2.0
    rounds: int = 3
    cell: float = 3 / 32

    def __post_init__(self) -> None:
        for name in ("threshold_factor", "heat_weight", "cell"):
            if not getattr(self, name) > 0:
                raise InputError(f"refine {name} is {getattr(self, name)}; expected more than 0")
        if self.colour_weight < 0:
            raise InputError(f"refine colour_weight is {self.colour_weight}; expected 0 or more")
        if self.rounds < 1:
            raise InputError(f"refine rounds is {self.rounds}; expected at least 1")


def merge_refined(
    refined: RefinedMaps, size: tuple[int, int], scales: tuple[int, ...]
) -> npt.NDArray[np.float32]:
    """Mean of the maps at ``scales``, weighted by the agreement there, resized bicubically to
    ``size`` = (h, w).

    Returns:
        float32[h, w] from 0 to 1, stretched to both ends; all zero where the maps are flat.

    Raises:
        InputError: a scale that was not read, or a map that is not finite.
    """
    total = 0.0
    for scale in scales:
        if scale not in refined.maps:
            raise InputError(f"mask scale {scale}: the model has attention at {sorted(refined.maps)}")
        if not np.isfinite(refined.maps[scale]).all():
            raise InputError(f"attention at scale {scale} is not finite; expected numbers")
        total = total + refined.agreement[scale] * np.asarray(refined.maps[scale], np.float32)
    heat = cv2.resize(np.asarray(total, np.float32), size[::-1], interpolation=cv2.INTER_CUBIC)
    low, high = float(heat.min()), float(heat.max())
    return (heat - low) / (high - low) if high - low > _FLAT * high else np.zeros(size, np.float32)


def refine_mask(
    heat: FloatArray,
    threshold: float,
    image: Image,
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
    odds = config.heat_weight * heat_log_odds(heat, threshold)
    side = math.sqrt(heat.size)
    bilateral = dataclasses.replace(bilateral, sigma_spatial=config.cell * side)
    grid = build_grid(image, bilateral)
    colours = _Colours(image, bilateral)
    soft = _probability(odds)
    for _ in range(config.rounds):
        log_ratio = colours.log_ratio(soft).reshape(heat.shape)
        target = _probability(odds + config.colour_weight * log_ratio)
        soft = solve_on_grid(grid, target, bilateral).reshape(heat.shape).clip(0, 1)
    return drop_cold_parts(soft > 0.5, heat, threshold)


def heat_log_odds(heat: FloatArray, threshold: float) -> FloatArray:
    """Log-odds of two normal distributions, with the means of the pixels above and below the
    threshold (there must be some of both) and their common variance, shifted to be 0 at the
    threshold. float[h, w] -> float[h, w], within +-30."""
    above = heat > threshold
    inside, outside = heat[above], heat[~above]
    squares = inside.var() * inside.size + outside.var() * outside.size
    variance = max(float(squares) / heat.size, _TINY)
    slope = float(inside.mean() - outside.mean()) / variance
    return (slope * (heat - threshold)).clip(-_SURE, _SURE)


def drop_cold_parts(mask: Mask, heat: FloatArray, threshold: float) -> Mask:
    """Without the 4-connected components whose mean heat is below the threshold; the hottest one
    stays. bool[h, w] -> bool[h, w]."""
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    if count <= 2:
        return mask
    labels = labels.ravel()
    pixels = np.bincount(labels, minlength=count)
    means = np.bincount(labels, heat.ravel(), minlength=count) / np.maximum(pixels, 1)
    means[0] = -np.inf
    kept = means >= min(threshold, means.max())
    return kept[labels].reshape(mask.shape)


class _Colours:
    """The colours of an image, in the cells of the bilateral grid, smoothed by one cell."""

    def __init__(self, image: Image, bilateral: BilateralConfig) -> None:
        cells = colour_cells(image, bilateral)
        self._shape = tuple(int(side) + 1 for side in cells.max(axis=1))
        self._pixels = np.ravel_multi_index(tuple(cells), self._shape)
        self._all = self._count(np.ones(len(self._pixels)))

    def log_ratio(self, soft: FloatArray) -> FloatArray:
        """log p(colour | object) / p(colour | background) of each pixel, float64[P], from the
        probabilities [h, w] that pixels are the object's."""
        inside = self._count(soft.ravel())
        outside = np.maximum(self._all - inside, 0)
        area = float(soft.sum())
        rest = soft.size - area
        shares = (inside / max(area, 1.0), outside / max(rest, 1.0))
        ratio = np.log((shares[0] + _RARE) / (shares[1] + _RARE))
        return ratio[self._pixels]

    def _count(self, weights: FloatArray) -> FloatArray:
        """Smoothed sums of the pixels of each colour."""
        ndimage = require("scipy.ndimage", "diffusion")
        counts = np.bincount(self._pixels, weights, math.prod(self._shape)).reshape(self._shape)
        return ndimage.gaussian_filter(counts, 1.0, mode="constant").ravel()


def _probability(log_odds: FloatArray) -> FloatArray:
    return 1 / (1 + np.exp(-log_odds))
