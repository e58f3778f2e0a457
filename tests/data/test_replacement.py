from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from mf_plugin.data.draws import plan_draws
from mf_plugin.data.image_categories import ImageCategories
from mf_plugin.data.replacement import make_replacement
from mf_plugin.data.sampling import epoch_indices, repeat_factors
from mf_plugin.errors import InputError

# Three real images (ids 11, 12, 13); of 11 there are two versions, of 13 one, of 99 nothing real.
IDS = [11, 12, 13, 1, 2, 3, 4]
SOURCES = [None, None, None, 13, 11, 11, 99]
FOLDERS = np.array([-1, -1, -1, 0, 0, 0, 0])
DRAWS = np.repeat([0, 1, 2], 20_000)


def counts(replacement, draws=DRAWS, seed=0):
    replaced = replacement.replace(draws, np.random.default_rng(seed))
    return np.array([np.bincount(replaced[draws == i], minlength=7) for i in range(3)])


def test_a_real_image_gives_way_to_its_own_versions_uniformly():
    found = counts(make_replacement(IDS, SOURCES, FOLDERS, 0.6)) / 20_000
    expected = np.zeros((3, 7))
    expected[0, [0, 4, 5]] = 0.4, 0.3, 0.3
    expected[1, 1] = 1.0  # there is none of it: never replaced
    expected[2, [2, 3]] = 0.4, 0.6
    assert np.array_equal(found > 0, expected > 0)
    assert np.abs(found - expected).max() < 0.012  # 3.5 standard deviations of 20,000 draws


def test_certainty_replaces_every_image_that_has_a_version():
    found = counts(make_replacement(IDS, SOURCES, FOLDERS, 1.0))
    assert found[0, 0] == found[2, 2] == 0 and found[1, 1] == 20_000


def test_images_without_a_source_stand_for_any():
    found = counts(make_replacement(IDS, [None] * 7, FOLDERS, 0.5)) / 20_000
    assert np.abs(found[:, 3:] - 0.125).max() < 0.01
    assert np.abs(np.diag(found) - 0.5).max() < 0.013


def test_each_folder_has_its_own_probability():
    folders = np.array([-1, -1, -1, 0, 0, 0, 1])
    sources = [None, None, None, 13, 11, 11, None]
    found = counts(make_replacement(IDS, sources, folders, [0.5, 0.25])) / 20_000
    expected = np.zeros((3, 7))
    expected[0, [0, 4, 5, 6]] = 0.25, 0.25, 0.25, 0.25
    expected[1, [1, 6]] = 0.75, 0.25
    expected[2, [2, 3, 6]] = 0.25, 0.5, 0.25
    assert np.array_equal(found > 0, expected > 0)
    assert np.abs(found - expected).max() < 0.012


def test_what_is_expected_is_what_is_seen():
    folders = np.array([-1, -1, -1, 0, 0, 0, 1])
    replacement = make_replacement(IDS, [*SOURCES[:6], None], folders, [0.5, 0.25])
    factors = np.array([2.0, 1.0, 1.5, 0, 0, 0, 0])
    # pool 0 moves 1.0 of image 11 and 0.75 of 13; pool 1 a quarter of all
    assert replacement.expected(factors) == pytest.approx([0.5, 0.75, 0.375, 0.75, 0.5, 0.5, 1.125])
    assert replacement.expected(factors).sum() == pytest.approx(4.5)


def test_a_repeated_real_image_has_the_same_versions():
    replacement = make_replacement([5, 5, 1], [None, None, 5], np.array([-1, -1, 0]), 1.0)
    draws = np.array([0, 1, 1])
    assert replacement.replace(draws, np.random.default_rng(0)).tolist() == [2, 2, 2]


@pytest.mark.parametrize(
    "sources, folders, probability, message",
    [
        (SOURCES, FOLDERS, 0, "above 0 and up to 1, got 0"),
        (SOURCES, FOLDERS, 1.5, "above 0 and up to 1, got 1.5"),
        (SOURCES, FOLDERS, [0.2, 0.3], "2 probabilities for 1 synthetic folders"),
        (SOURCES, np.array([-1, -1, -1, 0, 0, 1, 1]), [0.6, 0.6], "add up to 1.2"),
        ([None] * 3 + [7] * 4, FOLDERS, 0.5, "none of the 4 synthetic images .* names image 7"),
    ],
)
def test_bad_input_is_named(sources, folders, probability, message):
    with pytest.raises(InputError, match=message):
        make_replacement(IDS, sources, folders, probability)


# ---------------------------------------------------------------- with repeat factors

LABELS = [[0], [0, 1], [0], [1], [0], [0], [2]]


def plan(policy, ratio=None, folders=FOLDERS):
    table = ImageCategories.from_lists(LABELS)
    return plan_draws(table, folders, 0.75, policy, ratio, lambda: (IDS, SOURCES))


def test_the_real_images_alone_set_the_factors():
    draws = plan("replace", 0.5)
    alone = repeat_factors(LABELS[:3], 0.75)
    assert alone == pytest.approx([1, 1.5, 1])  # f(1) = 1/3: sqrt(0.75 * 3)
    assert draws.factors.tolist() == [*alone, 0, 0, 0, 0]
    assert draws.seen == pytest.approx([0.5, 1.5, 0.5, 0.5, 0.25, 0.25, 0])
    assert "an epoch draws 2 times from 3 real and 1 times from 4 synthetic" in draws.text


def test_epochs_follow_one_another_on_all_ranks():
    draws = plan("replace", 0.5)
    expected = []
    for epoch in range(8):
        rng = np.random.default_rng((3, epoch))
        expected += draws.replacement.replace(epoch_indices(draws.factors, rng), rng).tolist()
    assert list(islice(draws.endless(3), 20)) == expected[:20]
    ranks = [list(islice(draws.endless(3, rank, 2), 8)) for rank in range(2)]
    assert [i for pair in zip(*ranks) for i in pair] == expected[:16]
    assert list(islice(draws.endless(3, 1, 2, start=4), 4)) == ranks[1][4:]
    assert {i for i in expected if i > 2} and 6 not in expected


def test_synthetic_images_alone():
    draws = plan("synthetic")
    # f over the four synthetic images: 1/4 of category 1, 1/2 of 0, 1/4 of 2
    assert draws.factors == pytest.approx([0, 0, 0, 3**0.5, 1.5**0.5, 1.5**0.5, 3**0.5])
    assert draws.replacement is None
    assert min(islice(draws.endless(0), 30)) == 3


def test_each_folder_has_its_own_share():
    folders = np.array([-1, -1, -1, 0, 0, 0, 1])
    factors = plan("ratio", [0.3, 0.2], folders).factors
    assert factors[3:6].sum() / factors.sum() == pytest.approx(0.3)
    assert factors[6] / factors.sum() == pytest.approx(0.2)
    assert factors[:3] == pytest.approx([1, 1.5, 1])


@pytest.mark.parametrize(
    "policy, ratio, message",
    [
        ("replace", None, "expects a probability, got None"),
        ("ratio", [0.3, 0.3], "2 ratios for 1 synthetic folders"),
        ("ratio", [0.5, 0.5], "add up to 1: expected below 1"),
        ("ratio", [0.5, "x"], "between 0 and 1, got 'x'"),
        ("synthetic", 0.5, "no effect under policy 'synthetic'"),
    ],
)
def test_a_policy_that_lacks_what_it_needs_is_named(policy, ratio, message):
    with pytest.raises(InputError, match=message):
        plan(policy, ratio)


@pytest.mark.parametrize("policy", ["replace", "synthetic"])
def test_there_have_to_be_synthetic_images(policy):
    ratio = 0.5 if policy == "replace" else None
    with pytest.raises(InputError, match=f"policy '{policy}' expects .*synthetic"):
        plan(policy, ratio, np.full(7, -1))
