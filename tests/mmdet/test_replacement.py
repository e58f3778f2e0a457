"""Several synthetic folders, replacement and pre-training, through datasets and config."""

from __future__ import annotations

import json
from itertools import islice

import numpy as np
import pytest
from mmdet.registry import DATA_SAMPLERS, DATASETS
from mmengine.config import Config
from mmengine.dataset import RepeatDataset

from mf_plugin.data.draws import plan_draws
from mf_plugin.errors import InputError
from mf_plugin.mmdet import (
    LVISConcatDataset,
    LVISJsonDataset,
    RepeatFactorSampler,
    SyntheticLVISDataset,
    with_synthetic,
    without_synthetic,
)
from mf_plugin.mmdet.image_categories import image_categories
from mf_plugin.mmdet.image_sources import image_sources, synthetic_folders
from mf_plugin.mmdet.training import TrainingOptions, build_config


@pytest.fixture()
def seggen(tmp_path, lvis_folder):
    """Three synthetic images: two made of the real image 2, one of 4."""
    folder = lvis_folder(tmp_path / "seggen", [[7, 2], [7, 2], [5]], first_id=50)
    path = folder / "annotations.json"
    data = json.loads(path.read_text())
    for image, source in zip(data["images"], (2, 2, 4)):
        image["source_image_id"] = source
    path.write_text(json.dumps(data))
    (folder / "dataset.json").write_text(json.dumps({"config_hash": "x", "config": {}}))
    return folder


@pytest.fixture()
def union(real, synthetic, seggen):
    return LVISConcatDataset(
        [
            LVISJsonDataset("annotations.json", str(real / "train")),
            SyntheticLVISDataset(str(synthetic)),
            SyntheticLVISDataset(str(seggen)),
        ]
    )


def test_where_images_come_from(union, real, synthetic, seggen):
    folders = [-1] * 4 + [0] * 2 + [1] * 3
    ids, sources = image_sources(union)
    assert synthetic_folders(union).tolist() == folders
    assert ids == [1, 2, 3, 4, 1000, 1001, 50, 51, 52]
    assert sources == [None] * 6 + [2, 2, 4]
    parts = [
        dict(type="LVISJsonDataset", ann_file="annotations.json", data_root=str(real / "train")),
        dict(type="SyntheticLVISDataset", root=str(synthetic)),
        dict(type="SyntheticLVISDataset", root=str(seggen)),
    ]
    repeated = RepeatDataset(dict(type="LVISConcatDataset", datasets=parts), times=2)
    assert synthetic_folders(repeated).tolist() == folders * 2
    assert image_sources(repeated)[1] == sources * 2


def test_a_dataset_that_pickles_nothing_knows_them_too(seggen):
    loose = SyntheticLVISDataset(str(seggen), serialize_data=False)
    assert image_sources(loose) == ([50, 51, 52], [2, 2, 4])


def test_real_images_give_way_to_their_own_versions(union):
    sampler = RepeatFactorSampler(union, 0.0, "replace", [0.2, 0.5], seed=3)
    expected = plan_draws(
        image_categories(union),
        synthetic_folders(union),
        0.0,
        "replace",
        [0.2, 0.5],
        lambda: image_sources(union),
    )
    draws = list(islice(sampler, 400))
    assert draws == list(islice(expected.endless(3), 400))
    # images 2 and 4 (indices 1 and 3) have versions; MosaicFusion's stand for any
    counts = np.bincount(draws, minlength=9) / 100  # 100 epochs of four real draws
    assert counts == pytest.approx([0.8, 0.3, 0.8, 0.3, 0.4, 0.4, 0.25, 0.25, 0.5], abs=0.17)
    assert sampler.factors.tolist() == [1] * 4 + [0] * 5


def test_synthetic_images_alone(union):
    sampler = RepeatFactorSampler(union, 0.0, "synthetic", epoch="real", seed=3)
    assert len(sampler) == 4, "an epoch keeps the real images' length"
    assert min(list(sampler)) >= 4


def test_several_folders_by_config(tiny_config, synthetic, seggen):
    cfg = with_synthetic(
        Config.fromfile(tiny_config), [str(synthetic), str(seggen)], ratio=(0.3, 0.2)
    )
    own, first, second = cfg.train_dataloader.dataset.datasets
    assert (first.root, second.root) == (str(synthetic), str(seggen))
    assert first.pipeline == second.pipeline == own.pipeline
    sampler = cfg.train_dataloader.sampler
    assert (sampler.policy, sampler.synthetic_ratio) == ("ratio", [0.3, 0.2])
    built = DATA_SAMPLERS.build(
        dict(sampler, seed=0),
        default_args=dict(dataset=DATASETS.build(cfg.train_dataloader.dataset)),
    )
    share = built.factors / built.factors.sum()
    assert share[4:6].sum() == pytest.approx(0.3) and share[6:].sum() == pytest.approx(0.2)

    # a config that was dumped says the same when it is read
    again = Config.fromstring(cfg.pretty_text, ".py")
    assert again.train_dataloader.to_dict() == cfg.train_dataloader.to_dict()
    assert without_synthetic(again).train_dataloader.sampler.policy == "joint"
    with pytest.raises(InputError, match="is given twice"):
        with_synthetic(cfg, [str(seggen), f"{seggen}/"])


def options(config, **given):
    return build_config(TrainingOptions(str(config), work_dir="work", **given))


def test_the_command_line_reaches_the_sampler(tiny_config, synthetic, seggen):
    both = (str(synthetic), str(seggen))
    replace = options(tiny_config, synthetic=both, policy="replace", synthetic_ratio=[0.6])
    assert replace.train_dataloader.sampler.policy == "replace"
    assert replace.train_dataloader.sampler.synthetic_ratio == 0.6
    only = options(tiny_config, synthetic=str(seggen), synthetic_only=True)
    assert only.train_dataloader.sampler.policy == "synthetic"
    assert len(only.train_dataloader.dataset.datasets) == 2
    assert only.train_cfg == options(tiny_config).train_cfg, "the same schedule"


@pytest.mark.parametrize(
    "given, message",
    [
        (dict(no_synthetic=True, synthetic_only=True), "--no-synthetic excludes"),
        (dict(synthetic="a", synthetic_ratio=[0.1, 0.2]), "2 numbers for 1 --synthetic"),
    ],
)
def test_options_that_contradict_one_another(tiny_config, given, message):
    with pytest.raises(InputError, match=message):
        options(tiny_config, **given)


def test_pasting_real_objects_is_no_training_on_synthetic_images_alone(tiny_config, seggen):
    cfg = Config.fromfile(tiny_config)
    cfg.train_dataloader.dataset = dict(
        type="MultiImageMixDataset", dataset=cfg.train_dataloader.dataset, pipeline=[]
    )
    with pytest.raises(InputError, match="would paste real images"):
        with_synthetic(cfg, str(seggen), policy="synthetic")


def test_missing_weights_are_named_before_the_training(tiny_config, tmp_path):
    from mf_plugin.mmdet.training import check_weights

    missing = tmp_path / "pretrained.pth"
    with pytest.raises(InputError, match="pretrained.pth does not exist: train it first"):
        check_weights(Config(dict(load_from=str(missing))))
    missing.touch()
    check_weights(Config(dict(load_from=str(missing))))
    check_weights(Config(dict(load_from="https://somewhere/x.pth")))
