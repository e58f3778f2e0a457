from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from mf_plugin.data.sampling import epoch_indices, repeat_factors
from mf_plugin.detectron2.samplers import RepeatFactorSampler, sampler_for
from mf_plugin.errors import InputError

LABELS = [[0], [0, 1], [0], [0, 2], [0], []]
SYNTHETIC = [False, False, False, False, True, True]


def records(labels=LABELS, synthetic=SYNTHETIC):
    return [
        {"annotations": [{"category_id": c} for c in ids * 2]} | ({"synthetic": True} if s else {})
        for ids, s in zip(labels, synthetic)
    ]


@pytest.mark.parametrize("policy, ratio", [("joint", None), ("real", None), ("ratio", 0.4)])
def test_draws_are_those_of_the_sampling_module(policy, ratio):
    sampler = sampler_for(records(), 0.9, policy, ratio, seed=3)
    factors = repeat_factors(LABELS, 0.9, policy, np.array(SYNTHETIC), ratio)
    expected = np.concatenate(
        [epoch_indices(factors, np.random.default_rng((3, epoch))) for epoch in range(4)]
    ).tolist()
    assert sampler.factors.tolist() == factors.tolist()
    assert list(islice(sampler, len(expected))) == expected


def test_draws_are_those_of_the_mmdet_adapter():
    pytest.importorskip("mmdet", reason="MMDetection is not installed")
    from mf_plugin.mmdet import RepeatFactorSampler as MMDetSampler

    class Images:
        is_synthetic = np.array(SYNTHETIC)

        def __len__(self):
            return len(LABELS)

        def get_cat_ids(self, idx):
            return LABELS[idx]

    theirs = MMDetSampler(Images(), 0.9, "real", seed=5)
    assert list(islice(sampler_for(records(), 0.9, "real", None, seed=5), 40)) == list(
        islice(theirs, 40)
    )


@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
def test_the_ranks_together_draw_what_one_rank_draws(world_size):
    factors = np.array([1.5, 1.0, 3.3])
    alone = list(islice(RepeatFactorSampler(factors, 3), 10 * world_size))
    ranks = [
        list(islice(RepeatFactorSampler(factors, 3, rank, world_size), 10))
        for rank in range(world_size)
    ]
    assert [i for step in zip(*ranks) for i in step] == alone


def test_the_expected_instances_are_logged(caplog):
    with caplog.at_level("INFO", "mf_plugin.detectron2.samplers"):
        sampler_for(records(), 0.9, "real", None, seed=3)
    lines = caplog.messages[0].splitlines()
    assert "from 4 real and 2 times from 2 synthetic images" in lines[0]
    assert [line.split()[:5] for line in lines[2:]] == [
        ["rare", "3", "4", "12", "2"],
        ["all", "3", "4", "12", "2"],
    ]


def test_resuming_goes_on_in_the_stream():
    factors = np.array([1.5, 1.0, 3.3])
    whole = list(islice(RepeatFactorSampler(factors, 3, 1, 2), 30))
    resumed = RepeatFactorSampler(factors, 3, 1, 2)
    resumed.skip(17)
    assert list(islice(resumed, 13)) == whole[17:]


def test_factors_equal_detectron2s_own():
    pytest.importorskip("detectron2", reason="Detectron2 is not installed")
    from detectron2.data.samplers import RepeatFactorTrainingSampler

    rng = np.random.default_rng(0)
    labels = [rng.choice(40, rng.integers(0, 6), replace=False).tolist() for _ in range(300)]
    dicts = records(labels, [False] * 300)
    expected = RepeatFactorTrainingSampler.repeat_factors_from_category_frequency(dicts, 0.08)
    ours = sampler_for(dicts, 0.08, "joint", None, seed=0).factors
    assert ours == pytest.approx(expected.numpy(), abs=1e-6)
    assert ours.max() > 1.2


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: RepeatFactorSampler(np.zeros(0), 0), "training set has 0 images: expected"),
        (lambda: RepeatFactorSampler(np.ones(2), -1), "seed -1 of the sampler"),
        (lambda: sampler_for(records(), 0.9, "none", None, 0), "unknown policy 'none'"),
        (lambda: sampler_for(records(), 0.9, "ratio", None, 0), "ratio between 0 and 1"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
