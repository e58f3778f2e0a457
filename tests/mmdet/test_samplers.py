from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from itertools import islice
from math import ceil
from pathlib import Path

import numpy as np
import pytest

from mf_plugin.data.sampling import epoch_indices, repeat_factors
from mf_plugin.errors import InputError
from mf_plugin.mmdet import LVISConcatDataset, RepeatFactorSampler, samplers


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


def rank_samplers(monkeypatch, world_size, **kwargs):
    samplers_of_ranks = []
    for rank in range(world_size):
        monkeypatch.setattr(samplers, "get_dist_info", lambda rank=rank: (rank, world_size))
        samplers_of_ranks.append(
            RepeatFactorSampler(Images(LABELS, SYNTHETIC), 0.9, seed=3, **kwargs)
        )
    return samplers_of_ranks


def in_turn(ranks):
    """The draws of the ranks in the order of the stream."""
    return [i for step in zip(*ranks, strict=True) for i in step]


@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
def test_the_ranks_together_draw_what_one_rank_draws(monkeypatch, world_size):
    factors = repeat_factors(LABELS, 0.9)
    ranks = [list(islice(s, 10)) for s in rank_samplers(monkeypatch, world_size)]
    assert in_turn(ranks) == draws(20, factors)[: 10 * world_size]


@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
def test_real_epochs_of_the_ranks_follow_one_another_in_the_stream(monkeypatch, world_size):
    ranks = rank_samplers(monkeypatch, world_size, policy="real", epoch="real")
    stream = draws(20, ranks[0].factors)
    length = ceil(6 / world_size)  # r = sqrt(0.9 / 0.25) = 1.9, 2 copies, for two of four images
    assert {len(s) for s in ranks} == {length}
    together = []
    for epoch in range(3):
        for sampler in ranks:
            sampler.set_epoch(epoch)
        together += in_turn([list(sampler) for sampler in ranks])
    assert together == stream[: 3 * length * world_size]


TWO_RANKS = """
import json, os, sys
from itertools import islice
import numpy as np
import torch.distributed as dist
dist.init_process_group("gloo", init_method=sys.argv[1], rank=int(sys.argv[2]), world_size=2)
from mf_plugin.mmdet.samplers import RepeatFactorSampler

class Images:
    labels, is_synthetic = json.loads(sys.argv[3]), np.array(json.loads(sys.argv[4]))
    def __len__(self):
        return len(self.labels)
    def get_cat_ids(self, idx):
        return self.labels[idx]

np.random.seed(dist.get_rank())  # the ranks have to agree on a seed all the same
endless = RepeatFactorSampler(Images(), 0.9, "real")
epochs = RepeatFactorSampler(Images(), 0.9, "real", epoch="real", seed=endless.seed)
found = [endless.seed, list(islice(endless, 30)), list(epochs)]
json.dump(found, open(sys.argv[5], "w"))
dist.barrier()
"""


def test_two_processes_draw_what_one_draws(tmp_path):
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{found.getsockname()[1]}"
    outputs = [tmp_path / f"{rank}.json" for rank in range(2)]
    data = [json.dumps(LABELS), json.dumps(SYNTHETIC.tolist())]
    env = {**os.environ, "PYTHONPATH": str(Path(samplers.__file__).parents[2])}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", TWO_RANKS, address, str(rank), *data, str(output)], env=env
        )
        for rank, output in enumerate(outputs)
    ]
    assert [rank.wait(timeout=300) for rank in ranks] == [0, 0]
    (seed, endless, epoch), (other_seed, other_endless, other_epoch) = (
        json.loads(output.read_text()) for output in outputs
    )
    assert seed == other_seed
    stream = draws(30, repeat_factors(LABELS, 0.9, "real", SYNTHETIC), seed)
    assert in_turn([endless, other_endless]) == stream[:60]
    assert in_turn([epoch, other_epoch]) == stream[: 2 * len(epoch)]


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


def test_a_resumed_iteration_based_run_goes_on_within_a_real_epoch():
    kwargs = dict(threshold=0.0, policy="real", epoch="real", seed=3)
    resumed = RepeatFactorSampler(Images(LABELS, SYNTHETIC), **kwargs)
    resumed.skip(4 + 3)  # an epoch and three draws; the loop counts epochs from 0 again
    first = list(resumed)
    resumed.set_epoch(1)
    second = list(resumed)
    assert first + second == draws(3, np.ones(6))[7:12]
    assert (len(first), len(second)) == (1, 4)


def test_the_expected_instances_are_logged(monkeypatch):
    lines = []
    monkeypatch.setattr(samplers, "print_log", lambda text, **_: lines.extend(text.split("\n")))
    RepeatFactorSampler(Images(LABELS, SYNTHETIC), 0.9, "real", seed=3)
    assert "from 4 real and 2 times from 2 synthetic images" in lines[0]
    assert [line.split()[:5] for line in lines[2:]] == [
        ["rare", "3", "4", "6", "1"],
        ["all", "3", "4", "6", "1"],
    ]


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
    assert (
        sampler.factors.tolist()
        == repeat_factors(LABELS * 2, 0.9, "real", np.tile(SYNTHETIC, 2)).tolist()
    )


@pytest.mark.parametrize(
    "kwargs, message",
    [
        (dict(epoch="half"), "epoch 'half'"),
        (dict(policy="none"), "unknown policy 'none'"),
        (dict(policy="ratio"), "ratio between 0 and 1"),
        (dict(seed=-1), "seed -1 of the draws"),
    ],
)
def test_bad_arguments_are_named(kwargs, message):
    with pytest.raises(InputError, match=message):
        iter(RepeatFactorSampler(Images(LABELS, SYNTHETIC), 0.9, **{"seed": 0, **kwargs}))


def test_a_dataset_whose_images_are_filtered_out_is_named(lvis_folder, tmp_path):
    from mmengine.dataset import RepeatDataset

    from mf_plugin.mmdet import LVISJsonDataset

    root = lvis_folder(tmp_path / "real", [[], []])
    filters = dict(filter_cfg=dict(filter_empty_gt=True, min_size=1))
    message = f"{root / 'annotations.json'} has no images: expected one or more"
    with pytest.raises(InputError, match=message):
        LVISJsonDataset("annotations.json", str(root), **filters)
    empty = LVISJsonDataset("annotations.json", str(root), serialize_data=False, **filters)
    with pytest.raises(InputError, match=f"the training set {message}"):
        RepeatFactorSampler(LVISConcatDataset([RepeatDataset(empty, times=2)]), seed=0)


def test_an_empty_dataset_is_refused():
    with pytest.raises(InputError, match="the training set Images has no images: expected one"):
        RepeatFactorSampler(Images([]), seed=0)
    with pytest.raises(InputError, match="expected real images, all are synthetic"):
        RepeatFactorSampler(Images([[0]], True), seed=0, epoch="real")
