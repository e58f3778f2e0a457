"""Backbones and optimisers of the yaml configs."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("detectron2", reason="Detectron2 is not installed")

from detectron2.config import get_cfg
from detectron2.layers import ShapeSpec
from detectron2.modeling import build_backbone

import mf_plugin.detectron2  # noqa: F401  registers
from mf_plugin.detectron2.config_keys import add_mosaicfusion_config
from mf_plugin.detectron2.solver import build_optimizer
from mf_plugin.errors import InputError


@pytest.fixture()
def cfg():
    cfg = get_cfg()
    add_mosaicfusion_config(cfg)
    cfg.MODEL.FPN.OUT_CHANNELS = 16
    return cfg


@pytest.mark.parametrize("depth, blocks", [(18, [2, 2, 2, 2]), (34, [3, 4, 6, 3])])
def test_basic_resnet_of_any_width(cfg, depth, blocks):
    cfg.MODEL.BACKBONE.NAME = "build_basic_resnet_fpn_backbone"
    cfg.MODEL.BACKBONE.FREEZE_AT = 0
    cfg.MODEL.RESNETS.DEPTH = depth
    cfg.MODEL.RESNETS.NORM = "BN"
    cfg.MODEL.RESNETS.STEM_OUT_CHANNELS = 4
    cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = 8
    cfg.MODEL.RESNETS.OUT_FEATURES = ["res2", "res3", "res4", "res5"]
    cfg.MODEL.FPN.IN_FEATURES = ["res2", "res3", "res4", "res5"]
    backbone = build_backbone(cfg, ShapeSpec(channels=3))
    stages = [getattr(backbone.bottom_up, f"res{i}") for i in range(2, 6)]
    assert [len(stage) for stage in stages] == blocks
    assert [stage[-1].out_channels for stage in stages] == [8, 16, 32, 64]
    found = backbone(torch.zeros(1, 3, 64, 96))
    assert {k: tuple(v.shape[1:]) for k, v in found.items()} == {
        "p2": (16, 16, 24),
        "p3": (16, 8, 12),
        "p4": (16, 4, 6),
        "p5": (16, 2, 3),
        "p6": (16, 1, 2),
    }
    cfg.MODEL.RESNETS.DEPTH = 50
    with pytest.raises(InputError, match="DEPTH 50: .* expects one of 18, 34"):
        build_backbone(cfg, ShapeSpec(channels=3))


def test_swin_has_the_levels_of_centernet2(cfg):
    pytest.importorskip("centernet", reason="centernet2 is not installed")
    pytest.importorskip("timm", reason="timm is not installed")
    cfg.MODEL.BACKBONE.NAME = "build_p67_swin_fpn_backbone"
    cfg.MODEL.SWIN.EMBED_DIM = 8
    cfg.MODEL.SWIN.DEPTHS = [1, 1, 2, 1]
    cfg.MODEL.SWIN.NUM_HEADS = [1, 1, 2, 2]
    cfg.MODEL.FPN.IN_FEATURES = ["p1", "p2", "p3"]
    backbone = build_backbone(cfg, ShapeSpec(channels=3))
    assert backbone.size_divisibility == 32
    found = backbone(torch.zeros(1, 3, 128, 64))
    assert {k: tuple(v.shape[1:]) for k, v in found.items()} == {
        "p3": (16, 16, 8),
        "p4": (16, 8, 4),
        "p5": (16, 4, 2),
        "p6": (16, 2, 1),
        "p7": (16, 1, 1),
    }
    assert hasattr(backbone.bottom_up.layers[0].blocks[0].attn, "relative_position_bias_table")


def test_swin_takes_the_published_weights(cfg, tmp_path):
    """The file has the backbone's names less their prefix; the suffix in the URL finds them."""
    pytest.importorskip("centernet", reason="centernet2 is not installed")
    pytest.importorskip("timm", reason="timm is not installed")
    from detectron2.checkpoint import DetectionCheckpointer

    cfg.MODEL.SWIN.EMBED_DIM, cfg.MODEL.SWIN.DEPTHS = 8, [1, 1, 2, 1]
    cfg.MODEL.SWIN.NUM_HEADS = [1, 1, 2, 2]
    cfg.MODEL.BACKBONE.NAME = "build_p67_swin_fpn_backbone"
    cfg.MODEL.FPN.IN_FEATURES = ["p1", "p2", "p3"]
    built = [torch.nn.Module() for _ in range(2)]
    for module in built:
        module.backbone = build_backbone(cfg, ShapeSpec(channels=3))
    published = {
        key: value
        for key, value in built[0].backbone.bottom_up.state_dict().items()
        if not key.startswith("norm")  # norm1 to norm3 are Detectron2's own
    }
    torch.save({"model": published}, tmp_path / "swin.pth")
    url = f"{tmp_path}/swin.pth?matching_heuristics=True"
    DetectionCheckpointer(built[1]).load(url)
    loaded = built[1].backbone.bottom_up.state_dict()
    assert len(published) > 60 and all(torch.equal(loaded[k], v) for k, v in published.items())


def model():
    layers = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    layers.relative_position_bias_table = torch.nn.Parameter(torch.ones(1))
    return layers


def test_adamw_with_decay_where_it_belongs(cfg):
    cfg.SOLVER.OPTIMIZER, cfg.SOLVER.BASE_LR = "ADAMW", 0.5
    cfg.SOLVER.WEIGHT_DECAY, cfg.SOLVER.WEIGHT_DECAY_NORM = 0.1, 0.2
    cfg.SOLVER.WEIGHT_DECAY_BIAS = 0.3
    layers = model()
    optimizer = build_optimizer(cfg, layers)
    assert isinstance(optimizer, torch.optim.AdamW)
    decay = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    assert decay[id(layers[0].weight)] == 0.1
    assert decay[id(layers[1].weight)] == 0.2
    assert decay[id(layers[0].bias)] == decay[id(layers[1].bias)] == 0.3
    assert decay[id(layers.relative_position_bias_table)] == 0.0
    assert all(group["lr"] == 0.5 for group in optimizer.param_groups)


def test_sgd_is_detectron2s(cfg):
    from detectron2.solver import build_optimizer as build_theirs

    layers = model()
    ours, theirs = build_optimizer(cfg, layers), build_theirs(cfg, layers)
    for key in ("lr", "momentum", "nesterov"):
        assert ours.param_groups[0][key] == theirs.param_groups[0][key]


@pytest.mark.parametrize(
    "kind, expected",
    # gradients 3 and 4: their common norm is 5; each alone is clipped to 1 by the other kind
    [("full_model", [0.6, 0.8]), ("norm", [1.0, 1.0])],
)
def test_clipping(cfg, kind, expected):
    cfg.SOLVER.OPTIMIZER, cfg.SOLVER.BASE_LR, cfg.SOLVER.WEIGHT_DECAY = "SGD", 1.0, 0.0
    cfg.SOLVER.CLIP_GRADIENTS.ENABLED = True
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE = kind
    layers = torch.nn.Module()
    layers.a, layers.b = (torch.nn.Parameter(torch.zeros(1)) for _ in range(2))
    optimizer = build_optimizer(cfg, layers)
    layers.a.grad, layers.b.grad = torch.tensor([3.0]), torch.tensor([4.0])
    optimizer.step()
    assert [-layers.a.item(), -layers.b.item()] == pytest.approx(expected, abs=1e-4)


def test_an_unknown_optimizer_is_named(cfg):
    cfg.SOLVER.OPTIMIZER = "LION"
    with pytest.raises(InputError, match="SOLVER.OPTIMIZER 'LION': expected one of SGD, ADAMW"):
        build_optimizer(cfg, model())
