"""The shipped yaml configs: pairs that differ in the data alone; with Detectron2, their models."""

from __future__ import annotations

import ast
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

CONFIGS = Path(__file__).parents[2] / "configs/detectron2"
SECOND = sorted(CONFIGS.glob("*_mosaicfusion.yaml"))
FIRST = [path.with_name(path.name.replace("_mosaicfusion", "")) for path in SECOND]
DATA = {"DATASETS.TRAIN", "MOSAICFUSION.DATASETS", "OUTPUT_DIR"}
DETECTRON2 = "Detectron2 is not installed"


def read(path: Path) -> dict[str, Any]:
    """A yaml with its ``_BASE_`` merged, as ``KEY.KEY`` -> value: fvcore's rules."""

    def load(path: Path) -> dict:
        content = yaml.safe_load(path.read_text())
        bases = content.pop("_BASE_", [])
        merged: dict = {}
        for base in [bases] if isinstance(bases, str) else bases:
            update(merged, load(path.parent / base))
        update(merged, content)
        return merged

    def update(into: dict, new: dict) -> None:
        for key, value in new.items():
            if isinstance(value, dict) and key in into:
                update(into[key], value)
            else:
                into[key] = value

    def flatten(node: dict, prefix: str = "") -> dict[str, Any]:
        flat = {}
        for key, value in node.items():
            inner = isinstance(value, dict)
            flat |= flatten(value, f"{prefix}{key}.") if inner else {prefix + key: value}
        return flat

    return flatten(load(path))


def names_of(value: Any) -> tuple[str, ...]:
    return tuple(ast.literal_eval(value) if isinstance(value, str) else value)


def test_there_are_the_promised_pairs():
    assert {path.stem for path in FIRST} == {
        "centernet2_r18_fpn_minilvis-demo",
        "centernet2_r50_fpn_minilvis-all",
        "centernet2_r50_fpn_sample1e-3_lsj-640-4x_lvis-v1",
        "centernet2_swin-b_fpn_sample1e-3_lsj-896-4x_lvis-v1",
        "mask-rcnn_r18_fpn_minilvis-demo",
        "mask-rcnn_r50_fpn_minilvis-all",
        "mask-rcnn_r50_fpn_sample1e-3_ms-1x_lvis-v1",
    }


@pytest.mark.parametrize("path", SECOND, ids=lambda p: p.stem)
def test_the_second_of_a_pair_inherits_the_first_and_differs_in_the_data(path):
    first = path.with_name(path.name.replace("_mosaicfusion", ""))
    assert yaml.safe_load(path.read_text())["_BASE_"] == first.name
    one, two = read(first), read(path)
    different = {key for key in one.keys() | two.keys() if one.get(key) != two.get(key)}
    assert {"DATASETS.TRAIN", "MOSAICFUSION.DATASETS"} <= different <= DATA
    real, both = names_of(one["DATASETS.TRAIN"]), names_of(two["DATASETS.TRAIN"])
    assert both[:-1] == real
    assert [entry[0] for entry in two["MOSAICFUSION.DATASETS"]] == [both[-1]]
    for entry in two["MOSAICFUSION.DATASETS"]:
        for config in entry[2:]:
            assert (CONFIGS.parents[1] / config).is_file()


@pytest.mark.parametrize("path", FIRST, ids=lambda p: p.stem)
def test_every_number_of_the_schedule_is_there(path):
    cfg = read(path)
    assert cfg["DATALOADER.SAMPLER_TRAIN"] == "RepeatFactorTrainingSampler"
    assert cfg["SEED"] == 1 and cfg["SOLVER.MAX_ITER"] > 0 and cfg["SOLVER.IMS_PER_BATCH"] > 0
    if "lvis-v1" in path.stem:
        assert cfg["MODEL.ROI_HEADS.NUM_CLASSES"] == 1203
        assert cfg["TEST.DETECTIONS_PER_IMAGE"] == 300
        assert cfg["DATALOADER.REPEAT_THRESHOLD"] == 1e-3
    if path.stem.startswith("centernet2"):
        assert cfg["MODEL.ROI_BOX_HEAD.USE_FED_LOSS"] and cfg["MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE"]
        assert cfg["MODEL.MASK_ON"] and cfg["MODEL.ROI_MASK_HEAD.CLS_AGNOSTIC_MASK"]


def test_the_paper_s_schedules():
    def schedule(stem):
        cfg = read(CONFIGS / f"{stem}.yaml")
        return cfg["SOLVER.MAX_ITER"], cfg["SOLVER.IMS_PER_BATCH"], cfg["SOLVER.BASE_LR"]

    assert schedule("mask-rcnn_r50_fpn_sample1e-3_ms-1x_lvis-v1") == (90_000, 16, 0.02)
    assert schedule("centernet2_r50_fpn_sample1e-3_lsj-640-4x_lvis-v1") == (90_000, 64, 2e-4)
    assert schedule("centernet2_swin-b_fpn_sample1e-3_lsj-896-4x_lvis-v1") == (180_000, 32, 1e-4)


def test_mmdet_has_a_config_of_every_name():
    stems = {path.stem for path in (CONFIGS.parent / "mmdet").glob("*.py")}
    # The benchmark's own and Mask2Former are MMDetection's alone.
    own = ("_copy-paste", "_finetune")
    stems = {s for s in stems if not s.endswith(own)}
    stems = {s for s in stems if not s.startswith(("judge_", "mask2former_"))}
    assert stems == {path.stem for path in FIRST + SECOND}


@pytest.mark.parametrize("detector", ["mask-rcnn", "centernet2"])
def test_minilvis_all_is_trained_as_in_mmdet(detector):
    ours = read(CONFIGS / f"{detector}_r50_fpn_minilvis-all.yaml")
    theirs = runpy.run_path(str(CONFIGS.parent / "mmdet/_base_/minilvis-all.py"))
    loader, wrapper = theirs["train_dataloader"], theirs["optim_wrapper"]
    assert ours["SOLVER.IMS_PER_BATCH"] == loader["batch_size"]
    assert ours["DATALOADER.REPEAT_THRESHOLD"] == loader["sampler"]["threshold"]
    assert ours["SOLVER.BASE_LR"] == wrapper["optimizer"]["lr"]
    assert ours["SOLVER.WEIGHT_DECAY"] == wrapper["optimizer"]["weight_decay"]
    assert ours["SOLVER.CLIP_GRADIENTS.CLIP_VALUE"] == wrapper["clip_grad"]["max_norm"]
    assert ours["SOLVER.MAX_ITER"] == theirs["max_iters"]
    assert ours["SOLVER.WARMUP_ITERS"] == theirs["warmup"]
    assert ours["SOLVER.WARMUP_FACTOR"] == theirs["param_scheduler"][0]["start_factor"]
    assert (ours["INPUT.MAX_SIZE_TRAIN"], ours["INPUT.MAX_SIZE_TEST"]) == theirs["image_size"]


@pytest.mark.parametrize("path", FIRST + SECOND, ids=lambda p: p.stem)
def test_detectron2_reads_it_as_we_do(path):
    pytest.importorskip("detectron2", reason=DETECTRON2)
    if path.stem.startswith("centernet2"):
        pytest.importorskip("centernet", reason="centernet2 is not installed")
    from mf_plugin.detectron2.configs import read_yaml_config

    cfg, ours = read_yaml_config(str(path)), read(path)
    assert tuple(cfg.DATASETS.TRAIN) == names_of(ours["DATASETS.TRAIN"])
    assert ours["SOLVER.BASE_LR"] == cfg.SOLVER.BASE_LR
    assert ours["MODEL.BACKBONE.NAME"] == cfg.MODEL.BACKBONE.NAME


@pytest.mark.heavy
@pytest.mark.parametrize("path", FIRST, ids=lambda p: p.stem)
def test_its_model_trains_a_step_and_predicts(path, tmp_path, catalogs):
    pytest.importorskip("detectron2", reason=DETECTRON2)
    import torch
    from detectron2.data import MetadataCatalog
    from detectron2.modeling import build_model
    from detectron2.structures import Boxes, Instances, PolygonMasks
    from detectron2.utils.events import EventStorage

    from mf_plugin.detectron2.configs import read_yaml_config, write_category_counts

    cfg = read_yaml_config(str(path), ["MODEL.DEVICE", "cpu", "OUTPUT_DIR", str(tmp_path)])
    name = cfg.DATASETS.TRAIN[0]
    classes = cfg.MODEL.ROI_HEADS.NUM_CLASSES
    if "minilvis" in name:
        MetadataCatalog.get(name).class_image_count = [
            {"id": i, "image_count": i + 1} for i in range(classes)
        ]
    model = build_model(write_category_counts(cfg))
    truth = Instances((160, 160))
    truth.gt_boxes = Boxes(torch.tensor([[20.0, 30.0, 80.0, 90.0]]))
    truth.gt_classes = torch.tensor([classes - 1])
    truth.gt_masks = PolygonMasks([[[20, 30, 80, 30, 80, 90, 20, 90]]])
    record = {"image": torch.zeros(3, 160, 160), "height": 160, "width": 160}
    with EventStorage():
        losses = model([record | {"instances": truth}] * 2)
    total = sum(losses.values())
    total.backward()
    assert torch.isfinite(total) and any("mask" in key for key in losses)
    model.eval()
    with torch.no_grad():
        found = model([record])[0]["instances"]
    assert found.pred_masks.shape[1:] == (160, 160)
    assert len(found) <= cfg.TEST.DETECTIONS_PER_IMAGE
