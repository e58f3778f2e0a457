"""Targets of the first stage on grids small enough to do by hand."""

from __future__ import annotations

import math

import pytest
import torch

from mf_plugin.mmdet.centernet2_targets import assign_targets, make_grid

BOTH = [(0, 1e8)]


def assign(boxes, sizes=((4, 4),), strides=(8,), ranges=BOTH, min_overlap=0.8, min_radius=4.0):
    grid = make_grid(sizes, strides, ranges)
    return assign_targets(grid, torch.tensor(boxes).reshape(-1, 4), min_overlap, min_radius)


def test_cells_are_numbered_by_rows_and_levels():
    grid = make_grid([(2, 3), (1, 2)], [8, 16], [(0, 20), (10, 99)])
    assert grid.points[:6].tolist() == [[4, 4], [12, 4], [20, 4], [4, 12], [12, 12], [20, 12]]
    assert grid.points[6:].tolist() == [[8, 8], [24, 8]]
    assert grid.strides.tolist() == [8] * 6 + [16] * 2
    assert grid.ranges[5].tolist() == [0, 20] and grid.ranges[6].tolist() == [10, 99]


def test_heatmap_by_hand():
    # Centre (16, 16) lies in cell 10, centre (20, 20). Both sides 16: delta = 0.2 / 1.8, radius^2
    # = delta^2 x 2 x 256 = 6.3, less than min_radius^2 = 16.
    heatmap = assign([8.0, 8, 24, 24]).heatmap.reshape(4, 4)
    assert heatmap[2, 2] == 1
    near = math.exp(-((16 - 12) ** 2 + (16 - 12) ** 2) / 16)
    assert heatmap[1, 1].item() == pytest.approx(near)
    assert heatmap[1, 2].item() == pytest.approx(near)
    assert heatmap[0, 1] == 0, "exp(-(144 + 16) / 16) is negligible"


def test_large_objects_have_wide_peaks():
    # Centre (36, 36) is that of cell (4, 4); radius^2 = (1 / 9)^2 x 2 x 72^2 = 128
    heatmap = assign([0.0, 0, 72, 72], sizes=((9, 9),)).heatmap.reshape(9, 9)
    assert heatmap[4, 4] == 1
    assert heatmap[4, 5].item() == pytest.approx(math.exp(-64 / 128))
    assert heatmap[6, 4].item() == pytest.approx(math.exp(-256 / 128))


def test_boxes_are_learnt_in_3_x_3_cells_inside_them():
    targets = assign([8.0, 8, 24, 24])
    assert targets.peaks.tolist() == [10]
    assert targets.cells.tolist() == [5, 6, 9, 10], "columns and rows 1 and 2 lie inside"
    wide = assign([2.0, 2, 38, 38], sizes=((5, 5),))
    assert wide.cells.tolist() == [6, 7, 8, 11, 12, 13, 16, 17, 18]


def test_the_size_chooses_the_levels():
    sizes, strides, ranges = [(8, 8), (4, 4)], [8, 16], [(0, 20), (15, 40)]
    half_diagonal = {12.0: [0], 25.0: [0, 1], 50.0: [1]}  # 8.5, 17.7, 35.4
    for side, levels in half_diagonal.items():
        box = [32 - side / 2, 32 - side / 2, 32 + side / 2, 32 + side / 2]
        targets = assign(box, sizes, strides, ranges)
        expected = {0: 4 * 8 + 4, 1: 64 + 2 * 4 + 2}
        assert targets.peaks.tolist() == [expected[level] for level in levels]
        assert {int(c >= 64) for c in targets.cells} == set(levels)
        assert targets.heatmap[36] == 1 and targets.heatmap[74] == 1, "peaks stand on all levels"


def test_of_two_objects_the_nearest_counts():
    # Centres (20, 20) and (28, 20): cells 10 and 11 are their own, relative to their radius.
    targets = assign([[4.0, 4, 36, 36], [16.0, 8, 40, 32]], sizes=((4, 6),))
    owner = dict(zip(targets.cells.tolist(), targets.objects.tolist()))
    row = 2 * 6
    assert owner[row + 2] == 0 and owner[row + 3] == 1
    assert owner[row + 1] == 0 and owner[row + 4] == 1


def test_an_image_without_objects_is_background():
    targets = assign([])
    assert targets.heatmap.tolist() == [0] * 16
    assert len(targets.peaks) == len(targets.cells) == len(targets.objects) == 0


def test_thin_objects_have_a_peak_and_no_box():
    targets = assign([1.0, 1, 3, 31], ranges=[(0, 99)])  # no cell's centre lies inside
    assert targets.peaks.tolist() == [8] and len(targets.cells) == 0
