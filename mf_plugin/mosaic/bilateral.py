"""Fast bilateral solver: smooths a target inside the edges of a reference image.

Barron and Poole, "The Fast Bilateral Solver" (ECCV 2016). Pixels that are near in place and colour
share a vertex of a sparse grid in (y, x, luma, chroma u, chroma v); on it the solver minimises, for
target t with confidence c,

    lambda / 2 sum_ij W_ij (y_i - y_j)^2 + sum_i c_i (y_i - t_i)^2,

that is (lambda (D_m - D_n B D_n) + diag(splat c)) y = splat(c t): B blurs the grid, D_m and D_n
make it bistochastic. MosaicFusion (section 3.3) turns its coarse attention masks into masks with
edges this way.

Shapes: P = h * w pixels, V occupied vertices of the grid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mf_plugin.arrays import AnyFloats, FloatArray, IntArray, Mask, Pixels
from mf_plugin.errors import InputError
from mf_plugin.extras import require
from mf_plugin.fields import check_fields

# Full-range BT.601; the offset makes the chroma positive.
_RGB_TO_YUV = np.array(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]
)
_YUV_OFFSET = np.array([[0.0], [128.0], [128.0]])
_LEAST_SIGMA = 0.25  # the numbers of colour cells stay below 2^31
_DENSE = 32  # numbers per pixel up to which a table of all numbers is quicker than sorting
_SMALLEST_DIAGONAL = 1e-5
_TIE = 1e-9  # vertices without links that lie half in a mask are at 0.5, which is not above it

Numbers = npt.NDArray[np.signedinteger]  # 32 bits where these suffice
Pairs = tuple[Numbers, Numbers]  # vertices, and for each of them a neighbour


@dataclass(frozen=True)
class BilateralConfig:
    """Parameters of the solver; the defaults are MosaicFusion's, for regions of 384 x 512 pixels.

    sigma_spatial: side of a grid cell in pixels; smaller regions want it smaller in proportion.
    sigma_luma, sigma_chroma: side of a grid cell in colour values of 0 to 255.
    smoothness: lambda.
    confidence: c of every pixel of the target.
    bistochastic_iterations, solver_iterations, tolerance: of the numerics.
    """

    sigma_spatial: float = 16
    sigma_luma: float = 16
    sigma_chroma: float = 8
    smoothness: float = 256
    confidence: float = 0.999
    bistochastic_iterations: int = 10
    solver_iterations: int = 25
    tolerance: float = 1e-5

    def __post_init__(self) -> None:
        check_fields(self, "bilateral ")
        for name in ("sigma_spatial", "sigma_luma", "sigma_chroma", "confidence"):
            least = 0 if name == "confidence" else _LEAST_SIGMA
            if not getattr(self, name) > least:
                value = getattr(self, name)
                raise InputError(f"bilateral {name} is {value}; expected more than {least}")
        for name in ("smoothness", "tolerance", "bistochastic_iterations", "solver_iterations"):
            if getattr(self, name) < 0:
                raise InputError(f"bilateral {name} is {getattr(self, name)}; expected 0 or more")


@dataclass(frozen=True)
class BilateralGrid:
    """A reference image as a bilateral grid.

    vertices: int64[P], the vertex of each pixel.
    mass: int64[V], the pixels of each vertex.
    diagonal: float64[V], of D_m - D_n B D_n, the smoother.
    links: sparse float64[V, V], the rest of D_n B D_n; its rows add up to about the diagonal.
    """

    vertices: IntArray
    mass: IntArray
    diagonal: FloatArray
    links: Any

    @property
    def size(self) -> int:
        """V."""
        return len(self.mass)

    def splat(self, values: npt.ArrayLike) -> FloatArray:
        """Sums of pixels: float[P] or [h, w] -> float64[V]."""
        if np.size(values) != len(self.vertices):
            raise InputError(
                f"{np.size(values)} numbers for a grid of {len(self.vertices)} pixels; "
                f"expected one each"
            )
        sums = np.bincount(self.vertices, np.ravel(values), minlength=self.size)
        return sums.astype(np.float64, copy=False)


def build_grid(image: Pixels, config: BilateralConfig) -> BilateralGrid:
    """The bilateral grid of an image, uint8[h, w, 3] in RGB."""
    # 1. The cells that pixels fall into are the vertices; B is twice each vertex and once its
    # neighbours, in each of the dimensions.
    vertices, neighbours = _find_vertices(image, config)
    mass = np.bincount(vertices)
    links, rows = _link(neighbours, len(mass))
    centre = 2 * len(neighbours)

    # 2. D_n B D_n with rows that add up to D_m, the pixels of each vertex.
    scale = np.ones(len(mass))
    for _ in range(config.bistochastic_iterations):
        scale = np.sqrt(scale * mass / (centre * scale + links @ scale))
    diagonal = scale * (links @ scale)
    links.data *= scale[rows]
    links.data *= scale[links.indices]
    return BilateralGrid(vertices, mass, diagonal, links)


def solve_on_grid(
    grid: BilateralGrid,
    target: npt.ArrayLike,
    config: BilateralConfig,
    confidence: npt.ArrayLike | None = None,
) -> FloatArray:
    """Smooth a target on a grid.

    Args:
        grid: of the reference image.
        target: any numbers, [P] or [h, w].
        config: parameters.
        confidence: c of each pixel, 0 or more, [P] or [h, w]; None is the config's for all.

    Returns:
        float64[P]; 0 where neither a pixel nor anything linked to it has confidence.
    """
    weight: float | AnyFloats = config.confidence
    data: AnyFloats = config.confidence * grid.mass
    if confidence is not None:
        weight = np.ravel(confidence)
        data = grid.splat(weight)
    return _solve(grid, data, grid.splat(weight * np.ravel(target)), config)[grid.vertices]


def solve_bilateral(
    mask: Mask,
    image: Pixels,
    config: BilateralConfig,
    rounds: int = 1,
    grid: BilateralGrid | None = None,
) -> Mask:
    """Pull the edge of a mask to the edges of an image.

    Each round smooths the mask as 0 and 255, divides by the maximum and keeps what is above 0.5.

    Args:
        mask: bool[h, w].
        image: uint8[h, w, 3], RGB.
        config: parameters.
        rounds: how often (MosaicFusion: 2). 0 gives the mask back.
        grid: of the image and the config, where several masks share it.

    Returns:
        bool[h, w]; an empty mask stays empty.
    """
    if mask.shape != image.shape[:2]:
        raise InputError(
            f"mask of {mask.shape} for an image of {image.shape[:2]}; expected equal sizes"
        )
    if rounds == 0 or not mask.any():
        return mask.copy()
    grid = grid or build_grid(image, config)
    data = config.confidence * grid.mass
    count = np.bincount(grid.vertices[mask.ravel()], minlength=grid.size)
    for _ in range(rounds):
        smooth = _solve(grid, data, 255 * config.confidence * count, config)
        inside: Mask = smooth / smooth.max() > 0.5 + _TIE
        count = grid.mass * inside  # from here on the pixels of a vertex are all in or all out
    return inside[grid.vertices].reshape(mask.shape)


def _solve(
    grid: BilateralGrid, data: AnyFloats, right: AnyFloats, config: BilateralConfig
) -> FloatArray:
    """y of (lambda (D_m - D_n B D_n) + diag(data)) y = right, float64[V]: conjugate gradients with
    the Jacobi preconditioner, from the splatted mean, right / data."""
    links = config.smoothness * grid.links
    diagonal = config.smoothness * grid.diagonal + data
    preconditioner = 1 / np.maximum(diagonal, _SMALLEST_DIAGONAL)
    solution = np.divide(right, data, out=np.zeros(grid.size), where=data > 0)
    residual = right - diagonal * solution + links @ solution
    enough = config.tolerance * math.sqrt(_dot(right, right))
    direction, previous = np.zeros(grid.size), 1.0
    for _ in range(config.solver_iterations):
        if math.sqrt(_dot(residual, residual)) <= enough:
            break
        conditioned = preconditioner * residual
        product = _dot(residual, conditioned)
        direction *= product / previous
        direction += conditioned
        change = diagonal * direction
        change -= links @ direction
        step = product / _dot(direction, change)
        solution += np.multiply(direction, step, out=conditioned)
        residual -= np.multiply(change, step, out=conditioned)
        previous = product
    return solution


def _dot(a: AnyFloats, b: AnyFloats) -> float:
    """a . b, by numpy itself: the sum of a BLAS depends on its number of threads."""
    return float(np.einsum("i,i->", a, b))


class _Places:
    """The distinct ones of int[N] numbers from 0 to ``bound`` - 1, ascending, and where each is."""

    def __init__(self, numbers: Numbers, bound: int) -> None:
        self._table: npt.NDArray[np.int32] | None = None
        self.keys: Numbers
        if bound > _DENSE * len(numbers):
            self.keys = np.unique(numbers)
        else:
            self._table = np.full(bound, -1, dtype=np.int32)
            self._table[numbers] = 0
            self.keys = np.flatnonzero(self._table == 0)
            self._table[self.keys] = np.arange(len(self.keys))

    def find(self, numbers: Numbers) -> Numbers:
        """The place of each number; -1 of those that are not there."""
        if self._table is not None:
            return self._table[numbers]
        places = np.minimum(np.searchsorted(self.keys, numbers), len(self.keys) - 1)
        return np.where(self.keys[places] == numbers, places, -1)


def _find_vertices(image: Pixels, config: BilateralConfig) -> tuple[IntArray, list[Pairs]]:
    """The vertex of each pixel, int64[P], and the pairs of neighbours in each dimension.

    A free number at the end of each dimension keeps neighbours from wrapping.
    """
    # 1. Number the colours' cells, and find which follows which along luma, u and v.
    luma, u, v = colour_cells(image, config)
    strides = [(int(u.max()) + 2) * (int(v.max()) + 2), int(v.max()) + 2, 1]
    numbers = luma * strides[0] + u * strides[1] + v
    colours = _Places(numbers, int(numbers.max()) + strides[0] + 1)
    free = len(colours.keys)
    following = [colours.find(colours.keys + stride) for stride in strides]
    following = [np.where(place < 0, free, place) for place in following]

    # 2. Number the cells of places and colours.
    rows, columns = (
        (np.arange(length) / config.sigma_spatial).astype(np.int64) for length in image.shape[:2]
    )
    strides = [(int(columns[-1]) + 2) * (free + 1), free + 1]
    bound = (int(rows[-1]) + 2) * strides[0]
    dtype: np.dtype[np.signedinteger] = np.dtype(np.int32 if bound < 2**31 else np.int64)
    numbers = colours.find(numbers).astype(dtype, copy=False).reshape(image.shape[:2])
    numbers += (rows * strides[0]).astype(dtype)[:, None]
    numbers += (columns * strides[1]).astype(dtype)
    cells = _Places(numbers.ravel(), bound)

    # 3. Look one step along y, x, luma, u and v.
    colour = cells.keys % strides[1]
    steps = [cells.keys + stride for stride in strides]
    steps += [cells.keys - colour + place[colour] for place in following]
    places = [cells.find(step) for step in steps]
    neighbours = [(np.flatnonzero(place >= 0), place[place >= 0]) for place in places]

    # 4. Sort the vertices by their number of neighbours: sparse products are twice as fast where
    # rows of one length follow each other.
    counts = np.bincount(np.concatenate(sum(neighbours, ())), minlength=len(cells.keys))
    vertex = np.empty(len(counts), dtype=np.int64)
    vertex[np.argsort(counts.astype(np.uint8), kind="stable")] = np.arange(len(counts))
    neighbours = [(vertex[first], vertex[second]) for first, second in neighbours]
    return vertex[cells.find(numbers.ravel())], neighbours


def colour_cells(image: Pixels, config: BilateralConfig) -> npt.NDArray[np.int32]:
    """The cell of each pixel along luma, u and v, int32[3, P], the smallest one of each 0."""
    yuv = _RGB_TO_YUV @ image.reshape(-1, 3).T.astype(np.float64)
    yuv += _YUV_OFFSET
    yuv /= np.array([[config.sigma_luma], [config.sigma_chroma], [config.sigma_chroma]])
    cells = yuv.astype(np.int32)
    cells -= cells.min(axis=1, keepdims=True)
    return cells


def _link(neighbours: list[Pairs], size: int) -> tuple[Any, IntArray]:
    """Pairs of neighbours -> a symmetric sparse matrix with a 1 for each, and the row of each 1."""
    directions = neighbours + [(second, first) for first, second in neighbours]
    counts = np.bincount(np.concatenate([rows for rows, _ in directions]), minlength=size)
    starts = np.append(0, np.cumsum(counts)).astype(np.int32)
    free, columns = starts[:-1].copy(), np.empty(starts[-1], dtype=np.int32)
    for rows, others in directions:
        columns[free[rows]] = others
        free[rows] += 1
    sparse = require("scipy.sparse", "diffusion")
    links = sparse.csr_array((np.ones(len(columns)), columns, starts), shape=(size, size))
    return links, np.repeat(np.arange(size), counts)
