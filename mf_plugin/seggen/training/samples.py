"""The stream of a training's samples: number n is a pure function of n, the seed and the data.

So a run that goes on from a checkpoint meets the same samples, and several processes share what one
would meet.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from mf_plugin.arrays import IntArray
from mf_plugin.lvis.repeat_factor import image_repeat_factors
from mf_plugin.seggen.pairs import Pair, SegGenPairs

_SAMPLE, _ORDER, _CACHE = range(3)  # what a seed is for
_ROUNDS = 4  # of the data in a long epoch: repeat factors are rounded to a fourth


class Sample(NamedTuple):
    """What one pass takes of the data.

    pair_index: which of the pairs.
    variant: of it, in a cache.
    pair: a random part of it; None where a cache holds the variants.
    empty: whether its caption is left out.
    time: in [0, 1), one of as many strata as a step has samples, before they are shifted.
    noise: seed of its noise.
    """

    pair_index: int
    variant: int
    pair: Pair | None
    empty: bool
    time: float
    noise: int


class SampleStream:
    """Samples by number; a map-style dataset for torch's DataLoader.

    Args:
        pairs: the data.
        seed: of the training.
        empty_caption: share of samples without caption.
        step_size: samples of a step, over all processes and passes.
        variants: of each pair that a cache holds; 0 draws the pixels anew.
        time_shift: of the times, see SegGenTrainConfig.
        repeats: int64 of each pair, how often an epoch meets it; None: once.
    """

    def __init__(
        self,
        pairs: SegGenPairs,
        seed: int,
        empty_caption: float,
        step_size: int,
        variants: int = 0,
        time_shift: float = 1.0,
        repeats: IntArray | None = None,
    ) -> None:
        self._pairs, self._seed, self._empty = pairs, seed, empty_caption
        self._step_size, self._variants = step_size, variants
        self._shift = time_shift
        self._rows: IntArray = np.arange(len(pairs), dtype=np.int64)
        if repeats is not None:
            self._rows = np.repeat(self._rows, repeats)
        self._epoch = -1
        self._order: IntArray = np.zeros(0, np.int64)

    def __getitem__(self, number: int) -> Sample:
        epoch, place = divmod(number, len(self._rows))
        if epoch != self._epoch:
            rng = np.random.default_rng((self._seed, _ORDER, epoch))
            self._epoch, self._order = epoch, rng.permutation(self._rows)
        rng = np.random.default_rng((self._seed, _SAMPLE, number))
        empty = bool(rng.random() < self._empty)
        even = (number % self._step_size + float(rng.random())) / self._step_size
        time = self._shift * even / (1 + (self._shift - 1) * even)
        noise = int(rng.integers(2**62))
        index = int(self._order[place])
        if self._variants:
            return Sample(index, int(rng.integers(self._variants)), None, empty, time, noise)
        return Sample(index, 0, self._pairs.draw(index, rng), empty, time, noise)


def repeat_pairs(pairs: SegGenPairs, threshold: float) -> IntArray | None:
    """How often a long epoch meets each pair: four times its repeat factor (lvis/repeat_factor.py).

    Args:
        pairs: the data.
        threshold: t of the repeat factors; 0 repeats none.

    Returns:
        int64 of each pair, at least ``_ROUNDS``; None where none is repeated.
    """
    if not threshold:
        return None
    categories = [sorted(set(pairs.source.categories(i))) for i in pairs.image_ids]
    image_index = np.repeat(np.arange(len(categories)), [len(c) for c in categories])
    category = np.array([c for row in categories for c in row], np.int64)
    factors = image_repeat_factors(
        image_index, category, len(categories), threshold, len(categories)
    )
    repeats: IntArray = np.rint(_ROUNDS * factors).astype(np.int64)
    return repeats


def step_numbers(
    start: int, stop: int, *, batch: int, accumulate: int, processes: int, rank: int
) -> Iterator[int]:
    """Numbers of the samples of steps ``start`` to ``stop`` that fall to one process.

    A step's samples are cut into passes, and a pass into the processes' batches.
    """
    for number in range(start * accumulate, stop * accumulate):
        first = (number * processes + rank) * batch
        yield from range(first, first + batch)


def draw_variant(pairs: SegGenPairs, seed: int, index: int, variant: int) -> Pair:
    """Variant 0 of a pair is its centre, the others are random parts."""
    if variant == 0:
        return pairs[index]
    return pairs.draw(index, np.random.default_rng((seed, _CACHE, index, variant)))
