"""Canvas geometry: how a canvas is split into regions, and how they are blended where they overlap.

MosaicFusion, section 3.2 (layout) and 4.1.3 (centre jitter sigma = 0.375, overlap 64 x 48), for any
grid of regions; the paper's are 1 x 1, 1 x 2, 2 x 1 and 2 x 2. The blending weights are Gaussians
around each region's centre, as in Mixture of Diffusers (arXiv 2302.02412).

Shapes: a canvas is (H, W), a region (h, w); row first, in pixels or, after
``MosaicLayout.to_latent``, in latents.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from mf_plugin.arrays import FloatArray
from mf_plugin.errors import InputError
from mf_plugin.lvis.validate import MAX_SIDE

GAUSSIAN_VARIANCE = 0.01  # of the relative distance to the region's centre (Mixture of Diffusers)
_PAPER_GRIDS = {1: ((1, 1),), 2: ((1, 2), (2, 1)), 4: ((2, 2),)}  # N -> (rows, columns)


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
        inside_rows = 0 <= region.top <= layout.height - region.height
        inside_columns = 0 <= region.left <= layout.width - region.width
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


def parse_regions(regions: int | str) -> tuple[tuple[int, int], ...]:
    """The grids, (rows, columns), that a number of regions or an "RxC" stands for.

    1, 2 and 4 are the paper's. 2 is two grids, side by side and stacked; any other entry is one.

    Raises:
        InputError: it is none of these.
    """
    if isinstance(regions, str):
        match = re.fullmatch(r"([1-9][0-9]{0,3})x([1-9][0-9]{0,3})", regions)
        if match:
            return ((int(match[1]), int(match[2])),)
    elif type(regions) is int and regions in _PAPER_GRIDS:
        return _PAPER_GRIDS[regions]
    raise InputError(f"regions has {regions!r}; expected 1, 2, 4 or rows x columns such as '2x3'")


def check_division(
    regions: int | str,
    *,
    canvas: tuple[int, int] | None = None,
    region_size: tuple[int, int] | None = None,
    jitter: float,
    overlap: tuple[int, int],
    multiple: int,
) -> None:
    """Raise InputError unless every draw of ``draw_layout`` with these arguments is sound.

    Sound: all coordinates are multiples of ``multiple``, no region is empty, and a region overlaps
    with its neighbours alone, never with the one behind them.
    """
    if not 0 < jitter <= 0.5:
        raise InputError(f"jitter is {jitter}; expected more than 0 and at most 0.5")
    if (canvas is None) == (region_size is None):
        raise InputError(
            f"canvas is {canvas} and region_size is {region_size}; "
            f"expected one of them, and None for the other"
        )
    for axis, name in enumerate(("height", "width")):
        if region_size is not None:
            _check_side(f"region_size {name}", region_size[axis], multiple)
        for grid in parse_regions(regions):
            length = _canvas_size(grid, canvas, region_size)[axis]
            _check_side(f"canvas {name}", length, multiple)
            if grid[axis] > 1:
                _check_lines(name, length, grid[axis], jitter, overlap[axis], multiple)


def draw_layout(
    rng: np.random.Generator,
    *,
    regions: int | str,
    canvas: tuple[int, int] | None = None,
    region_size: tuple[int, int] | None = None,
    jitter: float,
    overlap: tuple[int, int],
    multiple: int,
) -> MosaicLayout:
    """Draw the regions of a canvas (MosaicFusion, section 3.2; any grid in the same way).

    Args:
        rng: the only source of chance.
        regions: 1; 2, side by side or stacked as ``rng`` has it; 4, two by two; or "RxC", R rows of
            C regions.
        canvas: (H, W) in pixels, whatever the grid; None where ``region_size`` is given.
        region_size: (h, w) in pixels, the mean size of a region: the canvas is R h x C w. None
            where ``canvas`` is given.
        jitter: the paper's sigma, in (0, 0.5]. With s = H / R the mean side of a region, line k of
            the R - 1 between the rows is drawn uniformly from k s - (1 - 2 sigma) s to
            k s + (1 - 2 sigma) s and floored to ``multiple``; the lines between the columns
            likewise. For two rows these are the paper's 2 sigma to 2 - 2 sigma times the half
            canvas (0.375: 0.75 to 1.25; 0.5: always the middle).
        overlap: (dy, dx) in pixels by which neighbours overlap; each region reaches half of it past
            each of its inner lines.
        multiple: every coordinate is a multiple of it: the VAE's factor, or a multiple of that.

    Returns:
        Regions in reading order.

    Raises:
        InputError: a number is out of range or not a multiple of ``multiple``, or lines could come
            too close to each other or to the edge.
    """
    check_division(
        regions,
        canvas=canvas,
        region_size=region_size,
        jitter=jitter,
        overlap=overlap,
        multiple=multiple,
    )
    grids = parse_regions(regions)
    grid = grids[1] if len(grids) == 2 and rng.random() < 0.5 else grids[0]
    size = _canvas_size(grid, canvas, region_size)
    rows, columns = (
        _draw_spans(rng, size[axis], grid[axis], jitter, overlap[axis] // 2, multiple)
        for axis in (0, 1)
    )
    drawn = tuple(
        Region(top, left, bottom - top, right - left)
        for top, bottom in rows
        for left, right in columns
    )
    return MosaicLayout(size[0], size[1], drawn)


def _canvas_size(
    grid: tuple[int, int], canvas: tuple[int, int] | None, region_size: tuple[int, int] | None
) -> tuple[int, int]:
    """(H, W) of a canvas; one of the two sizes is given."""
    if region_size is not None:
        return grid[0] * region_size[0], grid[1] * region_size[1]
    assert canvas is not None
    return canvas


def _check_side(what: str, length: int, multiple: int) -> None:
    check_multiple(what, length, multiple)
    if length <= 0:
        raise InputError(f"{what} is {length}; expected a positive multiple of {multiple}")
    if length > MAX_SIDE:
        raise InputError(f"{what} is {length}; expected at most {MAX_SIDE}, the limit of JPEG")


def _check_lines(
    name: str, length: int, parts: int, jitter: float, overlap: int, multiple: int
) -> None:
    """One axis of at least two parts: the lines keep their distance whatever is drawn."""
    if overlap < 0 or overlap % (2 * multiple):
        raise InputError(
            f"overlap in {name} is {overlap}; expected a multiple of {2 * multiple} "
            f"(each region reaches half of it past a line)"
        )
    least = max(overlap // 2, multiple)
    nearest = int(2 * jitter * length / parts) // multiple * multiple
    if nearest < least:
        raise InputError(
            f"canvas {name} is {length}: with jitter {jitter} the first of {parts} parts may end "
            f"{nearest} from its edge; expected at least {least} for overlap {overlap} and "
            f"multiple {multiple}"
        )
    least = max(overlap, multiple)
    nearest = max(0, int((4 * jitter - 1) * length / parts) // multiple * multiple)
    if parts > 2 and nearest < least:
        raise InputError(
            f"canvas {name} is {length}: with jitter {jitter} two lines between its {parts} parts "
            f"may lie {nearest} apart; expected at least {least} for overlap {overlap} and "
            f"multiple {multiple} (a higher value moves them less; 0.5 fixes them)"
        )


def _draw_spans(
    rng: np.random.Generator, length: int, parts: int, jitter: float, reach: int, multiple: int
) -> list[tuple[int, int]]:
    """One axis: the [start, end) of each part."""
    ratios = [rng.uniform(k - 1 + 2 * jitter, k + 1 - 2 * jitter) for k in range(1, parts)]
    lines = [int(length * ratio / parts) // multiple * multiple for ratio in ratios]
    starts = [0, *(line - reach for line in lines)]
    ends = [*(line + reach for line in lines), length]
    return list(zip(starts, ends, strict=True))


def gaussian_weights(length: int) -> FloatArray:
    """exp(-(i - (L - 1) / 2)^2 / (2 * 0.01 * L^2)) for i in 0 .. L - 1; float64[L], 1 at the
    centre."""
    offset = np.arange(length) - (length - 1) / 2
    weights: FloatArray = np.exp(-(offset**2) / (2 * GAUSSIAN_VARIANCE * length**2))
    return weights


def region_weights(region: Region) -> FloatArray:
    """Gaussian weights of a region, float64[h, w]: the outer product of its rows' and its
    columns'."""
    return gaussian_weights(region.height)[:, None] * gaussian_weights(region.width)


def blending_weights(layout: MosaicLayout) -> list[FloatArray]:
    """Per region float64[h, w]: its Gaussian weights over the sum of all regions' at the same
    place.

    So the weighted regions of a canvas add up; a region alone at a place has weight 1 there.
    """
    total = np.zeros((layout.height, layout.width))
    weights = [region_weights(region) for region in layout.regions]
    for region, weight in zip(layout.regions, weights, strict=True):
        total[region.slices] += weight
    return [
        weight / total[region.slices]
        for region, weight in zip(layout.regions, weights, strict=True)
    ]
