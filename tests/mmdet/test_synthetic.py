from __future__ import annotations

from pathlib import Path

import pytest
from mf_plugin.mmdet import with_synthetic, without_synthetic
from mmengine.config import Config

from mf_plugin.errors import InputError

CONFIGS = Path(__file__).parents[2] / "configs/mmdet"
PIPELINE = [dict(type="LoadImageFromFile")]


def leaf(kind="LVISV1Dataset", **kwargs):
    return dict(type=kind, ann_file="a.json", pipeline=PIPELINE, **kwargs)


def config(dataset, sampler=None, train_cfg=None):
    loader = dict(batch_size=2, dataset=dataset)
    if sampler:
        loader["sampler"] = sampler
    return Config(dict(train_dataloader=loader, train_cfg=train_cfg or dict(max_epochs=12)))


def kinds(dataset):
    return [d["type"] for d in dataset["datasets"]]


def test_class_balanced_gives_way_to_our_sampler():
    filters = dict(filter_empty_gt=True, min_size=32)
    cfg = config(
        dict(
            type="ClassBalancedDataset", oversample_thr=1e-3, dataset=leaf(filter_cfg=filters)
        ),
        dict(type="DefaultSampler", shuffle=True),
    )
    changed = with_synthetic(cfg, "some/folder", policy="real").train_dataloader
    assert changed.dataset.type == "LVISConcatDataset"
    assert changed.dataset.datasets[1] == dict(
        type="SyntheticLVISDataset", root="some/folder", pipeline=PIPELINE, filter_cfg=filters
    )
    assert changed.sampler == dict(
        type="RepeatFactorSampler",
        threshold=1e-3,
        epoch="real",
        policy="real",
        synthetic_ratio=None,
    )
    assert cfg.train_dataloader.dataset.type == "ClassBalancedDataset", "the input is untouched"


def test_loops_by_iteration_draw_without_end():
    cfg = config(leaf(), dict(type="InfiniteSampler"), dict(max_iters=10))
    sampler = with_synthetic(cfg, "f", ratio=0.3).train_dataloader.sampler
    assert (sampler.epoch, sampler.policy, sampler.synthetic_ratio) == ("endless", "ratio", 0.3)
    assert sampler.threshold == 0


def test_wrappers_stay_around_the_union():
    cfg = config(dict(type="RepeatDataset", times=3, dataset=leaf()))
    dataset = with_synthetic(cfg, "f").train_dataloader.dataset
    assert (dataset.type, dataset.times) == ("RepeatDataset", 3)
    assert kinds(dataset.dataset) == ["LVISV1Dataset", "SyntheticLVISDataset"]

    cfg = config(dict(type="ConcatDataset", datasets=[leaf(), leaf()]))
    dataset = with_synthetic(cfg, "f").train_dataloader.dataset
    assert kinds(dataset) == ["LVISV1Dataset", "LVISV1Dataset", "SyntheticLVISDataset"]


def test_another_folder_takes_the_place_of_the_first_one():
    cfg = with_synthetic(with_synthetic(config(leaf()), "one"), "two")
    datasets = cfg.train_dataloader.dataset.datasets
    assert [d.get("root") for d in datasets] == [None, "two"]
    assert without_synthetic(cfg).train_dataloader.dataset == leaf()


def test_the_demo_arms_differ_in_the_data_alone():
    arms = [
        Config.fromfile(CONFIGS / f"mask-rcnn_r18_fpn_minilvis-demo{suffix}.py")
        for suffix in ("", "_mosaicfusion")
    ]
    assert without_synthetic(arms[1]).train_dataloader == arms[0].train_dataloader
    plain = [arm.to_dict() for arm in arms]
    different = {key for key in plain[0] if plain[0][key] != plain[1][key]}
    assert different == {"work_dir", "test_evaluator", "train_dataloader"}
    loaders = [arm["train_dataloader"] for arm in plain]
    assert {k for k in loaders[0] if loaders[0][k] != loaders[1][k]} == {"dataset"}


@pytest.mark.parametrize(
    "dataset, sampler, message",
    [
        (leaf("CocoPanopticDataset"), None, "training set of type CocoPanopticDataset"),
        (dict(type="ConcatDataset", datasets=[leaf("VOCDataset")]), None, "of VOCDataset"),
        (leaf(), dict(type="MultiSourceSampler"), "the sampler MultiSourceSampler"),
        (leaf("SyntheticLVISDataset"), None, "synthetic data alone"),
    ],
)
def test_what_is_not_handled_is_refused(dataset, sampler, message):
    with pytest.raises(InputError, match=message):
        with_synthetic(config(dataset, sampler), "f")


def test_a_config_without_training_is_refused():
    with pytest.raises(InputError, match="no train_dataloader"):
        with_synthetic(Config(dict(model=dict())), "f")
