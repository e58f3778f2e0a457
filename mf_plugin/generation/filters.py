"""What is kept of the masks that a generator proposes, with a named reason for every "no".

The paper's rule (MosaicFusion Sec. 3.3; facts in its Sec. 4.1.3): 4-connected components whose area
is a plausible share of their region; exactly one must remain. Shares are of the region's real area.

Shapes: a region's mask is bool[h, w].
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mf_plugin.arrays import Mask, Pixels
from mf_plugin.errors import InputError
from mf_plugin.fields import check_fields

NO_COMPONENT = "no_component"
TOO_SMALL = "too_small"
TOO_LARGE = "too_large"
SEVERAL_COMPONENTS = "several_components"


@dataclass(frozen=True)
class FilterConfig:
    """Which masks are kept.

    Args:
        min_area, max_area: range of a component's area, as a share of its region (paper: 5-95 %).
        components: components in that range that an object may have (paper: 1).
    """

    min_area: float = 0.05
    max_area: float = 0.95
    components: int = 1

    def __post_init__(self) -> None:
        check_fields(self, "filters: ")
        if not 0 <= self.min_area < self.max_area <= 1:
            raise InputError(
                f"filters: min_area is {self.min_area}, max_area is {self.max_area}; "
                "expected 0 <= min_area < max_area <= 1"
            )
        if self.components < 1:
            raise InputError(f"filters: components is {self.components}; expected at least 1")


def filter_mask(
    mask: Mask, config: FilterConfig, region_area: int | None = None
) -> tuple[Mask, str]:
    """Reduce a mask to its plausible components.

    Args:
        mask: bool[h, w].
        region_area: pixels of the region, where the mask is larger than that; default h * w.

    Returns:
        (mask, reason): bool[h, w] with the components in range alone, and "" if it is accepted;
        else the reason: ``no_component`` (empty mask), ``too_large`` or ``too_small`` (none in
        range; the largest one decides), ``several_components``.
    """
    area = mask.size if region_area is None else region_area
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        np.ascontiguousarray(mask, np.uint8), connectivity=4
    )
    areas = stats[1:, cv2.CC_STAT_AREA]
    inside = (areas >= config.min_area * area) & (areas <= config.max_area * area)
    kept = np.isin(labels, np.flatnonzero(inside) + 1)
    if count == 1:
        return kept, NO_COMPONENT
    if not inside.any():
        return kept, TOO_LARGE if areas.max() > config.max_area * area else TOO_SMALL
    return kept, SEVERAL_COMPONENTS if inside.sum() > config.components else ""


def blank(image: Pixels, area: Mask) -> Pixels:
    """Fill an area with its own mean colour: flat, so that nothing of an object is left in it.

    Args:
        image: uint8[H, W, 3].
        area: bool[H, W].
    """
    if not area.any():
        return image
    filled = image.copy()
    filled[area] = np.round(image[area].mean(axis=0)).astype(np.uint8)
    return filled
