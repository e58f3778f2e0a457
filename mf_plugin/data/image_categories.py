"""ImageCategories: which categories are in which image, and how many instances, in three arrays.

At LVIS's size a list of categories for each image is a hundred thousand lists; everything that
sampling asks of them is arithmetic on one table of pairs.

Shapes: N images, P distinct pairs of image and category.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from mf_plugin.arrays import AnyInts, IntArray, Mask
from mf_plugin.errors import InputError


@dataclass(frozen=True, eq=False)
class ImageCategories:
    """The distinct pairs of image and category, by ascending image, then category.

    Attributes:
        image_index: int64[P], which of the N images.
        category: int64[P], category ids or labels.
        instances: int64[P], how many instances of the category are in the image.
        num_images: N; images without annotations are in no pair.
    """

    image_index: IntArray
    category: IntArray
    instances: IntArray
    num_images: int

    def __len__(self) -> int:
        return self.num_images

    @classmethod
    def from_instances(
        cls, image_index: AnyInts, category: AnyInts, num_images: int
    ) -> ImageCategories:
        """From one row an instance, in any order.

        Args:
            image_index: int[M], from 0 to N - 1.
            category: int[M].
            num_images: N.

        Raises:
            InputError: an index is none of the N images.
        """
        index = np.asarray(image_index, dtype=np.int64)
        ids = np.asarray(category, dtype=np.int64)
        if len(index) == 0:
            return cls(index, ids, np.zeros(0, np.int64), num_images)
        if index.min() < 0 or index.max() >= num_images:
            raise InputError(
                f"image indices {index.min()} to {index.max()}: expected 0 to {num_images - 1}"
            )
        low = ids.min()
        width = ids.max() - low + 1
        pairs, instances = np.unique(index * width + (ids - low), return_counts=True)
        return cls(pairs // width, pairs % width + low, instances.astype(np.int64), num_images)

    @classmethod
    def from_lists(cls, categories_per_image: Iterable[Sequence[int]]) -> ImageCategories:
        """From N lists of categories; a repeat within a list is one more instance."""
        lists = [list(ids) for ids in categories_per_image]
        lengths = np.fromiter(map(len, lists), np.int64, len(lists))
        category = np.fromiter(chain.from_iterable(lists), np.int64, int(lengths.sum()))
        return cls.from_instances(np.repeat(np.arange(len(lists)), lengths), category, len(lists))

    @classmethod
    def concatenate(cls, tables: Sequence[ImageCategories]) -> ImageCategories:
        """The images of several tables, one after the other."""
        if not tables:
            return cls.from_lists([])
        first = np.cumsum([0, *(table.num_images for table in tables)])
        return cls(
            np.concatenate([t.image_index + k for t, k in zip(tables, first[:-1], strict=True)]),
            np.concatenate([t.category for t in tables]),
            np.concatenate([t.instances for t in tables]),
            int(first[-1]),
        )

    def take(self, images: AnyInts | Mask) -> ImageCategories:
        """The table of these images, in this order; one may come more than once.

        Args:
            images: int[K] indices, or bool[N] flags.
        """
        chosen = np.asarray(images)
        if chosen.dtype == bool:
            chosen = np.flatnonzero(chosen)
        bounds = np.searchsorted(self.image_index, np.arange(self.num_images + 1))
        lengths = (bounds[1:] - bounds[:-1])[chosen]
        ends = np.cumsum(lengths)
        # Row k of image i's stretch is its first row + k.
        shift = np.repeat(bounds[chosen] - (ends - lengths), lengths)
        rows = np.arange(lengths.sum()) + shift
        return ImageCategories(
            np.repeat(np.arange(len(chosen)), lengths),
            self.category[rows],
            self.instances[rows],
            len(chosen),
        )

    def image_counts(self, among: Mask | None = None) -> tuple[IntArray, IntArray]:
        """How many images contain each category.

        Args:
            among: bool[N], the images that count; all where absent.

        Returns:
            int64[C] categories that occur in them, ascending, and int64[C] counts.
        """
        category = self.category if among is None else self.category[among[self.image_index]]
        return np.unique(category, return_counts=True)


def as_image_categories(
    categories_per_image: ImageCategories | Sequence[Sequence[int]],
) -> ImageCategories:
    """The table, made of lists where it is none yet."""
    if isinstance(categories_per_image, ImageCategories):
        return categories_per_image
    return ImageCategories.from_lists(categories_per_image)
