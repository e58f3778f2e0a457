from __future__ import annotations

import os
from pathlib import Path

import pytest
from mmdet.datasets import CocoDataset, LVISV1Dataset
from mmdet.registry import DATASETS
from mmengine.config import Config

from mf_plugin.errors import InputError
from mf_plugin.mmdet import with_synthetic, without_synthetic

CONFIGS = Path(__file__).parents[2] / "configs/mmdet"
PIPELINE = [dict(type="LoadImageFromFile")]
SEMANTIC = [dict(type="LoadAnnotations", with_mask=True, with_seg=True)]
PANOPTIC = [dict(type="LoadPanopticMaps")]


def leaf(kind="LVISV1Dataset", **kwargs):
    return dict(type=kind, ann_file="a.json", pipeline=PIPELINE, **kwargs)


@DATASETS.register_module(force=True)
class MyCoco(CocoDataset):
    pass


@DATASETS.register_module(force=True)
class MyWrapper:
    def get_data_info(self, idx):
        raise NotImplementedError


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
        dict(type="ClassBalancedDataset", oversample_thr=1e-3, dataset=leaf(filter_cfg=filters)),
        dict(type="DefaultSampler", shuffle=True),
    )
    changed = with_synthetic(cfg, "some/folder", policy="real").train_dataloader
    assert changed.dataset.type == "LVISConcatDataset"
    assert changed.dataset.datasets[1] == dict(
        type="SyntheticLVISDataset",
        root=os.path.abspath("some/folder"),
        pipeline=PIPELINE,
        filter_cfg=filters,
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


def test_parts_that_are_balanced_in_a_union_stay_so():
    balanced = dict(type="ClassBalancedDataset", oversample_thr=0.1, dataset=leaf("CocoDataset"))
    cfg = config(dict(type="ConcatDataset", datasets=[balanced, leaf()]))
    loader = with_synthetic(cfg, "f").train_dataloader
    expected = ["ClassBalancedDataset", "LVISV1Dataset", "SyntheticLVISDataset"]
    assert kinds(loader.dataset) == expected
    assert (loader.dataset.type, loader.sampler.threshold) == ("LVISConcatDataset", 0)


def test_a_part_with_a_pipeline_in_two_halves_takes_the_union_inside():
    mixed = dict(type="MultiImageMixDataset", dataset=leaf("CocoDataset"), pipeline=[])
    cfg = config(dict(type="ConcatDataset", datasets=[mixed, mixed]))
    dataset = with_synthetic(cfg, "f").train_dataloader.dataset
    assert dataset.type == "ConcatDataset"
    assert kinds(dataset.datasets[0].dataset) == ["CocoDataset", "SyntheticLVISDataset"]
    assert dataset.datasets[1].dataset.type == "CocoDataset"


def test_a_users_own_classes_are_handled_as_their_parents_are():
    for kind in ("MyCoco", "mmdet.MyCoco", MyCoco):
        dataset = with_synthetic(config(leaf(kind)), "f").train_dataloader.dataset
        assert dataset.datasets[0].type == kind
    cfg = config(dict(type="MyWrapper", dataset=leaf("MyCoco")))
    dataset = with_synthetic(cfg, "f").train_dataloader.dataset
    assert kinds(dataset) == ["MyWrapper", "SyntheticLVISDataset"], "the union is around it"


def test_names_carry_a_scope_where_the_config_does_not_say_mmdets():
    cfg = config(leaf(LVISV1Dataset))
    loader = with_synthetic(cfg, "f").train_dataloader
    assert loader.dataset.type == "mmdet.LVISConcatDataset"
    assert loader.dataset.datasets[1].type == "mmdet.SyntheticLVISDataset"
    assert loader.sampler.type == "mmdet.RepeatFactorSampler"
    assert without_synthetic(with_synthetic(cfg, "f")).train_dataloader.dataset == leaf(
        LVISV1Dataset
    )


def test_a_generation_config_stands_for_a_folder_in_work_dirs():
    file = "configs/generation/minilvis_rare.py"
    synthetic = with_synthetic(config(leaf()), file).train_dataloader.dataset.datasets[1]
    assert synthetic.root == os.path.abspath("work_dirs/minilvis_rare")
    assert synthetic.generation_config == os.path.abspath(file)


def test_synthetic_images_come_from_the_local_disk():
    remote = [dict(type="LoadImageFromFile", backend_args=dict(backend="petrel"))]
    cfg = config(leaf() | dict(pipeline=remote, backend_args=dict(backend="petrel")))
    real, synthetic = with_synthetic(cfg, "f").train_dataloader.dataset.datasets
    assert real.pipeline == remote
    assert synthetic.pipeline == [dict(type="LoadImageFromFile", backend_args=None)]
    assert "backend_args" not in synthetic


def test_the_seed_of_the_sampler_stays_and_the_plugin_is_imported():
    cfg = config(leaf(), dict(type="DefaultSampler", seed=7))
    cfg.custom_imports = dict(imports="mmdet.datasets", allow_failed_imports=False)
    changed = with_synthetic(cfg, "f")
    assert changed.train_dataloader.sampler.seed == 7
    assert changed.custom_imports.imports == ["mf_plugin.mmdet", "mmdet.datasets"]


def test_another_folder_takes_the_place_of_the_first_one():
    cfg = with_synthetic(with_synthetic(config(leaf()), "one"), "two")
    datasets = cfg.train_dataloader.dataset.datasets
    assert [d.get("root") for d in datasets] == [None, os.path.abspath("two")]
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
        (dict(type="ConcatDataset", datasets=[leaf("CocoCaptionDataset")]), None, "CocoCaptionDat"),
        (leaf("ODVGDataset"), None, "annotated with texts"),
        (leaf("MyDataset"), None, "the dataset 'MyDataset' is not registered"),
        (leaf(proposal_file="p.pkl"), None, "proposal_file"),
        (dict(type="MyWrapper", dataset=leaf(), pipeline=[]), None, "of type MyWrapper"),
        (leaf() | dict(pipeline=SEMANTIC), None, "loads semantic maps .LoadAnnotations."),
        (leaf() | dict(pipeline=PANOPTIC), None, "loads panoptic maps .LoadPanopticMaps."),
        (dict(type="LVISV1Dataset", ann_file="a.json"), None, "names no pipeline"),
        (leaf(), dict(type="ClassAwareSampler"), "the sampler ClassAwareSampler"),
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
