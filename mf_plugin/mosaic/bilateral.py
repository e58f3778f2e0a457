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

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mf_plugin.errors import InputError
from mf_plugin.extras import require

# Full-range BT.601, without the offset of 128 that makes the chroma positive.
_RGB_TO_YUV = np.array(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]
)
_SMALLEST_DIAGONAL = 1e-5

FloatArray = npt.NDArray[np.float64]


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
        for name in ("sigma_spatial", "sigma_luma", "sigma_chroma", "confidence"):
            if not getattr(self, name) > 0:
                raise InputError(f"bilateral {name} is {getattr(self, name)}; expected more than 0")


@dataclass(frozen=True)
class BilateralGrid:
    """A reference image as a bilateral grid.

    vertices: int64[P], the vertex of each pixel.
    smoother: sparse float64[V, V], D_m - D_n B D_n; its rows add up to about 0.
    """

    vertices: npt.NDArray[np.int64]
    smoother: Any

    @property
    def size(self) -> int:
        """V."""
        return self.smoother.shape[0]

    def splat(self, values: npt.ArrayLike) -> FloatArray:
        """Sums of pixels: float[P] -> float64[V]."""
        return np.bincount(self.vertices, np.ravel(values), minlength=self.size)


def build_grid(image: npt.NDArray[np.uint8], config: BilateralConfig) -> BilateralGrid:
    """The bilateral grid of an image, uint8[h, w, 3] in RGB."""
    sparse = require("scipy.sparse", "diffusion")
    # 1. The grid cell of each pixel, numbered so that a step along a dimension adds a fixed stride.
    height, width = image.shape[:2]
    yuv = image.reshape(-1, 3).astype(np.float64) @ _RGB_TO_YUV.T + (0, 128, 128)
    rows, columns = np.divmod(np.arange(height * width), width)
    cells = np.column_stack(
        [
            rows // config.sigma_spatial,
            columns // config.sigma_spatial,
            yuv[:, 0] // config.sigma_luma,
            yuv[:, 1:] // config.sigma_chroma,
        ]
    ).astype(np.int64)
    extents = (
        cells.max(axis=0) + 2
    )  # a free cell at the end of each dimension keeps neighbours from wrapping
    strides = np.append(np.cumprod(extents[:0:-1])[::-1], 1)
    keys, vertices = np.unique(cells @ strides, return_inverse=True)

    # 2. B: twice each vertex and once its neighbours, in each of the dimensions.
    size = len(keys)
    blur = sparse.diags_array(np.full(size, 2.0 * len(strides)), format="csr")
    for stride in strides:
        places = np.searchsorted(keys, keys + stride)
        found = np.flatnonzero(keys[np.minimum(places, size - 1)] == keys + stride)
        step = sparse.csr_array((np.ones(len(found)), (found, places[found])), shape=(size, size))
        blur = blur + step + step.T

    # 3. D_n B D_n with rows that add up to D_m, the pixels of each vertex.
    mass = np.bincount(vertices, minlength=size).astype(np.float64)
    scale = np.ones(size)
    for _ in range(config.bistochastic_iterations):
        scale = np.sqrt(scale * mass / (blur @ scale))
    mass = scale * (blur @ scale)
    scaling = sparse.diags_array(scale)
    smoother = sparse.diags_array(mass) - scaling @ blur @ scaling
    return BilateralGrid(vertices.reshape(-1), smoother.tocsr())


def solve_on_grid(
    grid: BilateralGrid, target: npt.ArrayLike, config: BilateralConfig
) -> FloatArray:
    """Smooth a target, any numbers [P] or [h, w], on a grid; returns float64[P]."""
    sparse, linalg = (require(f"scipy.{name}", "diffusion") for name in ("sparse", "sparse.linalg"))
    pixels = np.ravel(target).astype(np.float64)
    data = grid.splat(np.full(len(pixels), config.confidence))
    right = grid.splat(config.confidence * pixels)
    system = config.smoothness * grid.smoother + sparse.diags_array(data)
    solution, _ = linalg.cg(
        system,
        right,
        x0=right / data,
        rtol=config.tolerance,
        atol=0.0,
        maxiter=config.solver_iterations,
        M=sparse.diags_array(1 / np.maximum(system.diagonal(), _SMALLEST_DIAGONAL)),
    )
    return solution[grid.vertices]


def solve_bilateral(
    mask: npt.NDArray[np.bool_],
    image: npt.NDArray[np.uint8],
    config: BilateralConfig,
    rounds: int = 1,
) -> npt.NDArray[np.bool_]:
    """Pull the edge of a mask to the edges of an image.

    Each round smooths the mask as 0 and 255, divides by the maximum and keeps what is above 0.5.

    Args:
        mask: bool[h, w].
        image: uint8[h, w, 3], RGB.
        config: parameters.
        rounds: how often (MosaicFusion: 2). 0 gives the mask back.

    Returns:
        bool[h, w]; an empty mask stays empty.
    """
    if mask.shape != image.shape[:2]:
        raise InputError(
            f"mask of {mask.shape} for an image of {image.shape[:2]}; expected equal sizes"
        )
    if rounds == 0 or not mask.any():
        return mask.copy()
    grid = build_grid(image, config)
    for _ in range(rounds):
        smooth = solve_on_grid(grid, mask * 255.0, config)
        mask = (smooth / smooth.max() > 0.5).reshape(mask.shape)
    return mask
