"""The draws of a training set: what both adapters ask for, and their samplers pass on.

Shapes: N images of a training set, real and synthetic.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mf_plugin.arrays import FloatArray, IntArray
from mf_plugin.data.image_categories import ImageCategories
from mf_plugin.data.replacement import Replacement, make_replacement
from mf_plugin.data.sampling import endless_draws, repeat_factors
from mf_plugin.data.statistics import describe_epoch

# The N images' own ids, and the ids of the real images that synthetic ones were made of.
Sources = tuple[Sequence[Hashable], Sequence[Hashable | None]]


@dataclass(frozen=True, eq=False)
class Draws:
    """How often each image is drawn, and which draws are replaced.

    Attributes:
        factors: float64[N], expected draws of each image in an epoch: `sampling.repeat_factors`.
        seen: float64[N], how often it is seen then: the same unless draws are replaced.
        replacement: what takes the place of a real image, under the policy ``replace``.
        text: what an epoch holds, for the log.
    """

    factors: FloatArray
    seen: FloatArray
    replacement: Replacement | None
    text: str

    def endless(
        self, seed: int, rank: int = 0, world_size: int = 1, start: int = 0
    ) -> Iterator[int]:
        """The images that one process draws: `sampling.endless_draws`."""
        return endless_draws(self.factors, seed, rank, world_size, start, self.replacement)


def plan_draws(
    table: ImageCategories,
    folders: IntArray,
    threshold: float,
    policy: str = "joint",
    ratio: float | Sequence[float] | None = None,
    sources: Callable[[], Sources] | None = None,
) -> Draws:
    """The draws of N images by a policy.

    Args:
        table: the categories of the N images.
        folders: int64[N], -1 for real images, else the number of the synthetic folder.
        threshold: t of the repeat factors.
        policy: see `sampling.repeat_factors`.
        ratio: share of the synthetic images under ``ratio``, probability under ``replace``; one
            for all folders or one for each.
        sources: gives the ids under ``replace``; any synthetic image may stand for any real one
            where absent.

    Raises:
        InputError: an argument is out of range, or the policy lacks what it needs.
    """
    synthetic = np.asarray(folders) >= 0
    factors = repeat_factors(table, threshold, policy, synthetic, ratio, folders)
    replacement, seen = None, factors
    if policy == "replace" and ratio is not None:
        image_ids, source_ids = sources() if sources else (range(len(table)), [None] * len(table))
        replacement = make_replacement(image_ids, source_ids, folders, ratio)
        seen = replacement.expected(factors)
    text = describe_epoch(table, seen, synthetic, policy, threshold)
    return Draws(factors, seen, replacement, text)
