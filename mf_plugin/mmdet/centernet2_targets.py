"""What CenterNet2's first stage learns at each cell of the feature pyramid.

The first stage CenterNet* of probabilistic two-stage detection (arXiv 2103.07461, Sec. 5): a
class-agnostic heatmap with a Gaussian peak at the centre of every object, and the distances from
cells near the centre to the four sides of the box. Unlike the one-stage CenterNet* it adds no
positive cells by the quality of their boxes.

Shapes: L levels; P cells of all levels, one level after the other, row by row; K objects of an
image. Everything is in pixels of the network's input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

NEGLIGIBLE = 1e-4  # of a heatmap: below this a cell is plain background


@dataclass(frozen=True)
class Grid:
    """The cells of a feature pyramid.

    Attributes:
        points: float[P, 2], x and y of the cells' centres.
        strides: float[P].
        ranges: float[P, 2], the sizes of the objects that the cell's level is there for.
        sizes: rows and columns of each level.
    """

    points: Tensor
    strides: Tensor
    ranges: Tensor
    sizes: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Targets:
    """What the cells of one image learn.

    Attributes:
        heatmap: float[P] in [0, 1]; 1 at the cell that holds the centre of an object.
        peaks: int64[M], the cells that are positive: for each object, the one with its centre on
            each level that is there for its size.
        cells: int64[R], the cells that learn a box.
        objects: int64[R], the object of each of them.
    """

    heatmap: Tensor
    peaks: Tensor
    cells: Tensor
    objects: Tensor


def make_grid(
    sizes: Sequence[tuple[int, int]],
    strides: Sequence[int],
    ranges: Sequence[tuple[float, float]],
    device: torch.device | str = "cpu",
) -> Grid:
    """The cells of levels with these rows and columns.

    Args:
        sizes: L times rows, columns.
        strides: L, pixels a cell.
        ranges: L times lower and upper bound of an object's size, half the diagonal of its box.
        device: of the tensors.
    """
    points, cell_strides, cell_ranges = [], [], []
    for (rows, columns), stride, bounds in zip(sizes, strides, ranges, strict=True):
        y = (torch.arange(rows, device=device, dtype=torch.float32) + 0.5) * stride
        x = (torch.arange(columns, device=device, dtype=torch.float32) + 0.5) * stride
        y, x = torch.meshgrid(y, x, indexing="ij")
        points.append(torch.stack((x, y), dim=-1).reshape(-1, 2))
        cell_strides.append(torch.full((rows * columns,), float(stride), device=device))
        bounds = torch.tensor([float(b) for b in bounds], device=device)
        cell_ranges.append(bounds.expand(rows * columns, 2))
    return Grid(
        torch.cat(points),
        torch.cat(cell_strides),
        torch.cat(cell_ranges),
        tuple((int(rows), int(columns)) for rows, columns in sizes),
    )


def assign_targets(grid: Grid, boxes: Tensor, min_overlap: float, min_radius: float) -> Targets:
    """The targets of one image.

    Args:
        grid: the P cells.
        boxes: float[K, 4], x1, y1, x2, y2.
        min_overlap: IoU that sets the radius of an object's Gaussian, see below.
        min_radius: lower bound of that radius, pixels.
    """
    device = grid.points.device
    if len(boxes) == 0:
        none = torch.zeros(0, dtype=torch.int64, device=device)
        return Targets(torch.zeros(len(grid.points), device=device), none, none, none)
    boxes = boxes.to(grid.points.dtype)
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2  # K, 2
    width, height = (boxes[:, 2:] - boxes[:, :2]).unbind(1)

    # 1. The cell of each level that holds the centre of each object.
    cell = torch.floor(centers[None] / grid.strides[:, None, None])
    cell_center = (cell + 0.5) * grid.strides[:, None, None]  # P, K, 2
    offset = (grid.points[:, None] - cell_center).abs()
    is_center = offset.amax(-1) < 0.5 * grid.strides[:, None]  # P, K

    # 2. The heatmap: exp(-d^2 / r^2), d from the centre, 0 in the cell that holds it. A box that
    #    moves along an axis by delta of its side keeps the IoU (1 - delta) / (1 + delta), which is
    #    to be min_overlap; r is delta of the diagonal of a square of the same area.
    delta = (1 - min_overlap) / (1 + min_overlap)
    squared_radius = (delta**2 * 2 * width * height).clamp(min=min_radius**2)
    squared_distance = (grid.points[:, None] - centers[None]).square().sum(-1)
    distance = squared_distance.masked_fill(is_center, 0.0) / squared_radius  # P, K
    heatmap = torch.exp(-distance.amin(1))
    heatmap = heatmap.masked_fill(heatmap < NEGLIGIBLE, 0.0)

    # 3. Each object belongs to the levels whose range its size falls in; there the cell with its
    #    centre is positive.
    size = torch.hypot(width, height) / 2
    on_level = (size >= grid.ranges[:, :1]) & (size <= grid.ranges[:, 1:])  # P, K
    peaks = (is_center & on_level).any(1).nonzero().squeeze(1)

    # 4. The 3 x 3 cells around it learn the box, where they lie inside it; of several objects the
    #    nearest counts.
    is_near = offset.amax(-1) < 1.5 * grid.strides[:, None]
    sides = torch.cat(
        (grid.points[:, None] - boxes[None, :, :2], boxes[None, :, 2:] - grid.points[:, None]), -1
    )
    learns = is_near & on_level & (sides.amin(-1) > 0)
    nearest, objects = distance.masked_fill(~learns, torch.inf).min(1)
    cells = torch.isfinite(nearest).nonzero().squeeze(1)
    return Targets(heatmap, peaks, cells, objects[cells])
