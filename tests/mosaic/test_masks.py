from __future__ import annotations

import numpy as np
import pytest

from mf_plugin.errors import InputError
from mf_plugin.mosaic.attention import RegionAttention
from mf_plugin.mosaic.layout import MosaicLayout, Region
from mf_plugin.mosaic.masks import (
    MaskConfig,
    attention_to_mask,
    make_disjoint,
    mask_stability,
    merge_scales,
    threshold_map,
)

pytest.importorskip("scipy")


def blob(size, low=0.01, high=0.2):
    values = np.full((size, size), low, dtype=np.float32)
    values[size // 4 : 3 * size // 4, size // 4 : 3 * size // 4] = high
    return values


def test_merge_is_the_mean_of_maps_over_their_maximum():
    # 0.1 / 0.3 * 255 = 85 exactly; the size is already right, so nothing is resized.
    maps = {1: np.array([[0.1, 0.3]]), 2: np.array([[4.0, 0.0]])}
    merged = merge_scales(maps, (1, 2), (1, 2))
    assert merged == pytest.approx(np.array([[1, 255 / 340]], dtype=np.float32), abs=0.004)
    assert merge_scales(maps, (1, 2), (2,)).tolist() == [[1, 0]]


def test_merge_resizes_to_rows_and_columns():
    merged = merge_scales({2: np.ones((2, 3))}, (4, 6), (2,))
    assert merged.shape == (4, 6) and (merged == 1).all()


@pytest.mark.parametrize(
    "threshold, expected",
    [(0.85, [False, False, True, True]), ("otsu", [False, True, True, True])],
)
def test_thresholds(threshold, expected):
    assert threshold_map(np.array([[0.0, 0.8, 0.9, 1.0]]), threshold)[0].tolist() == expected


@pytest.mark.parametrize("rounds", [0, 2])
def test_mask_of_a_blob(rounds):
    image = np.zeros((64, 64, 3), dtype=np.uint8)
    image[16:48, 16:48] = (220, 40, 40)
    config = MaskConfig(method="published", solver_rounds=rounds)
    mask = attention_to_mask(RegionAttention({1: blob(16), 2: blob(8), 4: blob(4)}), image, config)
    truth = image[..., 0] > 0
    assert mask.dtype == bool and mask.shape == (64, 64)
    iou = (mask & truth).sum() / (mask | truth).sum()
    assert iou > (0.85 if rounds == 0 else 0.99)


def test_no_attention_no_mask():
    image = np.zeros((8, 8, 3), dtype=np.uint8)
    for value in (0, 0.5):
        maps = {1: np.full((4, 4), value), 2: np.full((2, 2), value)}
        assert not attention_to_mask(
            RegionAttention(maps), image, MaskConfig(method="published")
        ).any()


def test_stability_is_the_overlap_of_masks_at_shifted_thresholds():
    image = np.zeros((1, 6, 3), dtype=np.uint8)
    attention = RegionAttention({1: np.array([[0.0, 0.44, 0.46, 0.54, 0.56, 1.0]])})
    config = MaskConfig(method="published", scales=(1,), threshold=0.5, solver_rounds=0)
    # Above 0.45 lie four places, above 0.55 two.
    assert mask_stability(attention, image, config) == 0.5
    # A map of two values has one split.
    otsu = MaskConfig(method="published", scales=(1,), solver_rounds=0)
    steps = RegionAttention({1: np.array([[0.0, 0.0, 0.0, 1.0, 1.0, 1.0]])})
    assert mask_stability(steps, image, otsu) == 1.0


def test_no_attention_is_not_stable():
    image = np.zeros((4, 4, 3), dtype=np.uint8)
    assert (
        mask_stability(
            RegionAttention({1: np.zeros((4, 4))}),
            image,
            MaskConfig(method="published", scales=(1,)),
        )
        == 0
    )


def test_bad_maps_and_numbers_are_named():
    image = np.zeros((8, 8, 3), dtype=np.uint8)
    with pytest.raises(InputError, match=r"mask scale 4: the model has attention at \[1, 2\]"):
        attention_to_mask(
            RegionAttention({1: blob(4), 2: blob(4)}),
            image,
            MaskConfig(method="published", scales=(4,)),
        )
    with pytest.raises(InputError, match="attention at scale 1 is not finite"):
        attention_to_mask(
            RegionAttention({1: np.full((4, 4), np.nan)}),
            image,
            MaskConfig(method="published", scales=(1,)),
        )
    with pytest.raises(InputError, match="mask threshold is 'mean'; expected 'otsu'"):
        MaskConfig(method="published", threshold="mean")
    with pytest.raises(InputError, match="mask threshold is 1.5"):
        MaskConfig(method="published", threshold=1.5)


def test_disjoint_masks():
    layout = MosaicLayout(1, 6, (Region(0, 0, 1, 4), Region(0, 2, 1, 4)))
    full = [np.ones((1, 4), bool), np.ones((1, 4), bool)]
    first, second = make_disjoint(full, layout)
    # The centres lie at 1.5 and 3.5, so column 2 is the first's and column 3 the second's.
    assert first.tolist() == [[True, True, True, False]]
    assert second.tolist() == [[False, True, True, True]]
    assert full[0].all() and full[1].all()
    # What only one claims stays its own.
    first, second = make_disjoint([full[0], np.array([[False, False, True, True]])], layout)
    assert first.all() and second.tolist() == [[False, False, True, True]]
    with pytest.raises(InputError, match=r"mask 1 is \(1, 3\); expected \(1, 4\)"):
        make_disjoint([full[0], np.ones((1, 3), bool)], layout)
