from __future__ import annotations

from collections import defaultdict
from itertools import chain, islice
from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mf_plugin.data.image_categories import ImageCategories
from mf_plugin.data.sampling import endless_draws, epoch_indices, repeat_factors
from mf_plugin.errors import InputError

# Four real images, two synthetic ones: category 1 is frequent, 2 is rare, 3 is only synthetic.
IMAGES = [[1, 1], [1], [1, 2], [], [2], [2, 3]]
SYNTHETIC = np.array([False, False, False, False, True, True])


def test_lvis_repeat_factors_are_those_of_the_paper():
    # f = {0: 1/3, 1: 2/3, 2: 1/3}, t = 1/2: r(0) = r(2) = sqrt(3/2), r(1) = 1
    factors = repeat_factors([[0, 1], [1], [2]], 0.5)
    assert factors.dtype == np.float64
    np.testing.assert_allclose(factors, [sqrt(3 / 2), 1.0, sqrt(3 / 2)], rtol=1e-15)


def test_joint_counts_the_union():
    # f = {1: 1/2, 2: 1/2, 3: 1/6}, t = 2/3: r(1) = r(2) = sqrt(4/3), r(3) = 2
    two_thirds = sqrt(4 / 3)
    expected = [two_thirds, two_thirds, two_thirds, 1.0, two_thirds, 2.0]
    np.testing.assert_allclose(repeat_factors(IMAGES, 2 / 3, "joint", SYNTHETIC), expected)
    np.testing.assert_allclose(repeat_factors(IMAGES, 2 / 3), expected)


def test_real_leaves_real_images_as_they_are_without_synthetic_ones():
    # f = {1: 3/4, 2: 1/4} over the real images, t = 1: r(1) = sqrt(4/3), r(2) = 2
    factors = repeat_factors(IMAGES, 1.0, "real", SYNTHETIC)
    np.testing.assert_allclose(factors, [sqrt(4 / 3), sqrt(4 / 3), 2.0, 1.0, 1.0, 1.0])
    np.testing.assert_array_equal(factors[:4], repeat_factors(IMAGES[:4], 1.0))


def test_real_without_synthetic_images_is_joint():
    np.testing.assert_array_equal(repeat_factors(IMAGES, 0.5, "real"), repeat_factors(IMAGES, 0.5))


@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.9])
def test_ratio_is_the_synthetic_share_of_an_epoch(ratio):
    factors = repeat_factors(IMAGES, 1.0, "ratio", SYNTHETIC, ratio)
    real = repeat_factors(IMAGES[:4], 1.0)
    np.testing.assert_array_equal(factors[:4], real)
    assert factors[4] == factors[5]
    assert factors[4:].sum() / factors.sum() == pytest.approx(ratio, rel=1e-12)


def test_ratio_by_hand():
    # Two real images seen once each, share 1/2: four synthetic images are seen 2/4 times each.
    flags = [False, False, True, True, True, True]
    factors = repeat_factors([[1]] * 6, 0.001, "ratio", flags, 0.5)
    np.testing.assert_allclose(factors, [1, 1, 0.5, 0.5, 0.5, 0.5])


def test_a_rare_class_is_thinned_by_joint_and_not_by_real():
    # facts/frameworks.md 1.2: 10 real images of 100,170 at t = 1e-3 are repeated 3.16 times;
    # with 25 synthetic images a class (8,425 in all) 1.76 times.
    real = [[1]] * 10 + [[]] * 100_160
    synthetic = [[1]] * 25 + [[]] * 8_400
    flags = np.arange(len(real) + len(synthetic)) >= len(real)
    assert repeat_factors(real, 1e-3)[0] == pytest.approx(3.165, abs=1e-3)
    joint = repeat_factors(real + synthetic, 1e-3, "joint", flags)
    assert joint[0] == pytest.approx(1.761, abs=1e-3)
    alone = repeat_factors(real + synthetic, 1e-3, "real", flags)
    assert alone[0] == pytest.approx(3.165, abs=1e-3)


LABELS = st.lists(st.lists(st.integers(0, 12), max_size=6), max_size=30)
THRESHOLDS = st.floats(0, 2)


def plain_repeat_factors(categories_per_image, threshold, counted):
    """LVIS paper, Appendix B.2, by loops; images that do not count have factor 1."""
    images_with = defaultdict(int)
    for ids, counts in zip(categories_per_image, counted):
        for c in set(ids) if counts else ():
            images_with[c] += 1
    factors = []
    for ids, counts in zip(categories_per_image, counted):
        factor = 1.0
        for c in ids if counts else ():
            frequency = images_with[c] / sum(counted)
            factor = max(factor, sqrt(threshold / frequency))
        factors.append(factor)
    return factors


@settings(max_examples=200, deadline=None)
@given(data=st.data(), labels=LABELS, threshold=THRESHOLDS)
def test_factors_are_those_of_plain_loops(data, labels, threshold):
    flags = np.array(data.draw(st.lists(st.booleans(), min_size=len(labels), max_size=len(labels))))
    flags = flags.astype(bool)
    joint = plain_repeat_factors(labels, threshold, [True] * len(labels))
    real = plain_repeat_factors(labels, threshold, (~flags).tolist())
    table = ImageCategories.from_lists(labels)
    for categories in (labels, table):
        assert repeat_factors(categories, threshold, "joint", flags).tolist() == joint
        assert repeat_factors(categories, threshold, "real", flags).tolist() == real
    if flags.any() and not flags.all():
        factors = repeat_factors(table, threshold, "ratio", flags, 0.3)
        assert factors[~flags].tolist() == [r for r, made in zip(real, flags) if not made]
        assert factors[flags].sum() == pytest.approx(0.3 * factors.sum(), rel=1e-9)


@settings(max_examples=100, deadline=None)
@given(labels=LABELS, threshold=THRESHOLDS)
def test_factors_are_detectron2s_own(labels, threshold):
    samplers = pytest.importorskip(
        "detectron2.data.samplers", reason="Detectron2 is not installed: not compared with it"
    )
    dicts = [{"annotations": [{"category_id": c} for c in ids]} for ids in labels]
    own = samplers.RepeatFactorTrainingSampler.repeat_factors_from_category_frequency
    theirs = own(dicts, threshold).numpy()
    np.testing.assert_allclose(repeat_factors(labels, threshold), theirs, atol=1e-6, rtol=1e-6)


def test_no_images():
    assert repeat_factors([], 0.5).shape == (0,)
    assert epoch_indices(np.zeros(0), np.random.default_rng(0)).shape == (0,)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"policy": "weighted"}, "unknown policy 'weighted': expected one of joint, real, ratio"),
        ({"threshold": -1.0}, "expected a repeat threshold >= 0, got -1.0"),
        ({"threshold": float("nan")}, "expected a repeat threshold >= 0, got nan"),
        ({"ratio": 0.5}, "ratio 0.5 has no effect under policy 'joint'"),
        ({"policy": "ratio", "synthetic": SYNTHETIC}, "between 0 and 1, got None"),
        ({"policy": "ratio", "synthetic": SYNTHETIC, "ratio": 1.0}, "between 0 and 1, got 1.0"),
        ({"policy": "ratio", "synthetic": SYNTHETIC, "ratio": 0}, "between 0 and 1, got 0"),
        ({"policy": "ratio", "ratio": 0.5}, "got 6 real and 0 synthetic"),
        ({"policy": "ratio", "ratio": 0.5, "synthetic": [True] * 6}, "got 0 real and 6 synthetic"),
        ({"synthetic": [True]}, r"expected synthetic as bool\[6\], .* got bool\[1\]"),
        ({"synthetic": [0, 1, 2, 3, 4, 5]}, r"expected synthetic as bool\[6\], .* got int64\[6\]"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(InputError, match=message):
        repeat_factors(IMAGES, **{"threshold": 0.5, **arguments})


def test_epoch_with_whole_factors_is_exact():
    factors = np.array([1.0, 3.0, 0.0, 2.0])
    indices = epoch_indices(factors, np.random.default_rng(0), shuffle=False)
    assert indices.dtype == np.int64
    assert indices.tolist() == [0, 1, 1, 1, 3, 3]


def test_epoch_is_a_function_of_the_generator():
    factors = np.linspace(0.3, 4.2, 50)

    def draw(seed, **options):
        return epoch_indices(factors, np.random.default_rng(seed), **options)

    np.testing.assert_array_equal(draw(1), draw(1))
    assert draw(1).tolist() != draw(2).tolist()
    np.testing.assert_array_equal(np.sort(draw(1)), draw(1, shuffle=False))


def test_fractions_are_rounded_stochastically():
    # Over E epochs the count of an image is floor(r) E + Binomial(E, fraction).
    factors = np.array([1.0, 1.25, 2.5, 0.1, 3.99])
    epochs = 4000
    rng = np.random.default_rng(0)
    counts = np.array(
        [np.bincount(epoch_indices(factors, rng), minlength=5) for _ in range(epochs)]
    )
    assert ((counts == np.floor(factors)) | (counts == np.floor(factors) + 1)).all()
    assert (counts[:, 0] == 1).all()
    fraction = factors - np.floor(factors)
    five_sigma = 5 * np.sqrt(fraction * (1 - fraction) / epochs)
    assert (np.abs(counts.mean(axis=0) - factors) <= five_sigma).all()


def test_shuffle_reaches_every_position():
    rng = np.random.default_rng(0)
    first = np.array([epoch_indices(np.ones(4), rng)[0] for _ in range(4000)])
    shares = np.bincount(first, minlength=4) / 4000
    assert np.abs(shares - 0.25).max() < 5 * sqrt(0.25 * 0.75 / 4000)


@pytest.mark.parametrize(
    "factors, message",
    [
        ([1.0, -0.5], "minimum -0.5"),
        ([1.0, float("nan")], "finite, non-negative"),
        ([[1.0]], r"got shape \(1, 1\)"),
    ],
)
def test_epoch_errors(factors, message):
    with pytest.raises(InputError, match=message):
        epoch_indices(np.array(factors), np.random.default_rng(0))


FACTORS = np.array([1.5, 1.0, 3.3, 0.2])


def test_a_stream_is_epoch_after_epoch():
    epochs = [epoch_indices(FACTORS, np.random.default_rng((7, e))).tolist() for e in range(5)]
    expected = [*chain.from_iterable(epochs)]
    assert list(islice(endless_draws(FACTORS, 7), len(expected))) == expected
    assert list(islice(endless_draws(FACTORS, 8), len(expected))) != expected


@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
def test_the_ranks_together_draw_what_one_draws(world_size):
    alone = list(islice(endless_draws(FACTORS, 7), 20 * world_size))
    ranks = [list(islice(endless_draws(FACTORS, 7, k, world_size), 20)) for k in range(world_size)]
    assert [i for step in zip(*ranks) for i in step] == alone


@pytest.mark.parametrize("start", [0, 1, 17, 1000])
def test_a_stream_starts_anywhere(start):
    whole = list(islice(endless_draws(FACTORS, 7, 1, 3), start + 20))
    assert list(islice(endless_draws(FACTORS, 7, 1, 3, start), 20)) == whole[start:]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((np.zeros(3), 0), "the factors of all 3 images are 0"),
        ((FACTORS, -1), "seed -1 of the draws"),
        ((FACTORS, 0, 2, 2), "rank 2: expected 0 to 1"),
        ((FACTORS, 0, 0, 1, -1), "start -1: expected 0 or more"),
    ],
)
def test_stream_errors(arguments, message):
    with pytest.raises(InputError, match=message):
        endless_draws(*arguments)
