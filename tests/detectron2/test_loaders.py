from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

pytest.importorskip("detectron2", reason="Detectron2 is not installed")

from detectron2.config import get_cfg
from detectron2.data import build_detection_train_loader

from mf_plugin.data.sampling import epoch_indices, repeat_factors
from mf_plugin.detectron2 import build_train_loader, register, with_synthetic
from mf_plugin.detectron2.loaders import build_mapper, sampler_of, shared_seed, threshold_of
from mf_plugin.detectron2.trainer import skip_draws

LABELS = [[2], [0, 2], [1, 2], [1], [0], [0]]  # of tiny and its synthetic images
SYNTHETIC = np.array([False] * 4 + [True] * 2)


@pytest.fixture()
def cfg(catalogs, real, synthetic):
    register("tiny", real / "train", synthetic=False)
    cfg = get_cfg()
    cfg.DATASETS.TRAIN = ("tiny",)
    cfg.DATALOADER.SAMPLER_TRAIN = "RepeatFactorTrainingSampler"
    cfg.DATALOADER.REPEAT_THRESHOLD = 0.75
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.DATALOADER.ASPECT_RATIO_GROUPING = False
    cfg.SOLVER.IMS_PER_BATCH = 2
    cfg.INPUT.MIN_SIZE_TRAIN = (64,)
    cfg.MODEL.MASK_ON = True
    cfg.SEED = 3
    return cfg


def stream(factors, count):
    epochs = (epoch_indices(factors, np.random.default_rng((3, e))) for e in range(count))
    return np.concatenate(list(epochs))[:count]


@pytest.mark.parametrize("policy, ratio", [("joint", None), ("real", None), ("ratio", 0.5)])
def test_batches_are_the_draws_of_the_sampling_module(cfg, synthetic, policy, ratio):
    cfg = with_synthetic(cfg, synthetic, policy, ratio)
    factors = repeat_factors(LABELS, 0.75, policy, SYNTHETIC, ratio)
    loader = build_train_loader(cfg)
    assert sampler_of(loader).factors.tolist() == factors.tolist()
    ids = [1, 2, 3, 4, 1000, 1001]
    batches = list(islice(loader, 10))
    drawn = [record["image_id"] for batch in batches for record in batch]
    assert drawn == [ids[i] for i in stream(factors, 20)]


def test_batches_hold_the_labels_and_masks_of_their_squares(cfg, synthetic):
    cfg = with_synthetic(cfg, synthetic)
    colors = {0: (0, 255, 0), 1: (255, 0, 0), 2: (0, 0, 255)}  # anvil, bow, cup as B, G, R
    seen = set()
    for batch in islice(build_train_loader(cfg), 10):
        for record in batch:
            truth, pixels = record["instances"], record["image"].float()
            for label, box in zip(truth.gt_classes.tolist(), truth.gt_boxes.tensor):
                x0, y0, x1, y1 = (int(v) for v in box.round())
                mean = pixels[:, y0 + 4 : y1 - 4, x0 + 4 : x1 - 4].mean((1, 2)).tolist()
                assert mean == pytest.approx(colors[label], abs=20)
                seen.add((record["image_id"] >= 1000, label))
    assert {(False, 0), (False, 1), (False, 2), (True, 0)} <= seen


def test_images_with_no_objects_are_left_out_as_detectron2_does(cfg, lvis_folder, tmp_path):
    folder = lvis_folder(tmp_path / "empty", True, contents=[[], ["cup"]], first_id=7)
    loader = build_train_loader(with_synthetic(cfg, folder))
    assert len(sampler_of(loader).factors) == 5


def test_other_samplers_stay(cfg):
    cfg.DATALOADER.SAMPLER_TRAIN = "TrainingSampler"
    assert threshold_of(cfg) == 0.0
    assert sampler_of(build_train_loader(cfg)).factors.tolist() == [1] * 4
    cfg.DATALOADER.SAMPLER_TRAIN = "RepeatFactorTrainingSampler"
    cfg.DATALOADER.REPEAT_SQRT = False
    assert threshold_of(cfg) is None
    loader = build_train_loader(cfg)
    assert sampler_of(loader) is None and len(next(iter(loader))) == 2


def test_a_resumed_loader_goes_on_with_the_draws(cfg):
    whole = [[r["image_id"] for r in batch] for batch in islice(build_train_loader(cfg), 8)]
    resumed = build_train_loader(cfg)
    skip_draws(resumed, 5, cfg.SOLVER.IMS_PER_BATCH)
    assert [[r["image_id"] for r in batch] for batch in islice(resumed, 3)] == whole[5:]


def test_the_sampler_is_found_in_every_wrapping(cfg):
    for grouping in (False, True):
        cfg.DATALOADER.ASPECT_RATIO_GROUPING = grouping
        assert sampler_of(build_train_loader(cfg)) is not None
    cfg.DATALOADER.SAMPLER_TRAIN = "TrainingSampler"
    assert sampler_of(build_detection_train_loader(cfg)) is None


def test_seeds():
    assert shared_seed(5) == 5
    assert shared_seed(-1) >= 0


def test_custom_augmentation_of_centernet2(cfg):
    pytest.importorskip("centernet", reason="centernet2 is not installed")
    from centernet.config import add_centernet_config

    assert build_mapper(cfg, True) is None
    add_centernet_config(cfg)
    assert build_mapper(cfg, True) is None
    cfg.INPUT.CUSTOM_AUG = "EfficientDetResizeCrop"
    cfg.INPUT.TRAIN_SIZE = 96
    assert build_mapper(cfg, False) is None, "test images keep their default"
    loader = build_train_loader(cfg, build_mapper(cfg, True))
    for batch in islice(loader, 4):
        for record in batch:
            assert max(record["image"].shape[1:]) <= 96
            assert len(record["instances"].gt_masks) == len(record["instances"])
