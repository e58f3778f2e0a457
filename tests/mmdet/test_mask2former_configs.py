"""Every Mask2Former config: the arms differ in the data alone; the detector, made small, takes a
training step and predicts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.registry import DATA_SAMPLERS, DATASETS, METRICS, MODELS, TRANSFORMS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS
from mmengine.structures import InstanceData, PixelData

from mf_plugin.mmdet import without_synthetic
from mf_plugin.mmdet.training import TrainingOptions, train

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "configs/mmdet"
NAMES = sorted(p.stem for p in FOLDER.glob("mask2former_*.py"))
BASELINES = [name for name in NAMES if "seggen" not in name]
ARMS = {
    "mask2former_r18_minilvis-demo": {"seggen", "seggen-pretrain", "seggen-finetune"},
    "mask2former_r50_lsj-50e_coco": {"seggen"},
    "mask2former_r50_lsj-50e_coco-panoptic": {"seggen-pretrain", "seggen-finetune"},
    "mask2former_swin-l_lsj-100e_coco-panoptic": {"seggen-pretrain", "seggen-finetune"},
    "mask2former_r50_160k_ade20k": {"seggen"},
    "mask2former_swin-l_160k_ade20k": {"seggen"},
}
CLASSES = {"minilvis-demo": (30, 0), "coco": (80, 0), "coco-panoptic": (80, 53), "ade20k": (0, 150)}
SIZE = 64


def read(name: str) -> Config:
    return Config.fromfile(FOLDER / f"{name}.py")


def test_all_arms_are_there():
    assert set(NAMES) == set(ARMS) | {f"{b}_{arm}" for b, arms in ARMS.items() for arm in arms}


@pytest.mark.parametrize("name", [n for n in NAMES if "seggen" in n])
def test_an_arm_differs_from_its_baseline_in_the_data_alone(name):
    base, _, arm = name.rpartition("_")
    own, other = read(base), read(name)
    if arm == "seggen-finetune":
        pretrained = read(f"{base}_seggen-pretrain")
        steps = pretrained.train_cfg.max_iters
        assert other.load_from == f"{pretrained.work_dir}/iter_{steps}.pth"
        assert other.train_dataloader == own.train_dataloader
        changed = {"load_from"}
    else:
        real, synthetic = other.train_dataloader.dataset.datasets
        assert real == own.train_dataloader.dataset
        assert synthetic.pipeline == real.pipeline
        assert synthetic.get("filter_cfg") == real.get("filter_cfg")
        assert DATASETS.get(synthetic.type).is_synthetic
        sampler = other.train_dataloader.sampler
        expected = ("synthetic", None) if "pretrain" in arm else ("replace", 0.6)
        assert (sampler.policy, sampler.get("synthetic_ratio")) == expected
        stripped = without_synthetic(other).train_dataloader
        assert stripped.dataset == own.train_dataloader.dataset
        assert stripped.sampler == {**own.train_dataloader.sampler, "policy": "joint"}
        changed = {"train_dataloader"}
    may_change = changed | {"work_dir", "test_evaluator"}
    differing = {key for key in other if own.get(key) != other[key]}
    assert changed <= differing <= may_change


def sample(things: int, stuff: int) -> DetDataSample:
    """Two objects where there are things; two kinds of ground where there is stuff."""
    found = DetDataSample(
        metainfo=dict(
            img_shape=(SIZE, SIZE - 8),
            ori_shape=(32, 28),
            scale_factor=(2.0, 2.0),
            img_id=1,
        )
    )
    masks = np.zeros((2, SIZE, SIZE - 8), np.uint8)
    masks[0, 8:30, 8:30] = masks[1, 36:60, 20:50] = 1
    kept = 2 if things else 0
    found.gt_instances = InstanceData(
        bboxes=torch.tensor([[8.0, 8, 30, 30], [20.0, 36, 50, 60]])[:kept],
        labels=torch.tensor([1, 2])[:kept],
        masks=BitmapMasks(masks[:kept], SIZE, SIZE - 8),
    )
    if stuff:
        ground = torch.full((1, SIZE, SIZE - 8), things)
        ground[:, 40:] = things + stuff - 1
        ground[:, :, :4] = 255
        for label, mask in zip((1, 2), masks[:kept]):
            ground[0][torch.from_numpy(mask) > 0] = label
        found.gt_sem_seg = PixelData(sem_seg=ground)
    return found


@pytest.mark.parametrize("name", BASELINES)
def test_a_training_step_and_a_prediction(name, made_small):
    things, stuff = CLASSES[name.split("_")[-1]]
    cfg = made_small(read(name), SIZE)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    head = model.panoptic_head
    assert (head.num_things_classes, head.num_stuff_classes) == (things, stuff)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper)
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 255, (3, SIZE, SIZE - 8), generator=generator).float()

    def batch(training: bool) -> dict:
        data = dict(inputs=[image], data_samples=[sample(things, stuff)])
        return model.data_preprocessor(data, training=training)

    # 1. A training step: every part of the model learns, and the pixel decoder's attention.
    before = {key: value.clone() for key, value in model.state_dict().items()}
    losses = model.loss(**_renamed(batch(True)))
    total = sum(value for key, value in losses.items() if "loss" in key)
    assert torch.isfinite(total) and total > 0 and any("dice" in key for key in losses)
    optimizer.update_params(total)
    after = model.state_dict()
    moved = {key for key in after if not torch.equal(before[key], after[key])}
    for part in (
        "backbone",
        "pixel_decoder.encoder.layers.0.self_attn.sampling_offsets",
        "transformer_decoder",
        "query_feat",
    ):
        assert any(part in key for key in moved), part

    # 2. A prediction, in the size of the original image.
    with torch.no_grad():
        (found,) = model.eval().predict(**_renamed(batch(False)))
    if "ade20k" in name:
        labels = found.pred_sem_seg.sem_seg
        assert labels.shape == (1, 32, 28) and labels.min() >= 0 and labels.max() < 150
        return
    assert found.pred_instances.masks.shape[1:] == (32, 28)
    assert found.pred_instances.labels.max() < things
    if stuff:
        assert found.pred_panoptic_seg.sem_seg.shape == (1, 32, 28)


def _renamed(data: dict) -> dict:
    return dict(batch_inputs=data["inputs"], batch_data_samples=data["data_samples"])


@pytest.mark.parametrize("name", NAMES)
def test_every_named_part_is_registered(name):
    cfg = read(name)
    assert cfg.custom_imports["imports"] == ["mf_plugin.mmdet"] and cfg.default_scope == "mmdet"
    assert DATA_SAMPLERS.get(cfg.train_dataloader.sampler.type) is not None
    for loader in (cfg.train_dataloader, cfg.test_dataloader):
        leaves = loader.dataset.get("datasets") or [loader.dataset]
        for leaf in leaves:
            assert DATASETS.get(leaf.type) is not None
            for step in leaf.pipeline:
                TRANSFORMS.build(step)
    evaluators = cfg.test_evaluator
    for evaluator in evaluators if isinstance(evaluators, list) else [evaluators]:
        assert METRICS.get(evaluator["type"]) is not None
    schedulers = cfg.param_scheduler
    for scheduler in schedulers if isinstance(schedulers, list) else [schedulers]:
        assert PARAM_SCHEDULERS.get(scheduler["type"]) is not None
        assert scheduler.end in (cfg.train_cfg.max_iters, 50)


def test_ade20k_is_the_papers():
    for backbone, side in (("r50", 512), ("swin-l", 640)):
        cfg = read(f"mask2former_{backbone}_160k_ade20k")
        assert cfg.train_cfg.max_iters == 160_000
        resize, crop = cfg.train_dataloader.dataset.pipeline[2:4]
        assert crop.crop_size == (side, side)
        assert {long for long, _ in resize.scales} == {4 * side}
        assert [short for _, short in resize.scales][::15] == [side // 2, 2 * side]
        optimizer = cfg.optim_wrapper.optimizer
        assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == ("AdamW", 1e-4, 0.05)
        assert cfg.optim_wrapper.paramwise_cfg.custom_keys["backbone"].lr_mult == 0.1
        assert (cfg.param_scheduler.type, cfg.param_scheduler.power) == ("PolyLR", 0.9)
    slow = cfg.optim_wrapper.paramwise_cfg.custom_keys["backbone.stages.2.blocks.17.norm"]
    assert slow == dict(lr_mult=0.1, decay_mult=0.0)


def test_a_detector_trains_on_replaced_images_then_goes_on(made_small, real, synthetic, tmp_path):
    """tools/train_net.py's two commands, on the mini-LVIS config made small."""
    cfg = made_small(read("mask2former_r18_minilvis-demo"), SIZE, (3, 0))
    for split in ("train", "test"):
        cfg[f"{split}_dataloader"].dataset.data_root = str(real)
    cfg.train_dataloader.batch_size = 2
    cfg.train_cfg.max_iters = cfg.train_cfg.val_interval = 2
    config = tmp_path / "small.py"
    cfg.dump(config)

    first = TrainingOptions(
        str(config), str(synthetic), synthetic_only=True, work_dir=str(tmp_path / "first")
    )
    train(first)
    weights = tmp_path / "first/iter_2.pth"
    assert weights.is_file()
    train(
        TrainingOptions(
            str(config),
            str(synthetic),
            policy="replace",
            synthetic_ratio=0.6,
            work_dir=str(tmp_path / "second"),
            cfg_options=[f"load_from={weights}"],
        )
    )
    found = json.loads((tmp_path / "second/results.segm.json").read_text())
    assert {d["image_id"] for d in found} == {1, 2, 3, 4}
    assert found[0]["segmentation"]["size"] == [64, 64]
