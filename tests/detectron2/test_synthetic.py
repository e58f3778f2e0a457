from __future__ import annotations

import pytest

pytest.importorskip("detectron2", reason="Detectron2 is not installed")

from detectron2.config import CfgNode, LazyCall, LazyConfig, get_cfg, instantiate
from detectron2.data import build_detection_train_loader, get_detection_dataset_dicts
from detectron2.data.samplers import (
    RandomSubsetTrainingSampler,
    RepeatFactorTrainingSampler,
    TrainingSampler,
)
from omegaconf import OmegaConf

from mf_plugin.detectron2 import (
    add_mosaicfusion_config,
    catalog,
    register,
    register_from_config,
    with_synthetic,
    without_synthetic,
)
from mf_plugin.detectron2.loaders import build_lazy_train_loader, sampler_of
from mf_plugin.detectron2.synthetic import with_sampler
from mf_plugin.errors import InputError


@pytest.fixture(autouse=True)
def tiny(catalogs, real):
    register("tiny", real / "train", synthetic=False)


@pytest.fixture()
def cfg():
    cfg = get_cfg()
    cfg.DATASETS.TRAIN = ("tiny",)
    cfg.freeze()
    return cfg


def lazy(sampler=None, names="tiny"):
    loader = LazyCall(build_detection_train_loader)(
        dataset=LazyCall(get_detection_dataset_dicts)(names=names),
        mapper=None,
        total_batch_size=2,
        num_workers=0,
    )
    if sampler is not None:
        loader.sampler = sampler
    return OmegaConf.create({"dataloader": {"train": loader}}, flags={"allow_objects": True})


def repeating(**kwargs):
    factors = RepeatFactorTrainingSampler.repeat_factors_from_category_frequency
    return LazyCall(RepeatFactorTrainingSampler)(
        repeat_factors=LazyCall(factors)(
            dataset_dicts="${dataloader.train.dataset}", repeat_thresh=0.75, **kwargs
        )
    )


def test_yaml_config_takes_the_synthetic_set(cfg, synthetic):
    changed = with_synthetic(cfg, synthetic, policy="real")
    assert changed.DATASETS.TRAIN == ("tiny", "tiny_mosaicfusion")
    assert (changed.MOSAICFUSION.POLICY, changed.MOSAICFUSION.RATIO) == ("real", None)
    assert cfg.DATASETS.TRAIN == ("tiny",), "the input is untouched"
    assert len(get_detection_dataset_dicts(changed.DATASETS.TRAIN)) == 6
    assert with_synthetic(cfg, synthetic, ratio=0.4).MOSAICFUSION.POLICY == "ratio"
    back = without_synthetic(with_synthetic(cfg, synthetic, ratio=0.4))
    assert back.DATASETS.TRAIN == ("tiny",)
    assert (back.MOSAICFUSION.POLICY, back.MOSAICFUSION.RATIO) == ("joint", None)


def test_the_config_that_is_written_beside_a_run_stands_by_itself(catalogs, cfg, synthetic):
    """A new process has registered nothing; MOSAICFUSION.DATASETS says what to register."""
    text = with_synthetic(cfg, synthetic, ratio=0.4).dump()
    catalogs[0].remove("tiny_mosaicfusion")
    catalogs[1].remove("tiny_mosaicfusion")
    catalog._registered.pop("tiny_mosaicfusion")
    read = get_cfg()
    add_mosaicfusion_config(read)
    read.merge_from_other_cfg(CfgNode.load_cfg(text))
    register_from_config(read)
    assert len(get_detection_dataset_dicts(read.DATASETS.TRAIN)) == 6
    assert without_synthetic(read).DATASETS.TRAIN == ("tiny",)


def test_another_folder_takes_the_place_of_the_first_one(cfg, synthetic, lvis_folder, tmp_path):
    other = lvis_folder(tmp_path / "other", True, contents=[["bow"]], first_id=50)
    changed = with_synthetic(with_synthetic(cfg, synthetic), other)
    assert changed.DATASETS.TRAIN[0] == "tiny" and len(changed.DATASETS.TRAIN) == 2
    records = get_detection_dataset_dicts(changed.DATASETS.TRAIN)
    assert [record["image_id"] for record in records] == [1, 2, 3, 4, 50]


def test_datasets_from_the_config_alone(catalogs, real, synthetic):
    cfg = get_cfg()
    add_mosaicfusion_config(cfg)
    cfg.MOSAICFUSION.DATA_ROOT = str(real)
    cfg.MOSAICFUSION.REAL_DATASETS = (("v", "val"), ("t", "train"), ("absent", "absent"))
    cfg.MOSAICFUSION.DATASETS = (("s", str(synthetic)), ("unused", "nowhere"))
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = ("t", "s"), ("v",)
    register_from_config(cfg)
    register_from_config(cfg)
    assert {"t", "s", "v"} <= set(catalogs[0]) and "absent" not in catalogs[0]
    assert without_synthetic(cfg).DATASETS.TRAIN == ("t",)


def test_test_sets_take_the_classes_of_the_training_set(catalogs, real, lvis_folder):
    lvis_folder(
        real / "other", contents=[["cup"], ["bow"]], categories=((1, "cup", "f"), (2, "bow", "c"))
    )
    cfg = get_cfg()
    add_mosaicfusion_config(cfg)
    cfg.MOSAICFUSION.DATA_ROOT = str(real)
    cfg.MOSAICFUSION.REAL_DATASETS = (("o", "other"), ("t", "train"))
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = ("t",), ("o",)
    register_from_config(cfg)
    metadata = catalogs[1].get("o")
    assert metadata.thing_classes == ["anvil", "bow", "cup"]
    assert metadata.thing_dataset_id_to_contiguous_id == {1: 2, 2: 1}


@pytest.mark.parametrize(
    "key, value, message",
    [
        ("DATASETS", ("abc",), "DATASETS has the entry 'abc': expected .name, folder. or"),
        ("REAL_DATASETS", (("a", "b", "c"),), "REAL_DATASETS has the entry .*: expected .name, "),
        ("REAL_DATASETS", (("used", "void"),), "dataset used: .*void does not exist; build it wi"),
    ],
)
def test_malformed_entries_are_named(key, value, message):
    cfg = get_cfg()
    add_mosaicfusion_config(cfg)
    cfg.DATASETS.TRAIN = ("used",)
    cfg.MOSAICFUSION.DATA_COMMAND = "make data"
    cfg.MOSAICFUSION[key] = value
    with pytest.raises(InputError, match=message):
        register_from_config(cfg)


@pytest.mark.parametrize(
    "key, value, message",
    [
        ("DATALOADER.SAMPLER_TRAIN", "RandomSubsetTrainingSampler", "the sampler RandomSubsetTra"),
        ("MODEL.KEYPOINT_ON", True, "MODEL.KEYPOINT_ON is on"),
        ("MODEL.LOAD_PROPOSALS", True, "MODEL.LOAD_PROPOSALS is on"),
        ("DATASETS.TRAIN", (), "the config trains on no dataset: expected a real training set"),
    ],
)
def test_what_is_not_handled_is_refused(cfg, synthetic, key, value, message):
    cfg.defrost()
    cfg.merge_from_list([key, value])
    with pytest.raises(InputError, match=message):
        with_synthetic(cfg, synthetic)


@pytest.mark.parametrize(
    "sampler, threshold",
    [(None, 0.0), (LazyCall(TrainingSampler)(size=4), 0.0), (repeating(), 0.75)],
)
def test_lazy_config_takes_the_synthetic_set(synthetic, sampler, threshold):
    changed = with_synthetic(lazy(sampler), synthetic, policy="real").dataloader.train
    assert list(changed.dataset.names) == ["tiny", "tiny_mosaicfusion"]
    assert changed["_target_"] is build_lazy_train_loader
    assert (changed.threshold, changed.policy, changed.ratio) == (threshold, "real", None)
    assert "sampler" not in changed


def test_lazy_config_reads_its_dataset_once(synthetic, catalogs, monkeypatch):
    cfg = with_synthetic(lazy(repeating()), synthetic, ratio=0.5)
    loads = []
    for name in ("tiny", "tiny_mosaicfusion"):
        load = catalogs[0][name]
        monkeypatch.setitem(
            catalogs[0].data, name, lambda load=load, name=name: loads.append(name) or load()
        )
    sampler = sampler_of(instantiate(cfg.dataloader.train))
    assert loads == ["tiny", "tiny_mosaicfusion"]
    real, generated = sampler.factors[:4].sum(), sampler.factors[4:].sum()
    assert generated == pytest.approx(real), "ratio 0.5"


def test_lazy_arms_differ_in_the_data_alone(synthetic):
    cfg = lazy(repeating())
    baseline = with_sampler(cfg).dataloader.train
    changed = with_synthetic(cfg, synthetic).dataloader.train
    assert {key for key in baseline if baseline[key] != changed[key]} == {"dataset"}
    back = without_synthetic(with_synthetic(cfg, synthetic)).dataloader.train
    assert list(back.dataset.names) == ["tiny"]


def test_a_saved_lazy_config_keeps_its_threshold(tmp_path):
    """default_setup saves the config of a run as yaml, in which functions are names."""
    LazyConfig.save(with_sampler(lazy(repeating())), str(tmp_path / "config.yaml"))
    saved = LazyConfig.load(str(tmp_path / "config.yaml"))
    again = with_sampler(saved).dataloader.train
    assert (again.threshold, again.policy) == (0.75, "joint")
    # f(cup, anvil, bow) = 3/4, 1/4, 2/4: sqrt(0.75 / f) of the rarest in each image
    factors = sampler_of(instantiate(again)).factors
    assert factors.tolist() == pytest.approx([1, 3**0.5, 1.5**0.5, 1.5**0.5])


@pytest.mark.parametrize(
    "sampler, message",
    [
        (
            LazyCall(RandomSubsetTrainingSampler)(size=4, subset_ratio=0.5),
            "the sampler RandomSubsetTrainingSampler",
        ),
        (repeating(sqrt=False), "RepeatFactorTrainingSampler of a threshold .with the square"),
    ],
)
def test_lazy_samplers_that_are_not_handled_are_refused(synthetic, sampler, message):
    with pytest.raises(InputError, match=message):
        with_synthetic(lazy(sampler), synthetic)


def test_a_lazy_config_with_another_dataset_is_refused(synthetic):
    cfg = lazy()
    cfg.dataloader.train.dataset = LazyCall(list)()
    with pytest.raises(InputError, match="dataset of the config is list: expected get_detection_d"):
        with_synthetic(cfg, synthetic)
