from __future__ import annotations

from dataclasses import replace
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

    config = BilateralConfig(sigma_spatial=4)
    refined = solve_bilateral(guess, image, config, rounds=2)
    assert iou(refined) > max(iou(guess), 0.9)
    shared = solve_bilateral(guess, image, config, rounds=2, grid=build_grid(image, config))
    assert np.array_equal(shared, refined)


def links(image, **sigmas):
    """What joins each two vertices, dense, and the diagonal."""
    grid = build_grid(np.array(image, dtype=np.uint8), BilateralConfig(**sigmas))
    return grid.links.toarray(), grid.diagonal


def test_links_of_a_pair():
    # Two cells in a row, far apart in colour: no neighbours, so nothing flows between them.
    joined, diagonal = links([[[0, 0, 0], [255, 255, 255]]], sigma_spatial=1)
    assert joined.tolist() == [[0, 0], [0, 0]] and diagonal.tolist() == [0, 0]
    # Of one colour they are: n = sqrt(n / 11 n) at once, and n B n = 1 / 11 beside the diagonal.
    joined, diagonal = links([[[0, 0, 0], [0, 0, 0]]], sigma_spatial=1)
    assert joined == pytest.approx(np.array([[0, 1], [1, 0]]) / 11)
    assert diagonal == pytest.approx([1 / 11, 1 / 11])


@pytest.mark.parametrize("sigma_luma", [16, 1])  # 1: more cells than are listed in a table
def test_grid_neighbours_do_not_wrap(sigma_luma):
    # The last column is black, the first one of the next row too: three cells apart, one number.
    white, black = [255] * 3, [0] * 3
    joined, _ = links([[white, black], [black, white]], sigma_spatial=1, sigma_luma=sigma_luma)
    assert not joined.any()
    # Steps of 16 in luma are neighbours at 16 alone.
    joined, _ = links([[[8] * 3, [24] * 3, [40] * 3]], sigma_spatial=9, sigma_luma=sigma_luma)
    assert (joined > 0).sum() == (4 if sigma_luma == 16 else 0)


def test_greys_differ_in_luma_alone():
    # u and v of every grey are 128, the edge of a cell of 8, in floating point too.
    greys = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    grid = build_grid(greys, BilateralConfig(sigma_spatial=256))
    assert grid.size == 16 and grid.mass.sum() == 256
    assert (np.abs(grid.mass - 16) <= 1).all()


def test_confidence_of_each_pixel():
    # Two vertices without neighbours: the mean of the target by confidence, 0 where there is none.
    image = np.array([[[0] * 3, [0] * 3, [255] * 3, [255] * 3]], dtype=np.uint8)
    grid = build_grid(image, SMALL)
    solved = solve_on_grid(grid, [1.0, 5.0, 7.0, 9.0], SMALL, confidence=[[3, 1, 0, 0]])
    assert solved == pytest.approx([2, 2, 0, 0])
    # A factor on all confidences is one on lambda.
    image, _, guess = scene()
    grid, sure = build_grid(image, SMALL), np.full(guess.shape, 0.999)
    plain = solve_on_grid(grid, guess, SMALL)
    assert solve_on_grid(grid, guess, SMALL, sure) == pytest.approx(plain, abs=1e-9)
    weaker = replace(SMALL, smoothness=2 * SMALL.smoothness)
    assert solve_on_grid(grid, guess, SMALL, sure / 2) == pytest.approx(
        solve_on_grid(grid, guess, weaker), abs=1e-9
    )
    # Pixels that say nothing follow their neighbours.
    grid = build_grid(np.zeros_like(image), SMALL)
    target = np.where(np.arange(24) < 12, 3.0, 0.0) * np.ones((24, 1))
    assert solve_on_grid(grid, target, SMALL, target > 0) == pytest.approx(np.full(24 * 24, 3))


def test_half_is_not_above_half():
    # Four colours far apart, so that nothing is linked: each keeps the share that is in the mask.
    image = np.repeat(np.array([[0, 80, 160, 240]], dtype=np.uint8), [1, 2, 2, 3], axis=1)
    image = np.repeat(image[..., None], 3, axis=2)
    mask = np.array([[1, 1, 0, 0, 1, 1, 1, 0]], dtype=bool)
    solved = solve_bilateral(mask, image, BilateralConfig(), rounds=2)
    assert solved.astype(int).tolist() == [[1, 0, 0, 0, 0, 1, 1, 1]]


@pytest.mark.parametrize("rounds", [0, 1, 2])
@pytest.mark.parametrize("value", [False, True])
def test_constant_masks_stay(rounds, value):
    image = scene()[0]
    mask = np.full(image.shape[:2], value)
    assert (solve_bilateral(mask, image, SMALL, rounds) == value).all()


def test_bad_input_is_named():
    with pytest.raises(InputError, match=r"mask of \(2, 2\) for an image of \(24, 24\)"):
        solve_bilateral(np.ones((2, 2), bool), scene()[0], SMALL)
    with pytest.raises(InputError, match="576 pixels; expected one each"):
        solve_on_grid(build_grid(scene()[0], SMALL), np.ones(3), SMALL)
    with pytest.raises(InputError, match="sigma_luma is 0; expected more than 0.25"):
        BilateralConfig(sigma_luma=0)
    with pytest.raises(InputError, match="confidence is 0; expected more than 0"):
        BilateralConfig(confidence=0)
