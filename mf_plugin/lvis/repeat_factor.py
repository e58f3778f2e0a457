"""How often an image is seen in an epoch, by the rarest category in it.

LVIS paper (https://arxiv.org/abs/1908.03195), Appendix B.2:

    f(c)  fraction of the images that contain category c
    r(c) = max(1, sqrt(t / f(c)))
    r(I) = max of r(c) over the categories of image I

Shapes: N images, M pairs of an image and a category that is in it.
"""

from __future__ import annotations

import numpy as np

from mf_plugin.arrays import FloatArray, IntArray


def image_repeat_factors(
    image_index: IntArray, category: IntArray, num_images: int, threshold: float, counted: int
) -> FloatArray:
    """r(I) of each image.

    Args:
        image_index: int64[M], from 0 to N - 1.
        category: int64[M], each category of an image once.
        num_images: N.
        threshold: t; categories with f(c) >= t are not repeated.
        counted: the images that f(c) is a fraction of.

    Returns:
        float64[N], at least 1; 1 for an image without any category.
    """
    # 1. For each category c, compute the fraction f(c) of images that contain it.
    _, which, counts = np.unique(category, return_inverse=True, return_counts=True)
    frequency = counts / max(1, counted)

    # 2. For each category c, compute the category-level repeat factor:
    #    r(c) = max(1, sqrt(t / f(c))).
    category_factor = np.maximum(1.0, np.sqrt(threshold / frequency))

    # 3. For each image I, compute the image-level repeat factor: r(I) = max over c in I of r(c).
    factors = np.ones(num_images, dtype=np.float64)
    np.maximum.at(factors, image_index, category_factor[which])
    return factors
