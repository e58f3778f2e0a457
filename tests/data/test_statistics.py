from __future__ import annotations

import numpy as np
import pytest

from mf_plugin.data.image_categories import ImageCategories
from mf_plugin.data.statistics import (
    GroupStatistics,
    describe_epoch,
    epoch_statistics,
    format_statistics,
)
from mf_plugin.errors import InputError

# Category 0 is in 101 real images, 1 in 100, 2 in 11, 3 in 10, 4 in 1, 5 in synthetic ones alone.
REAL = [[0, 1, 1]] * 11 + [[0, 1]] * 89 + [[0]] + [[2, 3]] * 10 + [[2, 4]] + [[]]
MADE = [[3, 4, 4], [5]]
TABLE = ImageCategories.from_lists(REAL + MADE)
SYNTHETIC = np.arange(len(REAL) + 2) >= len(REAL)
FACTORS = np.concatenate([np.ones(101), np.full(10, 2.0), [3.0, 1.0], [0.5, 4.0]])


def test_groups_by_real_images_and_what_an_epoch_holds_of_them():
    assert epoch_statistics(TABLE, FACTORS, SYNTHETIC) == (
        GroupStatistics("unseen", 1, 0, 0, 1, 0.0, 4.0),
        # 3: 10 instances twice, 4: one three times; synthetic: three half a time
        GroupStatistics("rare", 2, 11, 11, 3, 23.0, 1.5),
        # 1: 22 + 89 instances once; 2: 10 twice and one three times
        GroupStatistics("common", 2, 111, 122, 0, 134.0, 0.0),
        GroupStatistics("frequent", 1, 101, 101, 0, 101.0, 0.0),
        GroupStatistics("all", 6, 112, 234, 4, 258.0, 5.5),
    )


def test_share():
    rare = epoch_statistics(TABLE, FACTORS, SYNTHETIC)[1]
    assert rare.synthetic_share == 1.5 / 24.5
    assert GroupStatistics("all", 0, 0, 0, 0, 0.0, 0.0).synthetic_share == 0


def test_the_table_of_the_log():
    statistics = (
        GroupStatistics("rare", 337, 1200, 1500, 33700, 6000.4, 16850.0),
        GroupStatistics("all", 1203, 100170, 1270141, 33700, 1500000.0, 16850.0),
    )
    assert format_statistics(statistics).splitlines() == [
        "group  categories  real images  real instances  synthetic  real an epoch  "
        "synthetic an epoch  synthetic share",
        "rare          337        1,200           1,500     33,700          6,000  "
        "            16,850            73.7%",
        "all         1,203      100,170       1,270,141     33,700      1,500,000  "
        "            16,850             1.1%",
    ]


def test_what_both_adapters_log():
    lines = describe_epoch(TABLE, FACTORS, SYNTHETIC, "real", 0.5).splitlines()
    assert lines[0] == (
        "RepeatFactorSampler(policy=real, threshold=0.5): an epoch draws 125 times from 113 real "
        "and 4 times from 2 synthetic images; instances:"
    )
    assert lines[1:] == format_statistics(epoch_statistics(TABLE, FACTORS, SYNTHETIC)).splitlines()


def test_no_images():
    (everything,) = epoch_statistics(ImageCategories.from_lists([]), np.zeros(0), np.zeros(0, bool))
    assert everything == GroupStatistics("all", 0, 0, 0, 0, 0.0, 0.0)


def test_lengths_have_to_agree():
    with pytest.raises(InputError, match="got 2 factors and 115 flags for 115 images"):
        epoch_statistics(TABLE, np.ones(2), SYNTHETIC)
