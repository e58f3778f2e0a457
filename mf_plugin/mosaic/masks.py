"""Attention maps -> binary instance masks.

Method "published" (MosaicFusion, section 3.3): the maps of each resolution are brought to the
region's size and averaged, thresholded by Otsu's method, and refined by the bilateral solver with
the region's image as reference. Method "refined" starts from better heat (``refined_sums``) and
goes on softly, with the region's colours (``refine``). Masks stay arrays throughout: they never
pass through an image file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from PIL import Image

from mf_plugin.arrays import AnyFloats, Float32Array, Mask, Pixels
from mf_plugin.errors import InputError
from mf_plugin.fields import check_fields
from mf_plugin.mosaic.attention import AttentionConfig, RegionAttention
from mf_plugin.mosaic.bilateral import BilateralConfig, solve_bilateral
from mf_plugin.mosaic.layout import MosaicLayout, region_weights
from mf_plugin.mosaic.refine import RefineConfig, merge_refined, refine_mask

METHODS = ("published", "refined")
STABILITY_SHIFT = 0.1  # share of the threshold by which ``mask_stability`` moves it


@dataclass(frozen=True)
class MaskConfig:
    """How attention becomes a mask.

    method: "published", or "refined", which needs attention read with AttentionConfig.refined
        (``attention_config_for``).
    scales: resolutions that count, as latent side / map side (paper, with 384 x 512 pixel regions:
        1, 2 and 4).
    threshold: "otsu", or a number between 0 and 1 of the averaged map's maximum.
    solver_rounds: published: how often the bilateral solver runs (paper: 2); 0 leaves the
        thresholded map.
    bilateral: the solver's parameters (defaults: the paper's). Refined masks set the spatial one
        themselves.
    refine: refined: its own parameters.
    """

    method: str = "refined"
    scales: tuple[int, ...] = (1, 2)
    threshold: str | float = "otsu"
    solver_rounds: int = 2
    bilateral: BilateralConfig = field(default_factory=BilateralConfig)
    refine: RefineConfig = field(default_factory=RefineConfig)

    def __post_init__(self) -> None:
        check_fields(self, "mask ", threshold="'otsu' or 0 < number < 1")
        if self.method not in METHODS:
            raise InputError(f"mask method is {self.method!r}; expected one of {METHODS}")
        if not self.scales or min(self.scales) < 1:
            raise InputError(f"mask scales are {self.scales}; expected some of 1, 2, 4")
        fixed = not isinstance(self.threshold, str) and 0 < self.threshold < 1
        if self.threshold != "otsu" and not fixed:
            raise InputError(
                f"mask threshold is {self.threshold!r}; expected 'otsu' or 0 < number < 1"
            )
        if self.solver_rounds < 0:
            raise InputError(f"mask solver_rounds is {self.solver_rounds}; expected 0 or more")


def attention_config_for(mask: MaskConfig, attention: AttentionConfig) -> AttentionConfig:
    """``attention`` with what ``mask.method`` needs to be read besides."""
    return replace(attention, refined=True) if mask.method == "refined" else attention


def attention_to_mask(
    attention: RegionAttention,
    region_image: Pixels,
    config: MaskConfig,
) -> Mask:
    """The mask of a region's object.

    Args:
        attention: of the region, as in MosaicOutput.attention.
        region_image: uint8[h, w, 3], RGB.
        config: scales, threshold, solver.

    Returns:
        bool[h, w]; empty where the attention is zero or flat.

    Raises:
        InputError: a scale of the config is not among the maps, or a map is not finite; or the
            method is "refined" and the attention was read without what it needs.
    """
    return _mask_at(attention, region_image, config, 1.0)


def mask_stability(attention: RegionAttention, region_image: Pixels, config: MaskConfig) -> float:
    """How little a mask depends on its threshold, without ground truth.

    The measure of Segment Anything (section 5, stability score): the IoU of the masks that the
    threshold gives when it is 10 % lower and 10 % higher, each taken through all later steps.

    Args:
        attention, region_image, config: as in ``attention_to_mask``.

    Returns:
        0 to 1; 0 where the attention is zero or flat.
    """
    larger, smaller = (
        _mask_at(attention, region_image, config, 1 + shift)
        for shift in (-STABILITY_SHIFT, STABILITY_SHIFT)
    )
    union = np.count_nonzero(larger | smaller)
    return np.count_nonzero(larger & smaller) / union if union else 0.0


def _mask_at(
    attention: RegionAttention,
    region_image: Pixels,
    config: MaskConfig,
    shift: float,
) -> Mask:
    """The mask with ``shift`` times the threshold."""
    size = region_image.shape[0], region_image.shape[1]
    if config.method == "refined":
        if attention.refined is None:
            raise InputError(
                "mask method is 'refined'; expected attention that was read with "
                "AttentionConfig(refined=True) (masks.attention_config_for)"
            )
        heat = merge_refined(attention.refined, size, config.scales)
        threshold = find_threshold(heat, config.threshold) * config.refine.threshold_factor
        return refine_mask(heat, threshold * shift, region_image, config.refine, config.bilateral)
    heat = merge_scales(attention.maps, size, config.scales)
    mask = threshold_map(heat, config.threshold, shift)
    return solve_bilateral(mask, region_image, config.bilateral, config.solver_rounds)


def merge_scales(
    maps: Mapping[int, AnyFloats], size: tuple[int, int], scales: Sequence[int]
) -> Float32Array:
    """Mean of the maps at ``scales``, each over its maximum, as bytes, resized bicubically to
    ``size`` = (h, w).

    Returns:
        float32[h, w], its maximum 1; all zero where all maps are.
    """
    total = np.zeros(size, dtype=np.float32)
    for scale in scales:
        if scale not in maps:
            raise InputError(f"mask scale {scale}: the model has attention at {sorted(maps)}")
        values = np.asarray(maps[scale], dtype=np.float32)
        if not np.isfinite(values).all():
            raise InputError(f"attention at scale {scale} is not finite; expected numbers")
        if values.max() > 0:
            as_bytes = (values / values.max() * 255).astype(np.uint8)
            resized = Image.fromarray(as_bytes).resize(size[::-1], Image.Resampling.BICUBIC)
            total += np.asarray(resized, dtype=np.float32)
    return total / total.max() if total.max() > 0 else total


def find_threshold(heat: AnyFloats, threshold: str | float) -> float:
    """The number itself, or Otsu's threshold of a map float[h, w] in [0, 1], as bytes, over 255."""
    if threshold != "otsu":
        return float(threshold)
    as_bytes = (heat * 255).astype(np.uint8)
    return cv2.threshold(as_bytes, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)[0] / 255


def threshold_map(heat: AnyFloats, threshold: str | float, shift: float = 1.0) -> Mask:
    """float[h, w] in [0, 1] -> bool[h, w]: above the number, or above Otsu's threshold of the map
    as bytes; either is taken times ``shift``."""
    if threshold != "otsu":
        return heat > float(threshold) * shift
    as_bytes = (heat * 255).astype(np.uint8)
    if as_bytes.min() == as_bytes.max():
        return np.zeros(heat.shape, dtype=bool)
    otsu, _ = cv2.threshold(as_bytes, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    return as_bytes > otsu * shift


def make_disjoint(masks: Sequence[Mask], layout: MosaicLayout) -> list[Mask]:
    """Masks of overlapping regions -> masks that share no pixel.

    A pixel that several masks claim goes to the region of the largest Gaussian weight there: the
    one whose prompt counted most when it was painted. Equal weights: to the first.

    Args:
        masks: bool[h, w] of each region, in the layout's order and size.
        layout: in pixels.
    """
    best = np.zeros((layout.height, layout.width))
    owner = np.full((layout.height, layout.width), -1)
    for index, (mask, region) in enumerate(zip(masks, layout.regions, strict=True)):
        if mask.shape != (region.height, region.width):
            raise InputError(
                f"mask {index} is {mask.shape}; expected {(region.height, region.width)}"
            )
        weights = region_weights(region)
        wins = mask & (weights > best[region.slices])
        best[region.slices][wins] = weights[wins]
        owner[region.slices][wins] = index
    return [owner[region.slices] == index for index, region in enumerate(layout.regions)]
