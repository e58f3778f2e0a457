from __future__ import annotations

import numpy as np
import pytest

from mf_plugin.data.image_categories import ImageCategories, as_image_categories
from mf_plugin.errors import InputError

LISTS = [[5, -2, 5], [], [7], [5]]


def rows(table):
    return list(zip(table.image_index.tolist(), table.category.tolist(), table.instances.tolist()))


def test_pairs_are_distinct_and_in_order():
    table = ImageCategories.from_lists(LISTS)
    assert rows(table) == [(0, -2, 1), (0, 5, 2), (2, 7, 1), (3, 5, 1)]
    assert len(table) == table.num_images == 4
    assert as_image_categories(table) is table
    assert rows(as_image_categories(LISTS)) == rows(table)


def test_instances_come_in_any_order():
    table = ImageCategories.from_instances([3, 0, 2, 0, 0], [5, 5, 7, -2, 5], 4)
    assert rows(table) == rows(ImageCategories.from_lists(LISTS))
    with pytest.raises(InputError, match="image indices 0 to 4: expected 0 to 3"):
        ImageCategories.from_instances([0, 4], [1, 1], 4)


def test_nothing():
    for table in (ImageCategories.from_lists([]), ImageCategories.concatenate([])):
        assert (rows(table), len(table)) == ([], 0)
    assert rows(ImageCategories.from_lists([[], []]).take([1, 0, 1])) == []


def test_one_after_the_other():
    first, second = ImageCategories.from_lists(LISTS[:2]), ImageCategories.from_lists(LISTS[2:])
    both = ImageCategories.concatenate([first, second])
    assert rows(both) == rows(ImageCategories.from_lists(LISTS)) and len(both) == 4


@pytest.mark.parametrize("images", [[3, 0, 0, 1], [], [2], [1, 1]])
def test_taken_images_are_those_of_the_lists(images):
    table = ImageCategories.from_lists(LISTS).take(np.array(images, dtype=int))
    assert rows(table) == rows(ImageCategories.from_lists([LISTS[i] for i in images]))
    assert len(table) == len(images)


def test_images_are_taken_by_flags_too():
    flags = np.array([True, False, False, True])
    table = ImageCategories.from_lists(LISTS)
    assert rows(table.take(flags)) == rows(table.take(np.array([0, 3])))


def test_image_counts():
    table = ImageCategories.from_lists(LISTS)
    ids, counts = table.image_counts()
    assert (ids.tolist(), counts.tolist()) == ([-2, 5, 7], [1, 2, 1])
    ids, counts = table.image_counts(np.array([False, True, True, True]))
    assert (ids.tolist(), counts.tolist()) == ([5, 7], [1, 1])
