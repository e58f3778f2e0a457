"""Several synthetic folders, replacement and pre-training: the same draws as in MMDetection."""

from __future__ import annotations

import json
from itertools import islice

import numpy as np
import pytest

from mf_plugin.detectron2.records import image_sources, lvis_records, synthetic_folders
from mf_plugin.detectron2.samplers import sampler_for
from mf_plugin.errors import InputError

LABEL_OF = {2: 0, 5: 1, 7: 2}


def sourced(data, sources):
    for image, source in zip(data["images"], sources):
        image["source_image_id"] = source
    return data


@pytest.fixture()
def records(lvis_json):
    """Four real images (ids 1 to 4), two of MosaicFusion, three of SegGen."""
    seggen = [("cup", "anvil"), ("cup",), ("bow",)]
    return [
        *lvis_records(lvis_json(), "data", LABEL_OF),
        *lvis_records(lvis_json([("anvil",)] * 2, first_id=1000), "a", LABEL_OF, synthetic=True),
        *lvis_records(
            sourced(lvis_json(seggen, first_id=50), (2, 2, 4)), "b", LABEL_OF, synthetic=True
        ),
    ]


def test_where_images_come_from(records):
    assert synthetic_folders(records).tolist() == [-1] * 4 + [0] * 2 + [1] * 3
    ids, sources = image_sources(records)
    assert ids == [1, 2, 3, 4, 1000, 1001, 50, 51, 52]
    assert sources == [None] * 6 + [2, 2, 4]


def test_real_images_give_way_to_their_own_versions(records):
    sampler = sampler_for(records, 0.0, "replace", [0.2, 0.5], seed=3)
    counts = np.bincount(list(islice(sampler, 400)), minlength=9) / 100
    assert counts == pytest.approx([0.8, 0.3, 0.8, 0.3, 0.4, 0.4, 0.25, 0.25, 0.5], abs=0.17)
    resumed = sampler_for(records, 0.0, "replace", [0.2, 0.5], seed=3)
    resumed.skip(17)
    assert list(islice(resumed, 20)) == list(islice(sampler, 37))[17:]


@pytest.mark.parametrize(
    "policy, ratio",
    [("replace", 0.6), ("replace", [0.2, 0.5]), ("ratio", [0.3, 0.2]), ("synthetic", None)],
)
def test_draws_are_those_of_the_mmdet_adapter(records, policy, ratio):
    pytest.importorskip("mmdet", reason="MMDetection is not installed")
    from mmengine.dataset import BaseDataset

    from mf_plugin.mmdet.samplers import RepeatFactorSampler

    class Images(BaseDataset):
        def __init__(self, part, root=None):
            self.part = part
            if root is not None:
                self.is_synthetic, self.root = True, root
            super().__init__(serialize_data=False)

        def load_data_list(self):
            return [
                dict(
                    img_id=r["image_id"],
                    source_image_id=r.get("source_image_id"),
                    instances=[dict(bbox_label=a["category_id"]) for a in r["annotations"]],
                )
                for r in self.part
            ]

        def get_cat_ids(self, idx):
            return [i["bbox_label"] for i in self.get_data_info(idx)["instances"]]

    class Union:
        datasets = [Images(records[:4]), Images(records[4:6], "a"), Images(records[6:], "b")]

        def __len__(self):
            return len(records)

        def get_cat_ids(self, idx):
            return [a["category_id"] for a in records[idx]["annotations"]]

    theirs = RepeatFactorSampler(Union(), 0.75, policy, ratio, seed=5)
    ours = sampler_for(records, 0.75, policy, ratio, seed=5)
    assert ours.factors.tolist() == theirs.factors.tolist()
    assert list(islice(ours, 60)) == list(islice(theirs, 60))


# ---------------------------------------------------------------- configs


@pytest.fixture()
def seggen(tmp_path, lvis_folder):
    folder = lvis_folder(
        tmp_path / "seggen", True, contents=[["cup", "anvil"], ["cup"], ["bow"]], first_id=50
    )
    path = folder / "annotations.json"
    path.write_text(json.dumps(sourced(json.loads(path.read_text()), (2, 2, 4))))
    return folder


def test_several_folders_by_yaml(catalogs, tiny_config, synthetic, seggen):
    from detectron2.config import CfgNode, get_cfg
    from detectron2.data import get_detection_dataset_dicts

    from mf_plugin.detectron2 import add_mosaicfusion_config, register_from_config
    from mf_plugin.detectron2.loaders import build_train_loader, sampler_of
    from mf_plugin.detectron2.synthetic import without_synthetic
    from mf_plugin.detectron2.training import TrainingOptions, build_config

    def build(**given):
        return build_config(
            TrainingOptions(str(tiny_config()), opts=["MODEL.DEVICE", "cpu"], seed=3, **given)
        )

    cfg = build(
        synthetic=[str(synthetic), str(seggen)], policy="replace", synthetic_ratio=[0.2, 0.5]
    )
    assert cfg.MOSAICFUSION.RATIO in ([0.2, 0.5], (0.2, 0.5))
    records = get_detection_dataset_dicts(cfg.DATASETS.TRAIN)
    assert [r["image_id"] for r in records] == [1, 2, 3, 4, 1000, 1001, 50, 51, 52]
    loader = build_train_loader(cfg)
    expected = sampler_for(records, 0.75, "replace", [0.2, 0.5], seed=3)
    assert list(islice(sampler_of(loader), 40)) == list(islice(expected, 40))

    # the config that is written beside a run stands by itself
    read = get_cfg()
    add_mosaicfusion_config(read)
    read.merge_from_other_cfg(CfgNode.load_cfg(cfg.dump()))
    register_from_config(read)
    assert list(read.DATASETS.TRAIN) == list(cfg.DATASETS.TRAIN)
    assert list(read.MOSAICFUSION.RATIO) == [0.2, 0.5]
    assert without_synthetic(read).MOSAICFUSION.POLICY == "joint"

    only = build(synthetic=str(seggen), synthetic_only=True)
    assert only.MOSAICFUSION.POLICY == "synthetic" and len(only.DATASETS.TRAIN) == 2
    assert min(islice(sampler_of(build_train_loader(only)), 30)) >= 4
    with pytest.raises(InputError, match="--synthetic-only excludes"):
        build(synthetic=str(seggen), synthetic_only=True, policy="real")


def test_several_folders_by_lazy_config(catalogs, real, synthetic, seggen):
    from detectron2.config import LazyCall, instantiate
    from detectron2.data import build_detection_train_loader, get_detection_dataset_dicts
    from omegaconf import OmegaConf

    from mf_plugin.detectron2 import register, with_synthetic
    from mf_plugin.detectron2.loaders import sampler_of

    register("tiny", real / "train", synthetic=False)
    loader = LazyCall(build_detection_train_loader)(
        dataset=LazyCall(get_detection_dataset_dicts)(names="tiny"),
        mapper=None,
        total_batch_size=2,
        num_workers=0,
    )
    cfg = OmegaConf.create(
        {"dataloader": {"train": loader}, "train": {"seed": 3}}, flags={"allow_objects": True}
    )
    folders = [str(synthetic), str(seggen)]
    changed = with_synthetic(cfg, folders, policy="ratio", ratio=(0.3, 0.2))
    assert len(changed.dataloader.train.dataset.names) == 3
    sampler = sampler_of(instantiate(changed.dataloader.train))
    share = sampler.factors / sampler.factors.sum()
    assert share[4:6].sum() == pytest.approx(0.3) and share[6:].sum() == pytest.approx(0.2)
