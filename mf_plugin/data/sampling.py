"""Repeat-factor sampling: how often each image is seen in an epoch, real and synthetic together.

r(I) of the LVIS paper is lvis/repeat_factor.py's; which images count is decided here. Shapes:
N images, M draws of an epoch. Both adapters take their numbers and their draws from here, so that
MMDetection and Detectron2 see the same images in the same order.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np

from mf_plugin.arrays import FloatArray, IntArray, Mask
from mf_plugin.data.image_categories import ImageCategories, as_image_categories
from mf_plugin.data.replacement import Replacement, as_numbers
from mf_plugin.errors import InputError
from mf_plugin.lvis.repeat_factor import image_repeat_factors

POLICIES = ("joint", "real", "ratio", "replace", "synthetic")


def repeat_factors(
    categories_per_image: ImageCategories | Sequence[Sequence[int]],
    threshold: float,
    policy: str = "joint",
    synthetic: Mask | Sequence[bool] | None = None,
    ratio: float | Sequence[float] | None = None,
    folders: IntArray | None = None,
) -> FloatArray:
    """r(I), the expected number of times that each image is seen in an epoch.

    Policies:
        ``joint``: f(c) over the union of real and synthetic images, the published recipe.
        ``real``: f(c) from the real images alone; real images are seen exactly as often as
            without synthetic data, a synthetic image once.
        ``ratio``: as ``real``, then the synthetic factors are scaled by one constant so that
            their expected share of an epoch is ``ratio``; with several ratios, each folder's are
            scaled to its own.
        ``replace``: the real images' factors, as in ``real``; a synthetic image is not drawn, but
            takes the place of a real one (`replacement`).
        ``synthetic``: f(c) from the synthetic images alone; a real image is not drawn.

    Args:
        categories_per_image: a table, or N lists of category ids; an image without any category
            has factor 1.
        threshold: t; categories with f(c) >= t are not repeated.
        policy: one of ``joint``, ``real``, ``ratio``, ``replace``, ``synthetic``.
        synthetic: bool[N], which images are synthetic; none where absent.
        ratio: share of the synthetic images for the policy ``ratio``, between 0 and 1; or one a
            folder, whose sum is below 1.
        folders: int64[N], the number of each synthetic image's folder, for several ratios.

    Returns:
        float64[N]; at least 1, except the synthetic images' under ``ratio`` and ``replace`` and
        the real images' under ``synthetic``.

    Raises:
        InputError: an argument is out of range, or the policy lacks what it needs.
    """
    table = as_image_categories(categories_per_image)
    synthetic = _as_flags(synthetic, len(table))
    _check_arguments(threshold, policy, synthetic, ratio)

    # 1. Under `real`, `ratio` and `replace` only real images are counted.
    counted = synthetic if policy == "synthetic" else ~synthetic
    if policy == "joint":
        counted = np.ones(len(table), dtype=bool)
    image_index, category = table.image_index, table.category
    if policy != "joint":
        rows = counted[image_index]
        image_index, category = image_index[rows], category[rows]

    # 2. r(I) of the images that count; 1 for the others.
    factors = image_repeat_factors(image_index, category, len(table), threshold, int(counted.sum()))

    # 3. `ratio`: with S the sum of the real factors and n_k images in synthetic folder k of one
    #    factor x_k,  n_k x_k / (S + sum_j n_j x_j) = ratio_k
    #    <=>  x_k = ratio_k S / ((1 - sum_j ratio_j) n_k).
    if policy == "ratio" and ratio is not None:
        real_sum = factors[~synthetic].sum()
        ratios, members = _shares(ratio, synthetic, folders)
        for share, these in zip(ratios, members, strict=True):
            factors[these] = share * real_sum / ((1.0 - sum(ratios)) * these.sum())

    # 4. What is not drawn.
    if policy == "replace":
        factors[synthetic] = 0.0
    if policy == "synthetic":
        factors[~synthetic] = 0.0
    return factors


def epoch_indices(factors: FloatArray, rng: np.random.Generator, shuffle: bool = True) -> IntArray:
    """The images of one epoch: image i is drawn floor(r(i)) times, and once more with the
    probability of the fraction.

    Stochastic rounding as in detectron2's RepeatFactorTrainingSampler; mmdet's
    ClassBalancedDataset rounds up once and for all. Call it once per epoch with a generator that
    goes on, so that the fractions average out.

    Args:
        factors: float[N], non-negative.
        rng: the source of the rounding and of the order.
        shuffle: whether to shuffle; ascending where not.

    Returns:
        int64[M] indices into the N images; M is sum(factors) on average.

    Raises:
        InputError: the factors are not one finite, non-negative number an image.
    """
    factors = np.asarray(factors, dtype=np.float64)
    if factors.ndim != 1 or not np.isfinite(factors).all() or (factors < 0).any():
        raise InputError(
            f"expected one finite, non-negative factor an image, got shape {factors.shape}"
            + (f" with minimum {factors.min()}" if factors.size else "")
        )
    whole = np.floor(factors)
    repeats = whole.astype(np.int64) + (rng.random(len(factors)) < factors - whole)
    indices = np.repeat(np.arange(len(factors), dtype=np.int64), repeats)
    if shuffle:
        rng.shuffle(indices)
    return indices


def endless_draws(
    factors: FloatArray,
    seed: int,
    rank: int = 0,
    world_size: int = 1,
    start: int = 0,
    replacement: Replacement | None = None,
) -> Iterator[int]:
    """The images that one process draws, epoch after epoch, without end.

    Epoch e is drawn by a generator seeded with (seed, e). The epochs follow one another in one
    stream, and rank k of W takes its positions k, k + W, ...: together the ranks draw what one
    process would, and a resumed run goes on where it was.

    Args:
        factors: float[N], the expected draws of each image in an epoch.
        seed: 0 or more, the same on all ranks.
        rank: of this process, from 0.
        world_size: number of processes.
        start: draws of this rank that are passed over.
        replacement: which draws are replaced by synthetic images, by the generator of the epoch.

    Raises:
        InputError: at the call: an argument is out of range, or no image is ever drawn.
    """
    factors = np.asarray(factors, dtype=np.float64)
    if not factors.any():
        raise InputError(f"no image is ever drawn: the factors of all {len(factors)} images are 0")
    if seed < 0:
        raise InputError(f"seed {seed} of the draws: expected 0 or more")
    if not 0 <= rank < world_size:
        raise InputError(f"rank {rank}: expected 0 to {world_size - 1}")
    if start < 0:
        raise InputError(f"start {start}: expected 0 or more draws to pass over")
    return _endless_draws(factors, seed, start * world_size + rank, world_size, replacement)


def _endless_draws(
    factors: FloatArray, seed: int, position: int, step: int, replacement: Replacement | None
) -> Iterator[int]:
    for epoch in itertools.count():
        rng = np.random.default_rng((seed, epoch))
        indices = epoch_indices(factors, rng)
        if replacement is not None:
            indices = replacement.replace(indices, rng)
        mine = indices[position::step]
        yield from mine.tolist()
        position += len(mine) * step - len(indices)


def _check_arguments(
    threshold: float,
    policy: str,
    synthetic: Mask,
    ratio: float | Sequence[float] | None,
) -> None:
    if policy not in POLICIES:
        raise InputError(f"unknown policy {policy!r}: expected one of {', '.join(POLICIES)}")
    if not (math.isfinite(threshold) and threshold >= 0):
        raise InputError(f"expected a repeat threshold >= 0, got {threshold!r}")
    if policy in ("ratio", "replace"):
        if ratio is None:
            what = "a ratio between 0 and 1" if policy == "ratio" else "a probability"
            raise InputError(f"policy {policy!r} expects {what}, got None")
    elif ratio is not None:
        raise InputError(
            f"ratio {ratio!r} has no effect under policy {policy!r}: use 'ratio' or 'replace'"
        )
    if policy == "synthetic" and not synthetic.any():
        raise InputError("policy 'synthetic' expects synthetic images, there are none")
    if policy in ("ratio", "replace") and (not synthetic.any() or synthetic.all()):
        raise InputError(
            f"policy {policy!r} expects real and synthetic images, got {int((~synthetic).sum())} "
            f"real and {int(synthetic.sum())} synthetic"
        )


def _shares(
    ratio: float | Sequence[float], synthetic: Mask, folders: IntArray | None
) -> tuple[tuple[float, ...], list[Mask]]:
    """The ratios, and bool[N] of the images that each is for."""
    ratios = as_numbers(ratio)
    for share in ratios:
        if not isinstance(share, (int, float)) or not 0 < share < 1:
            raise InputError(f"policy 'ratio' expects a ratio between 0 and 1, got {share!r}")
    if sum(ratios) >= 1:
        raise InputError(
            f"policy 'ratio': the ratios {', '.join(map(str, ratios))} add up to "
            f"{sum(ratios):g}: expected below 1, the rest is the real images'"
        )
    if len(ratios) == 1:
        return ratios, [synthetic]
    numbers = np.full(len(synthetic), -1) if folders is None else np.asarray(folders)
    present = np.unique(numbers[synthetic])
    if len(present) != len(ratios):
        raise InputError(
            f"policy 'ratio': {len(ratios)} ratios for {len(present)} synthetic folders: expected "
            "one for all, or one for each"
        )
    return ratios, [synthetic & (numbers == k) for k in present]


def _as_flags(synthetic: Mask | Sequence[bool] | None, n: int) -> Mask:
    """bool[N], all False where absent; checked, since an array of indices in its place would pass
    silently."""
    if synthetic is None:
        return np.zeros(n, dtype=bool)
    flags = np.asarray(synthetic)
    if flags.shape != (n,) or (flags.dtype != bool and n > 0):
        raise InputError(
            f"expected synthetic as bool[{n}], one flag an image, got {flags.dtype}"
            f"[{', '.join(map(str, flags.shape))}]"
        )
    return flags.astype(bool)
