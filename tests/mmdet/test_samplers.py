from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from mf_plugin.mmdet import LVISConcatDataset, RepeatFactorSampler

from mf_plugin.data.sampling import epoch_indices, repeat_factors
from mf_plugin.errors import InputError
from mf_plugin.mmdet import samplers


class Images:
    """A dataset with the labels of its images, and nothing else."""

    def __init__(self, labels, synthetic=False):
        self.labels = labels
        self.is_synthetic = synthetic

    def __len__(self):
        return len(self.labels)

    def get_cat_ids(self, idx):
        return self.labels[idx]


LABELS = [[0], [0, 1], [0], [0, 2], [0], []]
SYNTHETIC = np.array([False, False, False, False, True, True])


def draws(epochs, factors, seed=3):
    return np.concatenate(
        [epoch_indices(factors, np.random.default_rng((seed, e))) for e in range(epochs)]
    ).tolist()


@pytest.mark.parametrize("policy, ratio", [("joint", None), ("real", None), ("ratio", 0.4)])
def test_draws_are_those_of_the_sampling_module(policy, ratio):
    sampler = RepeatFactorSampler(Images(LABELS, SYNTHETIC), 0.9, policy, ratio, seed=3)
    factors = repeat_factors(LABELS, 0.9, policy, SYNTHETIC, ratio)
    expected = draws(4, factors)
    assert sampler.factors.tolist() == factors.tolist()
    assert list(islice(sampler, len(expected))) == expected


def test_the_ranks_together_draw_what_one_rank_draws(monkeypatch):
    alone = list(islice(RepeatFactorSampler(Images(LABELS), 0.9, seed=3), 30))
    ranks = []
    for rank in range(3):
        monkeypatch.setattr(samplers, "get_dist_info", lambda rank=rank: (rank, 3))
        ranks.append(list(islice(RepeatFactorSampler(Images(LABELS), 0.9, seed=3), 10)))
    assert [i for step in zip(*ranks) for i in step] == alone


def test_resuming_goes_on_in_the_stream():
    whole = list(islice(RepeatFactorSampler(Images(LABELS), 0.9, seed=3), 30))
    resumed = RepeatFactorSampler(Images(LABELS), 0.9, seed=3)
    resumed.skip(17)
    assert list(islice(resumed, 13)) == whole[17:]


def test_epochs_keep_the_length_of_the_real_images():
    sampler = RepeatFactorSampler(Images(LABELS, SYNTHETIC), 0.0, "real", epoch="real", seed=3)
    assert len(sampler) == 4
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    assert first + second == draws(3, np.ones(6))[:8]
    # ClassBalancedDataset rounds r(c) = sqrt(1 / 0.25) = 2 up to 2 copies, for two of four images
    assert len(RepeatFactorSampler(Images(LABELS, SYNTHETIC), 1.0, epoch="real", seed=3)) == 6


def test_factors_from_real_folders(real, synthetic):
    from mf_plugin.mmdet import LVISJsonDataset, SyntheticLVISDataset

    union = LVISConcatDataset(
        [
            LVISJsonDataset("annotations.json", str(real / "train")),
            SyntheticLVISDataset(str(synthetic)),
        ]
    )
    # joint: cup 3/6, anvil 3/6, bow 2/6; t = 0.75: sqrt(1.5), sqrt(1.5), 1.5
    joint = RepeatFactorSampler(union, 0.75, seed=0).factors
    assert joint == pytest.approx([1.5**0.5, 1.5**0.5, 1.5, 1.5, 1.5**0.5, 1.5**0.5])
    # real: cup 3/4, anvil 1/4, bow 2/4
    alone = RepeatFactorSampler(union, 0.75, "real", seed=0).factors
    assert alone == pytest.approx([1, 3**0.5, 1.5**0.5, 1.5**0.5, 1, 1])


def test_wrapped_datasets_are_read_through():
    from mmengine.dataset import RepeatDataset

    class Wrapped(Images):
        metainfo = {}

        def full_init(self):
            pass

        def get_data_info(self, idx):
            return {"instances": [{"bbox_label": c} for c in self.labels[idx]]}

    repeated = RepeatDataset.__new__(RepeatDataset)
    repeated.dataset, repeated.times = Wrapped(LABELS, SYNTHETIC), 2
    repeated._ori_len, repeated._fully_initialized = 6, True
    sampler = RepeatFactorSampler(repeated, 0.9, "real", seed=0)
    assert sampler.factors.tolist() == repeat_factors(
        LABELS * 2, 0.9, "real", np.tile(SYNTHETIC, 2)
    ).tolist()


@pytest.mark.parametrize(
    "kwargs, message",
    [
        (dict(epoch="half"), "epoch 'half'"),
        (dict(policy="none"), "unknown policy 'none'"),
        (dict(policy="ratio"), "ratio between 0 and 1"),
    ],
)
def test_bad_arguments_are_named(kwargs, message):
    with pytest.raises(InputError, match=message):
        RepeatFactorSampler(Images(LABELS, SYNTHETIC), 0.9, seed=0, **kwargs)


def test_an_empty_dataset_is_refused():
    with pytest.raises(InputError, match="training set is empty"):
        RepeatFactorSampler(Images([]), seed=0)
