"""Synthetic augmentation: a real image that is drawn gives way to a synthetic version of itself.

SegGen (https://arxiv.org/abs/2311.03355) trains so on ADE20K: each real sample is replaced with
probability 0.6. What is drawn, and how often, the real images decide.

Shapes: N images of a training set, real and synthetic; K synthetic folders; V versions.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from mf_plugin.arrays import FloatArray, IntArray, Mask
from mf_plugin.errors import InputError


@dataclass(frozen=True, eq=False)
class Pool:
    """The synthetic images that one probability is for.

    Attributes:
        probability: that a draw is replaced from here, above 0 and up to 1.
        first: int64[N], where in ``versions`` those of image i begin.
        count: int64[N], how many they are; 0 for synthetic images.
        versions: int64[V], indices of synthetic images that were made of a real one.
        free: int64[F], those that may stand for any real image.
    """

    probability: float
    first: IntArray
    count: IntArray
    versions: IntArray
    free: IntArray

    def choices(self, images: IntArray) -> IntArray:
        """int64[M]: how many synthetic images may stand for each of M real ones."""
        return self.count[images] + len(self.free)

    def pick(self, images: IntArray, which: IntArray) -> IntArray:
        """int64[M]: number ``which`` (0 to choices - 1) of those of each image."""
        picked = np.empty(len(images), dtype=np.int64)
        count = self.count[images]
        own = which < count
        picked[own] = self.versions[self.first[images[own]] + which[own]]
        picked[~own] = self.free[which[~own] - count[~own]]
        return picked


@dataclass(frozen=True, eq=False)
class Replacement:
    """Which synthetic images stand for a real one, and how often.

    Attributes:
        pools: one for all folders, or one for each.
        synthetic: bool[N].
    """

    pools: tuple[Pool, ...]
    synthetic: Mask

    def replace(self, indices: IntArray, rng: np.random.Generator) -> IntArray:
        """The draws of an epoch, some of the real images replaced.

        A draw takes pool k with its probability p_k, and none with what is left of 1. A real image
        that has choices in that pool gives way to one of them, each as likely as the next; one
        that has none stays.

        Args:
            indices: int64[M] into the N images.
            rng: two numbers a draw are taken from it, whatever is replaced.

        Returns:
            int64[M].
        """
        chance, within = rng.random(len(indices)), rng.random(len(indices))
        result = np.array(indices, dtype=np.int64)
        below = 0.0
        for pool in self.pools:
            choices = pool.choices(indices)
            chosen = (chance >= below) & (chance < below + pool.probability)
            chosen &= ~self.synthetic[indices] & (choices > 0)
            which = np.floor(within[chosen] * choices[chosen]).astype(np.int64)
            result[chosen] = pool.pick(indices[chosen], which)
            below += pool.probability
        return result

    def expected(self, factors: FloatArray) -> FloatArray:
        """float64[N]: how often each image is seen in an epoch where ``factors`` are drawn."""
        seen = np.array(factors, dtype=np.float64)
        real = np.flatnonzero(~self.synthetic)
        for pool in self.pools:
            choices = pool.choices(real)
            moved = np.where(choices > 0, factors[real] * pool.probability, 0.0)
            share = moved / np.maximum(choices, 1)
            seen[real] -= moved
            count = pool.count[real]
            rows = np.repeat(pool.first[real] - np.cumsum(count) + count, count)
            versions = pool.versions[rows + np.arange(count.sum())]
            np.add.at(seen, versions, np.repeat(share, count))
            seen[pool.free] += share.sum()
        return seen


def make_replacement(
    image_ids: Sequence[Hashable],
    source_ids: Sequence[Hashable | None],
    folders: IntArray,
    probability: float | Sequence[float],
) -> Replacement:
    """Match synthetic images to the real ones that they were made of.

    Args:
        image_ids: N ids; those of synthetic images are not read.
        source_ids: N ids of the real image that each synthetic one was made of; None where it was
            made of none (MosaicFusion): such an image may stand for any real one.
        folders: int64[N], -1 for real images, else the number of the synthetic folder.
        probability: p, for all folders together; or p_k for each, whose sum is at most 1.

    Raises:
        InputError: a probability is out of range, there is not one for each folder, or none of the
            real images is one that synthetic images were made of.
    """
    folders = np.asarray(folders, dtype=np.int64)
    synthetic = folders >= 0
    present = np.unique(folders[synthetic])
    probabilities = _checked(probability, len(present))

    position: dict[Hashable, int] = {}  # the same real image may be there more than once
    alike = np.full(len(folders), -1, dtype=np.int64)
    for i in np.flatnonzero(~synthetic).tolist():
        alike[i] = position.setdefault(image_ids[i], i)
    sources = np.full(len(folders), -1, dtype=np.int64)
    free = np.zeros(len(folders), dtype=bool)
    for i in np.flatnonzero(synthetic).tolist():
        source = source_ids[i]
        free[i] = source is None
        sources[i] = -1 if source is None else position.get(source, -1)
    if len(present) and not free.any() and not (sources >= 0).any():
        wanted = next(source_ids[i] for i in np.flatnonzero(synthetic).tolist())
        raise InputError(
            f"policy 'replace': none of the {int(synthetic.sum())} synthetic images was made of "
            f"one of the {int((~synthetic).sum())} real images (the first names image "
            f"{wanted!r}): expected the real dataset that they were made of"
        )
    together = [synthetic] if len(probabilities) == 1 else [folders == k for k in present]
    pools = tuple(
        _pool(p, members, sources, free, alike)
        for p, members in zip(probabilities, together, strict=True)
    )
    return Replacement(pools, synthetic)


def as_numbers(given: float | Sequence[float]) -> tuple[float, ...]:
    """One number, or one for each folder, as a tuple."""
    return (given,) if isinstance(given, (int, float)) else tuple(given)


def _pool(
    probability: float,
    members: Mask,
    sources: IntArray,
    free: Mask,
    alike: IntArray,
) -> Pool:
    """The pool of some synthetic images.

    Args:
        probability: of the pool.
        members: bool[N], its images.
        sources: int64[N], the first index of the real image that each was made of; -1 for none.
        free: bool[N], those made of none.
        alike: int64[N], the first index of the same real image; -1 for synthetic ones.
    """
    made = np.flatnonzero(members & (sources >= 0))
    versions = made[np.argsort(sources[made], kind="stable")]
    ordered = sources[versions]
    first = np.searchsorted(ordered, alike, side="left")
    count = np.searchsorted(ordered, alike, side="right") - first
    count[alike < 0] = 0
    return Pool(probability, first, count, versions, np.flatnonzero(members & free))


def _checked(probability: float | Sequence[float], folders: int) -> tuple[float, ...]:
    found = as_numbers(probability)
    if len(found) not in (1, folders):
        raise InputError(
            f"policy 'replace': {len(found)} probabilities for {folders} synthetic folders: "
            "expected one for all, or one for each"
        )
    for p in found:
        if not isinstance(p, (int, float)) or not 0 < p <= 1:
            raise InputError(
                f"policy 'replace' expects a probability above 0 and up to 1, got {p!r}"
            )
    if sum(found) > 1 + 1e-9:
        raise InputError(
            f"policy 'replace': the probabilities {', '.join(map(str, found))} add up to "
            f"{sum(found):g}: expected at most 1"
        )
    return found
