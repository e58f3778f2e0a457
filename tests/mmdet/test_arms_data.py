"""The oracle and the novel split of mini-LVIS as training sets of the demo's config."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmdet.registry import DATASETS

from mf_plugin.lvis.io import read_lvis
from mf_plugin.lvis.minilvis import build_split
from mf_plugin.lvis.novel import build_novel
from mf_plugin.lvis.oracle import FIRST_IMAGE_ID, build_oracle
from mf_plugin.mmdet import SyntheticLVISDataset
from mf_plugin.mmdet.federated_counts import count_images
from mf_plugin.mmdet.image_categories import synthetic_flags
from mf_plugin.mmdet.training import TrainingOptions, build_config

CONFIG = Path(__file__).parents[2] / "configs/mmdet/centernet2_r18_fpn_minilvis-demo.py"
IMAGES = 12


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """train/, train-novel/, and oracle/ of the training split in a synthetic dataset's place."""
    folder = tmp_path_factory.mktemp("arms")
    train = build_split(folder / "train", "train", num_images=IMAGES, size=(64, 64))
    build_novel(folder / "train-novel", train)
    build_oracle(folder / "oracle", train)
    return folder


def test_the_oracle_loads_as_a_synthetic_dataset(data):
    dataset = SyntheticLVISDataset(str(data / "oracle"), filter_cfg=dict(filter_empty_gt=True))
    truth = read_lvis(data / "train/annotations.json")
    objects = [dataset.get_data_info(i)["instances"] for i in range(len(dataset))]
    assert len(dataset) == IMAGES and dataset.get_data_info(0)["img_id"] == FIRST_IMAGE_ID
    assert sum(map(len, objects)) == len(truth["annotations"])
    assert len(dataset.metainfo["classes"]) == 30


@pytest.mark.parametrize("split", ["train", "train-novel"])
def test_the_oracle_goes_beside_the_real_or_the_novel_split(data, split):
    options = [
        f"data_root={data}",
        f"train_dataloader.dataset.ann_file={split}/annotations.json",
        f"train_dataloader.dataset.data_prefix.img={split}",
    ]
    cfg = build_config(
        TrainingOptions(str(CONFIG), synthetic=str(data / "oracle"), cfg_options=options)
    )
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    real = read_lvis(data / split / "annotations.json")
    shown = len({a["image_id"] for a in real["annotations"]})
    assert synthetic_flags(dataset).tolist() == [False] * shown + [True] * IMAGES
    # What FederatedLoss takes: real images alone, so no novel category is ever a drawn negative.
    assert count_images(dataset).tolist() == [c["image_count"] for c in real["categories"]]
    rare = [c["image_count"] for c in real["categories"] if c["frequency"] == "r"]
    assert min(rare) > 0 if split == "train" else rare == [0] * 10
