"""The Copy-Paste arms: the baseline and one transform more, with synthetic data on top or not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmdet.registry import DATA_SAMPLERS, DATASETS, MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate

from mf_plugin.mmdet import with_synthetic, without_synthetic
from mf_plugin.mmdet.image_categories import image_categories, synthetic_flags
from mf_plugin.mmdet.training import TrainingOptions, build_config

FOLDER = Path(__file__).parents[2] / "configs/mmdet"
DETECTORS = ("mask-rcnn", "centernet2")
BASE = "{}_r18_fpn_minilvis-demo"


def read(detector: str, suffix: str = "_copy-paste") -> Config:
    return Config.fromfile(FOLDER / f"{BASE.format(detector)}{suffix}.py")


def on(cfg: Config, real: Path) -> Config:
    """The config on the small LVIS folder of the tests."""
    node = cfg.train_dataloader.dataset.dataset
    leaf = node.datasets[0] if "datasets" in node else node
    leaf.data_root = str(real)
    return cfg


def build(cfg: Config):
    np.random.seed(0)  # mmdet's transforms draw from numpy's own state
    return DATASETS.build(cfg.train_dataloader.dataset)


@pytest.mark.parametrize("detector", DETECTORS)
def test_it_differs_from_the_baseline_in_copy_paste_alone(detector):
    plain, mixed = (read(detector, suffix).to_dict() for suffix in ("", "_copy-paste"))
    known = {"work_dir", "test_evaluator", "train_dataloader"}
    own = {"copy_paste_images", "copy_paste_pipeline"}
    assert {k for k in mixed if plain.get(k) != mixed[k]} == known | own
    loaders = plain["train_dataloader"], mixed["train_dataloader"]
    assert {k for k in loaders[1] if loaders[0].get(k) != loaders[1][k]} == {"dataset"}

    before, after = loaders[0]["dataset"], loaders[1]["dataset"]["dataset"]
    assert {k for k in after if before.get(k) != after[k]} == {"pipeline"}
    steps = [*after["pipeline"], *loaders[1]["dataset"]["pipeline"]]
    assert [s for s in steps if s["type"] not in ("Pad", "CopyPaste")] == before["pipeline"]
    assert [s["type"] for s in steps[-3:]] == ["Pad", "CopyPaste", "PackDetInputs"]
    assert loaders[1]["sampler"] == dict(type="RepeatFactorSampler", threshold=0.05, policy="joint")


@pytest.mark.parametrize("detector", DETECTORS)
def test_a_batch_is_valid(detector, real):
    cfg = on(read(detector), real)
    dataset = build(cfg)
    sampler = DATA_SAMPLERS.build(
        dict(cfg.train_dataloader.sampler, seed=0), default_args=dict(dataset=dataset)
    )
    assert len(dataset) == 4 and len(sampler.factors) == 4
    draws = iter(sampler)
    batch = pseudo_collate([dataset[next(draws)] for _ in range(8)])
    data = MODELS.build(cfg.model.data_preprocessor)(batch, training=True)
    assert data["inputs"].shape == (8, 3, 160, 160)
    for sample in data["data_samples"]:
        truth = sample.gt_instances
        assert 1 <= len(truth.labels) == len(truth.bboxes) == len(truth.masks)
        masks = truth.masks.masks
        assert masks.sum(axis=0).max() == 1, "what is pasted hides what lies under it"
        assert masks.sum(axis=(1, 2)).min() >= 30
        for mask, box in zip(masks, truth.bboxes.numpy(), strict=True):
            rows, columns = np.nonzero(mask)
            found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert np.abs(box - found).max() <= 1


def test_objects_of_another_image_are_pasted_with_their_pixels_and_labels(real):
    dataset = build(on(read("mask-rcnn"), real))
    # The last image holds one blue square (bow) alone; the others' squares are red and green.
    colours = {0: (0, 0, 255), 1: (0, 255, 0), 2: (255, 0, 0)}
    seen, most = set(), 0
    for _ in range(60):
        sample = dataset[3]
        truth = sample["data_samples"].gt_instances
        most = max(most, len(truth.labels))
        for label, mask in zip(truth.labels.tolist(), truth.masks.masks, strict=True):
            seen.add(label)
            inside = sample["inputs"][:, mask > 0].float().median(dim=1).values.numpy()
            assert np.abs(inside - colours[label]).max() < 40
    assert seen == {0, 1, 2}
    assert 2 <= most <= 4


def test_what_is_not_square_is_padded_with_the_mean_colour(real, lvis_folder, tmp_path):
    folder = lvis_folder(tmp_path / "wide/train", [[7]])
    path = folder / "images/000000000001.jpg"
    cv2.imwrite(str(path), np.full((32, 64, 3), 90, np.uint8))
    data = json.loads((folder / "annotations.json").read_text())
    data["images"][0]["height"] = 32
    (folder / "annotations.json").write_text(json.dumps(data))
    cfg = on(read("mask-rcnn"), tmp_path / "wide")
    batch = pseudo_collate([build(cfg)[0]])
    inputs = MODELS.build(cfg.model.data_preprocessor)(batch, training=True)["inputs"]
    assert inputs.shape == (1, 3, 160, 160)
    assert inputs[0, :, 81:].abs().max() < 0.01 < inputs[0, :, :79].abs().max()


@pytest.mark.parametrize("detector", DETECTORS)
def test_synthetic_data_goes_on_top(detector, real, synthetic):
    cfg = on(with_synthetic(read(detector), str(synthetic)), real)
    node = cfg.train_dataloader.dataset
    assert (node.type, node.dataset.type) == ("MultiImageMixDataset", "LVISConcatDataset")
    own, other = node.dataset.datasets
    assert (other.type, other.pipeline) == ("SyntheticLVISDataset", own.pipeline)
    dataset = build(cfg)
    assert synthetic_flags(dataset).tolist() == [False] * 4 + [True] * 2
    ids, counts = image_categories(dataset).image_counts()
    assert dict(zip(ids.tolist(), counts.tolist())) == {0: 3, 1: 3, 2: 2}  # as before pasting
    bow = [dataset[3]["data_samples"].gt_instances.labels.tolist() for _ in range(30)]
    assert set().union(*bow) == {0, 1, 2}
    data = MODELS.build(cfg.model.data_preprocessor)(
        pseudo_collate([dataset[i] for i in range(6)]), training=True
    )
    assert data["inputs"].shape == (6, 3, 160, 160)
    assert without_synthetic(cfg).train_dataloader.dataset.dataset.type == "LVISJsonDataset"


def test_another_data_root_reaches_the_images_in_the_wrapper(real):
    options = TrainingOptions(
        str(FOLDER / f"{BASE.format('centernet2')}_copy-paste.py"),
        no_synthetic=True,
        work_dir="w",
        cfg_options=[f"data_root={real}"],
    )
    cfg = build_config(options)
    leaf = cfg.train_dataloader.dataset.dataset
    assert os.path.join(leaf.data_root, leaf.ann_file) == str(real / "train/annotations.json")
    assert cfg.test_evaluator.outfile_prefix == "w/results"
