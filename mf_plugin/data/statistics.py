"""What an epoch holds: the expected real and synthetic instances of each frequency group.

The groups are LVIS's (https://arxiv.org/abs/1908.03195), by the number of real training images
that contain a category; LVIS v1's own ``frequency`` is this count of its training set.

Shapes: N images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mf_plugin.arrays import FloatArray, Mask
from mf_plugin.data.image_categories import ImageCategories
from mf_plugin.errors import InputError

UNSEEN = "unseen"
# The most real training images of a category of each group; LVIS has no unseen ones.
GROUP_LIMITS = {UNSEEN: 0, "rare": 10, "common": 100, "frequent": np.inf}
COLUMNS = (
    "group",
    "categories",
    "real images",
    "real instances",
    "synthetic",
    "real an epoch",
    "synthetic an epoch",
    "synthetic share",
)


@dataclass(frozen=True)
class GroupStatistics:
    """One frequency group; the last of `epoch_statistics` is all of them together.

    Attributes:
        group: unseen, rare, common, frequent or all.
        categories: how many categories it has.
        real_images: real images that contain any of them.
        real_instances: their instances in real images.
        synthetic_instances: their instances in synthetic images.
        real_expected: real instances that an epoch holds in expectation.
        synthetic_expected: synthetic instances likewise.
    """

    group: str
    categories: int
    real_images: int
    real_instances: int
    synthetic_instances: int
    real_expected: float
    synthetic_expected: float

    @property
    def synthetic_share(self) -> float:
        """Share of the synthetic ones among the expected instances; 0 where there are none."""
        total = self.real_expected + self.synthetic_expected
        return self.synthetic_expected / total if total else 0.0


def epoch_statistics(
    table: ImageCategories, factors: FloatArray, synthetic: Mask
) -> tuple[GroupStatistics, ...]:
    """The groups that have a category, from rare to frequent, and their sum.

    Args:
        table: the categories of the N images.
        factors: float[N], expected draws of each image in an epoch: `sampling.repeat_factors`.
        synthetic: bool[N], which images are synthetic.

    Raises:
        InputError: the three are not of the same N images.
    """
    if not len(table) == len(factors) == len(synthetic):
        raise InputError(
            f"expected a factor and a flag an image, got {len(factors)} factors and "
            f"{len(synthetic)} flags for {len(table)} images"
        )
    ids, which = np.unique(table.category, return_inverse=True)
    from_synthetic = np.asarray(synthetic, dtype=bool)[table.image_index]
    real_images = np.bincount(which[~from_synthetic], minlength=len(ids))
    limits = np.array(list(GROUP_LIMITS.values()))
    group_of = np.searchsorted(limits, real_images)

    def describe(group: str, chosen: Mask) -> GroupStatistics:
        rows = chosen[which]
        real, made = rows & ~from_synthetic, rows & from_synthetic
        expected = table.instances * np.asarray(factors)[table.image_index]
        return GroupStatistics(
            group,
            categories=int(chosen.sum()),
            real_images=len(np.unique(table.image_index[real])),
            real_instances=int(table.instances[real].sum()),
            synthetic_instances=int(table.instances[made].sum()),
            real_expected=float(expected[real].sum()),
            synthetic_expected=float(expected[made].sum()),
        )

    groups = [describe(name, group_of == k) for k, name in enumerate(GROUP_LIMITS)]
    everything = describe("all", np.ones(len(ids), dtype=bool))
    return (*(group for group in groups if group.categories), everything)


def format_statistics(statistics: tuple[GroupStatistics, ...]) -> str:
    """The statistics as a table for the log, one line a group."""
    rows = [
        (
            entry.group,
            f"{entry.categories:,}",
            f"{entry.real_images:,}",
            f"{entry.real_instances:,}",
            f"{entry.synthetic_instances:,}",
            f"{entry.real_expected:,.0f}",
            f"{entry.synthetic_expected:,.0f}",
            f"{entry.synthetic_share:.1%}",
        )
        for entry in statistics
    ]
    widths = [max(map(len, column)) for column in zip(COLUMNS, *rows, strict=True)]
    return "\n".join(
        "  ".join(
            text.rjust(width) if k else text.ljust(width)
            for k, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (COLUMNS, *rows)
    )


def describe_epoch(
    table: ImageCategories,
    factors: FloatArray,
    synthetic: Mask,
    policy: str,
    threshold: float,
) -> str:
    """What both adapters log when their sampler is built: draws, then instances by group."""
    real, made = factors[~synthetic], factors[synthetic]
    head = (
        f"RepeatFactorSampler(policy={policy}, threshold={threshold}): an epoch draws "
        f"{real.sum():.0f} times from {len(real)} real and {made.sum():.0f} times from "
        f"{len(made)} synthetic images; instances:"
    )
    return f"{head}\n{format_statistics(epoch_statistics(table, factors, synthetic))}"
