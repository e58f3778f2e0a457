"""Backbones for yaml configs: ResNet-18 and -34 of any width, and Swin, both with an FPN.

Detectron2 builds its basic ResNets at 64 channels alone and knows its Swin in LazyConfigs alone.
Importing this module registers the builders.
"""

from __future__ import annotations

from typing import Any

from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, FPN, SwinTransformer
from detectron2.modeling.backbone.fpn import LastLevelMaxPool
from detectron2.modeling.backbone.resnet import BasicBlock, BasicStem, ResNet

from mf_plugin.errors import InputError
from mf_plugin.extras import require

BASIC_DEPTHS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}


@BACKBONE_REGISTRY.register()
def build_basic_resnet_fpn_backbone(cfg: Any, input_shape: ShapeSpec) -> FPN:
    """ResNet-18 or -34 with MODEL.RESNETS.RES2_OUT_CHANNELS channels in its first stage."""
    resnets = cfg.MODEL.RESNETS
    if resnets.DEPTH not in BASIC_DEPTHS:
        raise InputError(
            f"MODEL.RESNETS.DEPTH {resnets.DEPTH}: build_basic_resnet_fpn_backbone expects one of "
            f"{', '.join(map(str, BASIC_DEPTHS))}"
        )
    stem = BasicStem(input_shape.channels, resnets.STEM_OUT_CHANNELS, resnets.NORM)
    stages, channels = [], resnets.STEM_OUT_CHANNELS
    for stage, blocks in enumerate(BASIC_DEPTHS[resnets.DEPTH]):
        width = resnets.RES2_OUT_CHANNELS * 2**stage
        stages.append(
            ResNet.make_stage(
                BasicBlock,
                blocks,
                stride_per_block=[1 if stage == 0 else 2] + [1] * (blocks - 1),
                in_channels=channels,
                out_channels=width,
                norm=resnets.NORM,
            )
        )
        channels = width
    bottom_up = ResNet(
        stem, stages, out_features=resnets.OUT_FEATURES, freeze_at=cfg.MODEL.BACKBONE.FREEZE_AT
    )
    return _fpn(cfg, bottom_up, LastLevelMaxPool())


@BACKBONE_REGISTRY.register()
def build_p67_swin_fpn_backbone(cfg: Any, input_shape: ShapeSpec) -> FPN:
    """Swin with levels p3 to p7, as CenterNet2 wants them; sizes from MODEL.SWIN.

    MODEL.FPN.IN_FEATURES are ["p1", "p2", "p3"]: Swin's outputs of stride 8, 16 and 32.
    """
    swin = cfg.MODEL.SWIN
    if swin.DROP_PATH_RATE > 0:
        require("timm.models.layers", "detectron2")  # Detectron2's Swin takes DropPath from it
    bottom_up = SwinTransformer(
        in_chans=input_shape.channels,
        embed_dim=swin.EMBED_DIM,
        depths=list(swin.DEPTHS),
        num_heads=list(swin.NUM_HEADS),
        window_size=swin.WINDOW_SIZE,
        drop_path_rate=swin.DROP_PATH_RATE,
        use_checkpoint=swin.USE_CHECKPOINT,
        out_indices=tuple(int(name.removeprefix("p")) for name in cfg.MODEL.FPN.IN_FEATURES),
    )
    levels = require("centernet.modeling.backbone.fpn_p5", "detectron2")
    channels = cfg.MODEL.FPN.OUT_CHANNELS
    return _fpn(cfg, bottom_up, levels.LastLevelP6P7_P5(channels, channels))


def _fpn(cfg: Any, bottom_up: Any, top_block: Any) -> FPN:
    return FPN(
        bottom_up=bottom_up,
        in_features=cfg.MODEL.FPN.IN_FEATURES,
        out_channels=cfg.MODEL.FPN.OUT_CHANNELS,
        norm=cfg.MODEL.FPN.NORM,
        top_block=top_block,
        fuse_type=cfg.MODEL.FPN.FUSE_TYPE,
    )
