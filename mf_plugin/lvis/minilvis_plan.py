"""Which categories stand in which image of a mini-LVIS split.

Training splits are long-tailed as LVIS is: a category's number of images is drawn within its LVIS
frequency group (rare: 1-10, common: 11-100, frequent: more than 100), so that counting a finished
split gives every category its own group again. Validation splits are balanced.
Shapes: N images, C categories; targets {category id: number of images}.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from mf_plugin.arrays import IntArray
from mf_plugin.errors import InputError

TRAIN_IMAGES = {"r": (3, 8), "c": (15, 60), "f": (110, 190)}  # low and high, both included
MIN_FREQUENT = 105  # LVIS: frequent is more than 100 images
MAX_CATEGORIES = 6  # in an image
CATEGORIES_PER_IMAGE = (0.12, 0.20, 0.24, 0.20, 0.14, 0.10)  # probability of 1, 2, ... 6
MEAN_TRAIN_LOAD = (2.5, 4.0)  # categories per image; outside, frequent categories give or take
BALANCED_LOAD = 2.8
MIN_BALANCED = 10  # images of a category, where the split has room


def frequency_group(image_count: int) -> str:
    """LVIS's group of a category with so many training images: "r", "c" or "f"."""
    return "r" if image_count <= 10 else "c" if image_count <= 100 else "f"


def long_tailed_targets(
    rng: np.random.Generator, groups: Mapping[int, str], num_images: int
) -> dict[int, int]:
    """Draws a number of images for each category {id: "r" | "c" | "f"}, uniform in log.

    Frequent categories take up what `num_images` needs more or has no room for. Below about 12
    images a category there is no room for LVIS's groups: all targets shrink together.
    Raises InputError if even one image a category does not fit.
    """
    _check_room(len(groups), num_images)
    targets = {}
    for category_id in sorted(groups):
        low, high = TRAIN_IMAGES[groups[category_id]]
        draw = math.exp(rng.uniform(math.log(low), math.log(high + 1)))
        targets[category_id] = min(high, int(draw))
    frequent = [c for c in targets if groups[c] == "f"]
    total = sum(targets.values())
    load = min(max(total, MEAN_TRAIN_LOAD[0] * num_images), MEAN_TRAIN_LOAD[1] * num_images)
    if frequent and load != total:
        mass = sum(targets[c] for c in frequent)
        factor = max(0.0, (mass + load - total) / mass)
        for c in frequent:
            targets[c] = max(MIN_FREQUENT, round(targets[c] * factor))
    total = sum(targets.values())
    shrink = min(1.0, MEAN_TRAIN_LOAD[1] * num_images / total)
    return {c: min(num_images, max(1, round(t * shrink))) for c, t in targets.items()}


def balanced_targets(category_ids: Sequence[int], num_images: int) -> dict[int, int]:
    """The same number of images for all, at least MIN_BALANCED where there is room."""
    _check_room(len(category_ids), num_images)
    even = max(1, round(BALANCED_LOAD * num_images / len(category_ids)))
    room = int(MEAN_TRAIN_LOAD[1] * num_images / len(category_ids))
    count = min(num_images, max(even, min(MIN_BALANCED, room)))
    return dict.fromkeys(sorted(category_ids), count)


def assign_images(
    rng: np.random.Generator, targets: Mapping[int, int], num_images: int
) -> list[list[int]]:
    """Spreads each category over exactly its number of images; N lists of category ids.

    Images hold 1 to MAX_CATEGORIES categories, in about the shares of CATEGORIES_PER_IMAGE.
    """
    free = _capacities(rng, sum(targets.values()), num_images)
    images: list[list[int]] = [[] for _ in range(num_images)]
    # The largest first: what is left to fill can always take a smaller one.
    for category_id in sorted(targets, key=lambda c: (-targets[c], c)):
        count = targets[category_id]
        order = rng.random(num_images) ** (1.0 / np.maximum(free, 1e-3))
        for index in np.argsort(-order, kind="stable")[:count]:
            images[index].append(category_id)
            free[index] -= 1
    _fill_empty(images)
    return images


def _capacities(rng: np.random.Generator, total: int, num_images: int) -> IntArray:
    sizes = np.arange(1, MAX_CATEGORIES + 1)
    free = rng.choice(sizes, num_images, p=CATEGORIES_PER_IMAGE)
    total = min(max(total, num_images), MAX_CATEGORIES * num_images)
    while (missing := total - int(free.sum())) != 0:
        step = 1 if missing > 0 else -1
        open_ = np.flatnonzero((free + step >= 1) & (free + step <= MAX_CATEGORIES))
        free[rng.permutation(open_)[: abs(missing)]] += step
    return free


def _fill_empty(images: list[list[int]]) -> None:
    for empty in (image for image in images if not image):
        fullest = max(images, key=len)
        if len(fullest) > 1:
            empty.append(fullest.pop())


def _check_room(num_categories: int, num_images: int) -> None:
    least = math.ceil(num_categories / MEAN_TRAIN_LOAD[1])
    if num_images < least:
        raise InputError(
            f"num_images is {num_images}: expected at least {least} for {num_categories} categories"
        )
