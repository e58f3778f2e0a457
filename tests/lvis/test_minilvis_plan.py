from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from mf_plugin.errors import InputError
from mf_plugin.lvis.minilvis_plan import (
    assign_images,
    balanced_targets,
    frequency_group,
    long_tailed_targets,
)

GROUPS = {i: "rcf"[i // 10] for i in range(30)}


@pytest.mark.parametrize(
    "count, group", [(1, "r"), (10, "r"), (11, "c"), (100, "c"), (101, "f"), (5000, "f")]
)
def test_groups_are_lvis_groups(count, group):
    assert frequency_group(count) == group


@pytest.mark.parametrize("num_images", [420, 560, 2000])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_targets_lie_in_their_groups(num_images, seed):
    targets = long_tailed_targets(np.random.default_rng(seed), GROUPS, num_images)
    assert all(frequency_group(targets[c]) == GROUPS[c] for c in GROUPS)
    assert sum(targets.values()) <= 4.1 * num_images


def test_the_full_table_has_room_in_its_default_size():
    groups = {i: "r" * (i < 38) or "c" * (i < 136) or "f" for i in range(244)}
    targets = long_tailed_targets(np.random.default_rng(0), groups, 5000)
    assert all(frequency_group(targets[c]) == groups[c] for c in groups)


@pytest.mark.parametrize("num_images", [8, 60])
def test_few_images_shrink_all_targets(num_images):
    targets = long_tailed_targets(np.random.default_rng(0), GROUPS, num_images)
    assert min(targets.values()) >= 1 and max(targets.values()) <= num_images
    assert sum(targets.values()) <= 6 * num_images


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("num_images", [8, 60, 560, 2000])
def test_every_category_gets_exactly_its_images(num_images, seed):
    rng = np.random.default_rng(seed)
    targets = long_tailed_targets(rng, GROUPS, num_images)

    images = assign_images(rng, targets, num_images)

    assert Counter(c for image in images for c in image) == targets
    assert all(len(image) == len(set(image)) for image in images)
    assert min(map(len, images)) >= 1
    assert np.quantile([len(image) for image in images], 0.95) <= 6


def test_balanced_targets_are_equal_and_large_enough():
    assert set(balanced_targets(list(range(30)), 200).values()) == {19}
    assert set(balanced_targets(list(range(30)), 90).values()) == {10}  # 8 would be even
    assert set(balanced_targets(list(range(30)), 40).values()) == {5}


def test_too_few_images_are_named():
    message = "num_images is 7: expected at least 8 for 30 categories"
    with pytest.raises(InputError, match=message):
        balanced_targets(list(range(30)), 7)
