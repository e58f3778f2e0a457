from __future__ import annotations

import cv2
import numpy as np
import pytest
from pycocotools import mask as mask_utils

from mf_plugin.errors import InputError
from mf_plugin.lvis.polygons import SMALL_HOLE, mask_to_polygons


def parse(*rows: str) -> np.ndarray:
    return np.array([[c == "#" for c in row] for row in rows])


def decode(polygons, shape) -> np.ndarray:
    return mask_utils.decode(mask_utils.merge(mask_utils.frPyObjects(polygons, *shape))) > 0


def as_sets(polygons):
    return [set(zip(p[::2], p[1::2])) for p in polygons]


@pytest.mark.parametrize(
    "rows, corners",
    [
        (("#",), [{(0, 0), (1, 0), (1, 1), (0, 1)}]),
        (("....", ".##.", ".##.", "...."), [{(1, 1), (3, 1), (3, 3), (1, 3)}]),
        (("#.", "##"), [{(0, 0), (1, 0), (1, 1), (2, 1), (2, 2), (0, 2)}]),
        (
            ("#.", ".#"),
            [{(0, 0), (1, 0), (1, 1), (0, 1)}, {(1, 1), (2, 1), (2, 2), (1, 2)}],
        ),
    ],
)
def test_polygons_run_along_pixel_edges(rows, corners):
    mask = parse(*rows)

    polygons = mask_to_polygons(mask)

    assert as_sets(polygons) == corners
    assert np.array_equal(decode(polygons, mask.shape), mask)


def test_an_empty_mask_has_no_polygon():
    assert mask_to_polygons(np.zeros((4, 5), bool)) == []


def test_a_ring_keeps_its_hole():
    y, x = np.mgrid[:64, :64]
    distance = np.hypot(y - 31, x - 33)
    mask = (distance < 28) & (distance > 12)

    polygons = mask_to_polygons(mask)

    assert len(polygons) == 2
    assert np.array_equal(decode(polygons, mask.shape), mask)


def test_small_holes_are_filled_and_larger_ones_kept():
    mask = np.ones((9, 12), bool)
    mask[2, 2 : 2 + SMALL_HOLE] = False
    larger = (slice(5, 7), slice(8, 10))
    mask[larger] = False

    decoded = decode(mask_to_polygons(mask), mask.shape)

    expected = np.ones_like(mask)
    expected[larger] = False
    assert np.array_equal(decoded, expected)


@pytest.mark.parametrize("seed", range(8))
def test_any_mask_comes_back(seed):
    rng = np.random.default_rng(seed)
    noise = rng.random((48, 37), dtype=np.float32)
    mask = cv2.GaussianBlur(noise, (0, 0), float(rng.uniform(0.5, 2.0))) > 0.5

    decoded = decode(mask_to_polygons(mask), mask.shape)

    holes = decoded & ~mask
    assert not np.any(mask & ~decoded)
    _, _, stats, _ = cv2.connectedComponentsWithStats(holes.astype(np.uint8), connectivity=4)
    assert all(stats[1:, cv2.CC_STAT_AREA] <= SMALL_HOLE)


def test_every_polygon_has_at_least_three_points():
    mask = np.random.default_rng(3).random((30, 30)) > 0.6
    assert all(len(p) >= 6 and len(p) % 2 == 0 for p in mask_to_polygons(mask))


def test_a_mask_of_numbers_is_refused():
    with pytest.raises(InputError, match=r"mask is uint8\[4, 4\]: expected bool\[H, W\]"):
        mask_to_polygons(np.ones((4, 4), np.uint8))
