from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from mf_plugin.errors import InputError
from mf_plugin.mosaic.bilateral import (
    BilateralConfig,
    build_grid,
    solve_bilateral,
    solve_on_grid,
)

pytest.importorskip("scipy")


def reference(image, target, config):
    """The paper's equations word by word: dense, float64, solved directly."""
    height, width, _ = image.shape
    vertex_of, pixels = {}, []
    for y, x in product(range(height), range(width)):
        r, g, b = (float(v) for v in image[y, x])
        luma = 0.299 * r + 0.587 * g + 0.114 * b
        u = -0.168736 * r - 0.331264 * g + 0.5 * b + 128
        v = 0.5 * r - 0.418688 * g - 0.081312 * b + 128
        cell = (
            int(y / config.sigma_spatial),
            int(x / config.sigma_spatial),
            int(luma / config.sigma_luma),
            int(u / config.sigma_chroma),
            int(v / config.sigma_chroma),
        )
        pixels.append(vertex_of.setdefault(cell, len(vertex_of)))
    splat = np.zeros((len(vertex_of), len(pixels)))
    splat[pixels, np.arange(len(pixels))] = 1
    blur = np.zeros((len(vertex_of), len(vertex_of)))
    for cell, vertex in vertex_of.items():
        blur[vertex, vertex] = 10
        for axis, step in product(range(5), (-1, 1)):
            other = vertex_of.get(cell[:axis] + (cell[axis] + step,) + cell[axis + 1 :])
            if other is not None:
                blur[vertex, other] = 1
    mass, n = splat.sum(axis=1), np.ones(len(vertex_of))
    for _ in range(config.bistochastic_iterations):
        n = np.sqrt(n * mass / (blur @ n))
    d_n, d_m = np.diag(n), np.diag(n * (blur @ n))
    confidence = np.full(len(pixels), config.confidence)
    system = config.smoothness * (d_m - d_n @ blur @ d_n) + np.diag(splat @ confidence)
    solution = np.linalg.solve(system, splat @ (confidence * target.ravel()))
    return (splat.T @ solution).reshape(height, width)


def scene(size=24, seed=0):
    """A reddish disc on a noisy blue-green ramp, and a guess that is off: image, disc, guess."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    disc = (y - 0.5) ** 2 + (x - 0.5) ** 2 < 0.3**2
    image = np.where(
        disc[..., None], (200, 60, 40), np.stack([40 * x, 90 + 60 * y, 140 + 0 * x], -1)
    )
    image = np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)
    guess = (y - 0.42) ** 2 + (x - 0.55) ** 2 < 0.27**2
    return image, disc, guess


SMALL = BilateralConfig(sigma_spatial=4, solver_iterations=1000, tolerance=1e-12)


@pytest.mark.parametrize("smoothness", [1, 256])
def test_equals_a_dense_direct_solve(smoothness):
    image, _, guess = scene()
    config = BilateralConfig(
        sigma_spatial=4, smoothness=smoothness, solver_iterations=1000, tolerance=1e-12
    )
    solved = solve_on_grid(build_grid(image, config), guess * 255.0, config)
    expected = reference(image, guess * 255.0, config)
    assert np.abs(solved.reshape(expected.shape) - expected).max() < 1e-6


def test_default_iterations_give_the_same_mask():
    image, _, guess = scene(48)
    quick = solve_bilateral(guess, image, BilateralConfig(sigma_spatial=4))
    smooth = reference(image, guess * 255.0, BilateralConfig(sigma_spatial=4))
    exact = smooth / smooth.max() > 0.5
    assert (quick & exact).sum() / (quick | exact).sum() > 0.99


def test_edges_of_the_image_win():
    image, disc, guess = scene(48)

    def iou(mask):
        return (mask & disc).sum() / (mask | disc).sum()

    refined = solve_bilateral(guess, image, BilateralConfig(sigma_spatial=4), rounds=2)
    assert iou(refined) > max(iou(guess), 0.9)


def test_grid_neighbours_do_not_wrap():
    # Two cells in a row, far apart in colour: no neighbours, so nothing flows between them.
    image = np.array([[[0, 0, 0], [255, 255, 255]]], dtype=np.uint8)
    grid = build_grid(image, BilateralConfig(sigma_spatial=1))
    assert grid.size == 2
    assert grid.smoother.toarray() == pytest.approx(np.zeros((2, 2)), abs=1e-12)
    # Of one colour they are: what leaves one arrives at the other.
    grid = build_grid(np.zeros((1, 2, 3), dtype=np.uint8), BilateralConfig(sigma_spatial=1))
    rows = grid.smoother.toarray()
    assert rows[0, 1] == rows[1, 0] < 0
    assert rows.sum(axis=1) == pytest.approx([0, 0], abs=1e-12)


@pytest.mark.parametrize("rounds", [0, 1, 2])
@pytest.mark.parametrize("value", [False, True])
def test_constant_masks_stay(rounds, value):
    image = scene()[0]
    mask = np.full(image.shape[:2], value)
    assert (solve_bilateral(mask, image, SMALL, rounds) == value).all()


def test_bad_input_is_named():
    with pytest.raises(InputError, match=r"mask of \(2, 2\) for an image of \(24, 24\)"):
        solve_bilateral(np.ones((2, 2), bool), scene()[0], SMALL)
    with pytest.raises(InputError, match="sigma_luma is 0; expected more than 0"):
        BilateralConfig(sigma_luma=0)
