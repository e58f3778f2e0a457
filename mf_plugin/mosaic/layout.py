"""Canvas geometry: how a canvas is split into regions, and how they are blended where they overlap.

MosaicFusion, section 3.2 (layout) and 4.1.3 (centre jitter sigma = 0.375, overlap 64 x 48). The
blending weights are Gaussians around each region's centre, as in Mixture of Diffusers (arXiv
2302.02412).

Shapes: a canvas is (H, W), a region (h, w); row first, in pixels or, after
``MosaicLayout.to_latent``, in latents.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mf_plugin.errors import InputError

GAUSSIAN_VARIANCE = 0.01  # of the relative distance to the region's centre (Mixture of Diffusers)


@dataclass(frozen=True)
class Region:
    """A rectangle of a canvas: rows ``top`` to ``top + height``, columns ``left`` to ``left +
    width``."""

    top: int
    left: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of the region in an array whose last two axes are the canvas."""
        rows = slice(self.top, self.top + self.height)
        return rows, slice(self.left, self.left + self.width)


@dataclass(frozen=True)
class MosaicLayout:
    """A canvas of ``height`` x ``width`` and its regions, which cover it and may overlap."""

    height: int
    width: int
    regions: tuple[Region, ...]

    def to_latent(self, factor: int) -> MosaicLayout:
        """The same layout in latents; every number must be a multiple of ``factor``
        (InputError)."""
        check_multiple("canvas height", self.height, factor)
        check_multiple("canvas width", self.width, factor)
        for index, region in enumerate(self.regions):
            for side in ("top", "left", "height", "width"):
                check_multiple(f"region {index} {side}", getattr(region, side), factor)
        return MosaicLayout(
            self.height // factor,
            self.width // factor,
            tuple(
                Region(r.top // factor, r.left // factor, r.height // factor, r.width // factor)
                for r in self.regions
            ),
        )

    def to_json(self) -> dict[str, Any]:
        """``{"height", "width", "regions": [[top, left, height, width], ...]}``."""
        return {
            "height": self.height,
            "width": self.width,
            "regions": [[r.top, r.left, r.height, r.width] for r in self.regions],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> MosaicLayout:
        """Inverse of ``to_json``."""
        try:
            regions = tuple(Region(*map(int, region)) for region in data["regions"])
            return cls(int(data["height"]), int(data["width"]), regions)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"layout {data!r}: expected height, width and regions of [top, left, height, width]"
            ) from error


def check_multiple(what: str, value: int, multiple: int) -> None:
    """Raise InputError unless ``value`` is a multiple of ``multiple``."""
    if value % multiple:
        raise InputError(f"{what} is {value}; expected a multiple of {multiple}")


def check_layout(layout: MosaicLayout) -> None:
    """Raise InputError unless the regions lie inside the canvas and cover it."""
    covered = np.zeros((layout.height, layout.width), dtype=bool)
    for index, region in enumerate(layout.regions):
        inside_rows = 0 <= region.top and region.top + region.height <= layout.height
        inside_columns = 0 <= region.left and region.left + region.width <= layout.width
        if not (inside_rows and inside_columns and region.height > 0 and region.width > 0):
            raise InputError(
                f"region {index} is {region}; expected to lie in the canvas of "
                f"{layout.height} x {layout.width}"
            )
        covered[region.slices] = True
    if not covered.all():
        row, column = np.argwhere(~covered)[0]
        raise InputError(
            f"row {row}, column {column} of the canvas lies in no region; "
            f"expected regions that cover it"
        )


def draw_layout(
    rng: np.random.Generator,
    *,
    num_regions: int,
    canvas: tuple[int, int],
    jitter: float,
    overlap: tuple[int, int],
    multiple: int,
) -> MosaicLayout:
    """Draw the regions of a canvas (MosaicFusion, section 3.2).

    Args:
        rng: the only source of chance.
        num_regions: 1; 2, side by side or stacked as ``rng`` has it; or 4, two by two.
        canvas: (H, W) in pixels.
        jitter: the paper's sigma, in (0, 0.5]. The centre is drawn uniformly from 2 sigma to
            2 - 2 sigma times the half canvas (0.375: 0.75 to 1.25; 0.5: always the middle) and
            floored to ``multiple``.
        overlap: (dy, dx) in pixels by which neighbours overlap; each region reaches half of it past
            the centre line.
        multiple: every coordinate is a multiple of it: the VAE's factor, or a multiple of that.

    Returns:
        Regions in reading order.

    Raises:
        InputError: a number is out of range or not a multiple of ``multiple``.
    """
    if num_regions not in (1, 2, 4):
        raise InputError(f"num_regions is {num_regions}; expected 1, 2 or 4")
    if not 0 < jitter <= 0.5:
        raise InputError(f"jitter is {jitter}; expected more than 0 and at most 0.5")
    rows, columns = {1: (1, 1), 2: (1, 2), 4: (2, 2)}[num_regions]
    if num_regions == 2 and rng.random() < 0.5:
        rows, columns = columns, rows
    spans = []
    for axis, (length, parts) in enumerate(zip(canvas, (rows, columns))):
        name = ("height", "width")[axis]
        check_multiple(f"canvas {name}", length, multiple)
        spans.append(_draw_spans(rng, name, length, parts, jitter, overlap[axis], multiple))
    regions = tuple(
        Region(top, left, bottom - top, right - left)
        for top, bottom in spans[0]
        for left, right in spans[1]
    )
    return MosaicLayout(canvas[0], canvas[1], regions)


def _draw_spans(
    rng: np.random.Generator,
    name: str,
    length: int,
    parts: int,
    jitter: float,
    overlap: int,
    multiple: int,
) -> list[tuple[int, int]]:
    """One axis: the [start, end) of each part, one or two of them."""
    if length <= 0:
        raise InputError(f"canvas {name} is {length}; expected a positive multiple of {multiple}")
    if parts == 1:
        return [(0, length)]
    if overlap < 0 or overlap % (2 * multiple):
        raise InputError(
            f"overlap in {name} is {overlap}; expected a multiple of {2 * multiple} "
            f"(each region reaches half of it past the centre line)"
        )
    reach = overlap // 2
    nearest = int(jitter * length) // multiple * multiple  # the centre's least distance to the edge
    if nearest < max(reach, multiple):
        raise InputError(
            f"canvas {name} is {length}: with jitter {jitter} the centre may lie {nearest} from "
            f"its edge; expected at least {max(reach, multiple)} for overlap {overlap} and "
            f"multiple {multiple}"
        )
    ratio = rng.uniform(2 * jitter, 2 - 2 * jitter)
    centre = int(length / 2 * ratio) // multiple * multiple
    return [(0, centre + reach), (centre - reach, length)]


def gaussian_weights(length: int) -> npt.NDArray[np.float64]:
    """exp(-(i - (L - 1) / 2)^2 / (2 * 0.01 * L^2)) for i in 0 .. L - 1; float64[L], 1 at the
    centre."""
    offset = np.arange(length) - (length - 1) / 2
    return np.exp(-(offset**2) / (2 * GAUSSIAN_VARIANCE * length**2))


def region_weights(region: Region) -> npt.NDArray[np.float64]:
    """Gaussian weights of a region, float64[h, w]: the outer product of its rows' and its
    columns'."""
    return np.outer(gaussian_weights(region.height), gaussian_weights(region.width))


def blending_weights(layout: MosaicLayout) -> list[npt.NDArray[np.float64]]:
    """Per region float64[h, w]: its Gaussian weights over the sum of all regions' at the same
    place.

    So the weighted regions of a canvas add up; a region alone at a place has weight 1 there.
    """
    total = np.zeros((layout.height, layout.width))
    weights = [region_weights(region) for region in layout.regions]
    for region, weight in zip(layout.regions, weights):
        total[region.slices] += weight
    return [weight / total[region.slices] for region, weight in zip(layout.regions, weights)]
