"""Every config of configs/mmdet: it builds, its pair differs in the data alone, its numbers are the
paper's. Weights are random and small images stand in for LVIS, so nothing is downloaded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmdet.registry import DATA_SAMPLERS, DATASETS, HOOKS, METRICS, MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS
from mmengine.structures import InstanceData

from mf_plugin.generation.config import load_generation_config
from mf_plugin.mmdet import without_synthetic

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "configs/mmdet"
SUFFIX = "_mosaicfusion"
JUDGE = "judge_"  # measures synthetic data, see tests/tools/test_judge_detector.py
MASK2FORMER = "mask2former_"  # see test_mask2former_configs.py
SCHEDULES = ("_finetune",)  # of configs/benchmark/ablations.py
NAMES = sorted(
    p.stem
    for p in FOLDER.glob("*.py")
    if not p.stem.startswith((JUDGE, MASK2FORMER)) and not p.stem.endswith(SCHEDULES)
)
COPY_PASTE = "_copy-paste"  # of two arms of the benchmark, see test_copy_paste.py
BASELINES = [name for name in NAMES if not name.endswith((SUFFIX, COPY_PASTE))]
EXPECTED = {
    "mask-rcnn_r50_fpn_sample1e-3_ms-1x_lvis-v1",
    "centernet2_r50_fpn_sample1e-3_lsj-640-4x_lvis-v1",
    "centernet2_swin-b_fpn_sample1e-3_lsj-896-4x_lvis-v1",
    "mask-rcnn_r50_fpn_minilvis-all",
    "centernet2_r50_fpn_minilvis-all",
    "mask-rcnn_r18_fpn_minilvis-demo",
    "centernet2_r18_fpn_minilvis-demo",
}


def read(name: str) -> Config:
    return Config.fromfile(FOLDER / f"{name}.py")


def leaves(dataset):
    """The dataset configs in wrappers."""
    inner = dataset.get("datasets") or ([dataset["dataset"]] if "dataset" in dataset else [])
    return [leaf for d in inner for leaf in leaves(d)] if inner else [dataset]


def test_all_detectors_come_in_pairs():
    assert set(BASELINES) == EXPECTED
    pairs = EXPECTED | {name + SUFFIX for name in EXPECTED}
    assert {name for name in NAMES if not name.endswith(COPY_PASTE)} == pairs


def test_another_schedule_differs_in_its_steps_and_learning_rate_alone():
    name = "mask-rcnn_r18_fpn_minilvis-demo"
    own, other = read(name), read(name + "_finetune")
    steps = own.train_cfg.max_iters / 3
    own.optim_wrapper.optimizer.lr /= 2
    changed = {key for key in own if own[key] != other[key]}
    assert changed == {"max_iters", "train_cfg", "param_scheduler"}
    assert other.train_cfg == {**own.train_cfg, "max_iters": steps, "val_interval": steps}
    assert other.param_scheduler[0] == own.param_scheduler[0]
    begin = own.param_scheduler[0].end
    assert other.param_scheduler[1] == {**own.param_scheduler[1], "begin": begin, "end": steps}


@pytest.mark.parametrize("name", BASELINES)
def test_a_pair_differs_in_the_data_alone(name):
    assert f'_base_ = "./{name}.py"' in (FOLDER / f"{name}{SUFFIX}.py").read_text()
    real, both = read(name), read(name + SUFFIX)
    plain = [real.to_dict(), both.to_dict()]
    different = {key for key in plain[1] if plain[0].get(key) != plain[1][key]}
    assert different == {"work_dir", "test_evaluator", "train_dataloader"}
    assert plain[0]["test_evaluator"] | plain[1]["test_evaluator"] == plain[1]["test_evaluator"]
    loaders = [p["train_dataloader"] for p in plain]
    assert {k for k in loaders[1] if loaders[0].get(k) != loaders[1][k]} == {"dataset"}
    assert without_synthetic(both).train_dataloader == real.train_dataloader
    own, synthetic = both.train_dataloader.dataset.datasets
    assert own == real.train_dataloader.dataset
    assert (synthetic.type, synthetic.pipeline) == ("SyntheticLVISDataset", own.pipeline)
    assert synthetic.filter_cfg == own.filter_cfg
    if "generation_config" in synthetic:
        load_generation_config(ROOT / synthetic.generation_config)


def object_sample(size: int) -> DetDataSample:
    sample = DetDataSample(
        metainfo=dict(
            **dict.fromkeys(("img_shape", "ori_shape", "pad_shape"), (size, size)),
            scale_factor=(1.0, 1.0),
            img_id=1,
        )
    )
    masks = torch.zeros(1, size, size, dtype=torch.uint8)
    masks[:, 16:80, 16:80] = 1
    sample.gt_instances = InstanceData(
        bboxes=torch.tensor([[16.0, 16, 80, 80]]),
        labels=torch.tensor([2]),
        masks=BitmapMasks(masks.numpy(), size, size),
    )
    sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0).long())
    return sample


@pytest.mark.parametrize("name", BASELINES)
def test_the_detector_builds_and_its_parts_fit_together(name):
    cfg = read(name)
    cfg.model.train_cfg.rpn_proposal.max_per_img = 16  # random weights rate all of them alike
    cfg.model.test_cfg.rpn.max_per_img = 4
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).eval()
    bbox_head = model.roi_head.bbox_head
    heads = bbox_head if isinstance(bbox_head, torch.nn.ModuleList) else [bbox_head]
    classes = {"lvis-v1": 1203, "minilvis-all": 278, "minilvis-demo": 30}[name.split("_")[-1]]
    assert {head.num_classes for head in heads} == {classes}
    for module in model.modules():
        if hasattr(module, "set_counts"):
            module.set_counts([1] * classes)
    build_optim_wrapper(model, cfg.optim_wrapper)

    size = 128
    image = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        losses = model.loss(image, [object_sample(size)])
        (found,) = model.predict(image, [object_sample(size)])
    total = sum(
        torch.stack(v).sum() if isinstance(v, list) else v for k, v in losses.items() if "loss" in k
    )
    assert torch.isfinite(total) and total > 0
    assert any("mask" in key for key in losses)
    assert found.pred_instances.masks.shape[1:] == (size, size)


@pytest.mark.parametrize("name", NAMES)
def test_every_named_part_is_registered(name):
    cfg = read(name)
    assert cfg.custom_imports["imports"] == ["mf_plugin.mmdet"] and cfg.default_scope == "mmdet"
    for loader in (cfg.train_dataloader, cfg.test_dataloader):
        assert DATA_SAMPLERS.get(loader.sampler.type) is not None
        for leaf in leaves(loader.dataset):
            assert DATASETS.get(leaf.type) is not None
    for hook in (*cfg.default_hooks.values(), *cfg.custom_hooks):
        assert HOOKS.get(hook["type"]) is not None, hook
    for scheduler in cfg.param_scheduler:
        assert PARAM_SCHEDULERS.get(scheduler["type"]) is not None
    assert METRICS.build(cfg.test_evaluator).outfile_prefix == f"{cfg.work_dir}/results"
    fed = [m for m in str(cfg.model).split("'") if m == "FederatedLoss"]
    counts = [h for h in cfg.custom_hooks if h["type"] == "CategoryCountsHook"]
    assert bool(fed) == bool(counts), "the loss takes its image counts from the training set"
    if "data_command" in cfg:
        assert f"--out {cfg.data_root}" in cfg.data_command


@pytest.mark.parametrize("name", BASELINES)
def test_data_reaches_the_detector(name, real, synthetic):
    """The pipelines of both arms on a small LVIS folder, one batch through the sampler."""
    cfg = read(name + SUFFIX)
    own, other = cfg.train_dataloader.dataset.datasets
    own.update(data_root=str(real / "train"), ann_file="annotations.json")
    own.data_prefix = dict(img="")
    other.update(root=str(synthetic))
    other.pop("generation_config", None)
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    assert len(dataset) == 6 and dataset.is_synthetic.tolist() == [False] * 4 + [True] * 2
    sampler = DATA_SAMPLERS.build(
        dict(cfg.train_dataloader.sampler, seed=0), default_args=dict(dataset=dataset)
    )
    draws = iter(sampler)
    batch = pseudo_collate([dataset[next(draws)] for _ in range(4)])
    data = MODELS.build(cfg.model.data_preprocessor)(batch, training=True)
    assert data["inputs"].shape[:2] == (4, 3) and data["inputs"].shape[2] % 32 == 0
    for sample in data["data_samples"]:
        truth = sample.gt_instances
        assert len(truth.bboxes) == len(truth.labels) == len(truth.masks)

    test_set = cfg.test_dataloader.dataset
    test_set.update(data_root=str(real / "val"), ann_file="annotations.json")
    test_set.data_prefix = dict(img="")
    sample = DATASETS.build(test_set)[0]["data_samples"]
    assert sample.ori_shape == (64, 64) and max(sample.img_shape) in (160, 320, 640, 800, 896)


# ---------------------------------------------------------------- the paper's numbers

SCHEDULES = {  # iterations, images a step on 8 GPUs, optimizer, learning rate
    "mask-rcnn_r50_fpn_sample1e-3_ms-1x_lvis-v1": (90_000, 16, "SGD", 0.02),
    "centernet2_r50_fpn_sample1e-3_lsj-640-4x_lvis-v1": (90_000, 64, "AdamW", 2e-4),
    "centernet2_swin-b_fpn_sample1e-3_lsj-896-4x_lvis-v1": (180_000, 32, "AdamW", 1e-4),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_lvis_schedules_are_the_papers(name):
    iterations, images, optimizer, rate = SCHEDULES[name]
    cfg = read(name)
    assert cfg.train_cfg.max_iters == iterations
    assert cfg.train_dataloader.batch_size * 8 == images == cfg.auto_scale_lr.base_batch_size
    assert (cfg.optim_wrapper.optimizer.type, cfg.optim_wrapper.optimizer.lr) == (optimizer, rate)
    assert cfg.param_scheduler[-1].end == iterations
    assert cfg.train_dataloader.sampler == dict(
        type="RepeatFactorSampler", threshold=1e-3, policy="joint"
    )
    assert cfg.model.test_cfg.rcnn.max_per_img == 300


def test_mask_rcnn_on_lvis_is_the_papers():
    cfg = read("mask-rcnn_r50_fpn_sample1e-3_ms-1x_lvis-v1")
    steps = cfg.param_scheduler[-1]
    assert (steps.type, steps.milestones, steps.gamma) == ("MultiStepLR", [60_000, 80_000], 0.1)
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.momentum, optimizer.weight_decay) == (0.9, 1e-4)
    resize = cfg.train_pipeline[2]
    assert {long for long, _ in resize.scales} == {1333}
    assert [short for _, short in resize.scales] == [640, 672, 704, 736, 768, 800]


@pytest.mark.parametrize("name", [name for name in BASELINES if name.startswith("centernet2")])
def test_centernet2_is_the_papers(name):
    model = read(name).model
    assert [cfg.assigner.pos_iou_thr for cfg in model.train_cfg.rcnn] == [0.6, 0.7, 0.8]
    assert all(head.reg_class_agnostic for head in model.roi_head.bbox_head)
    assert model.roi_head.mask_head.class_agnostic
    loss = model.rpn_head.loss_cls
    assert (loss.alpha, loss.beta, loss.gamma, loss.ignore_high_fp) == (0.25, 4, 2, 0.85)
    assert loss.pos_weight == loss.neg_weight == 0.5
    for stride, (low, high) in zip(model.rpn_head.strides, model.rpn_head.regress_ranges):
        assert low in (0, 4 * stride) and high in (10 * stride, 1e8)
    if "r18" not in name:
        train, test = model.train_cfg.rpn_proposal, model.test_cfg.rpn
        assert (train.nms.iou_threshold, train.nms_pre, train.max_per_img) == (0.9, 4000, 2000)
        assert (test.nms.iou_threshold, test.max_per_img) == (0.9, 256)
        rcnn = model.test_cfg.rcnn
        assert (rcnn.score_thr, rcnn.nms.iou_threshold, rcnn.max_per_img) == (0.02, 0.5, 300)


def test_swin_b_sees_large_scale_jittering_of_896():
    cfg = read("centernet2_swin-b_fpn_sample1e-3_lsj-896-4x_lvis-v1")
    resize, crop = cfg.train_pipeline[2:4]
    assert (resize.scale, resize.ratio_range) == ((896, 896), (0.1, 2.0))
    assert crop.crop_size == (896, 896)
    assert cfg.param_scheduler[-1].type == "CosineAnnealingLR"
