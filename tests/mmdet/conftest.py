"""Tiny LVIS folders, made by hand: coloured squares on grey, 64 x 64."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mf_plugin.extras import MissingExtra

with suppress(MissingExtra):  # without MMDetection each module of tests says so
    import mf_plugin.mmdet  # noqa: F401  supplies mmcv._ext before they import mmdet

ROOT = Path(__file__).parents[2]
CATEGORIES = ((7, "cup", "f"), (2, "anvil", "r"), (5, "bow", "c"))  # not by id: json order counts
COLORS = {7: (0, 0, 255), 2: (0, 255, 0), 5: (255, 0, 0)}
CONTENTS = ([7], [7, 2], [7, 5, 7], [5])  # category ids of the four images


def write_lvis(
    folder: Path,
    contents: list[list[int]] = CONTENTS,
    categories: tuple[tuple[int, str, str], ...] = CATEGORIES,
    first_id: int = 1,
) -> Path:
    """An LVIS folder with one image per list of category ids."""
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for image_id, ids in enumerate(contents, first_id):
        pixels = np.full((64, 64, 3), 90, dtype=np.uint8)
        for k, category_id in enumerate(ids):
            x, y, size = 4 + 20 * k, 10 + 12 * k, 18
            pixels[y : y + size, x : x + size] = COLORS[category_id]
            corners = [x, y, x + size, y, x + size, y + size, x, y + size]
            annotations.append(
                dict(
                    id=len(annotations) + first_id,
                    image_id=image_id,
                    category_id=category_id,
                    bbox=[x, y, size, size],
                    area=size * size,
                    segmentation=[[float(v) for v in corners]],
                )
            )
        name = f"images/{image_id:012d}.jpg"
        cv2.imwrite(str(folder / name), pixels)
        images.append(
            dict(
                id=image_id,
                height=64,
                width=64,
                coco_url=name,
                file_name=name,
                neg_category_ids=[],
                not_exhaustive_category_ids=[],
            )
        )
    data = dict(
        info={},
        licenses=[],
        images=images,
        annotations=annotations,
        categories=[
            dict(
                id=i,
                name=name,
                synset=f"{name}.n.01",
                synonyms=[name],
                frequency=frequency,
                image_count=1,
                instance_count=1,
                **{"def": ""},
            )
            for i, name, frequency in categories
        ],
    )
    (folder / "annotations.json").write_text(json.dumps(data))
    return folder


@pytest.fixture(autouse=True)
def default_scope() -> None:
    """Names in configs mean mmdet's, as ``default_scope = "mmdet"`` says in each config."""
    from mmengine.registry import init_default_scope

    init_default_scope("mmdet")


@pytest.fixture()
def lvis_folder() -> Callable[..., Path]:
    return write_lvis


@pytest.fixture()
def real(tmp_path: Path) -> Path:
    """Folder with train/ and val/, four images each."""
    write_lvis(tmp_path / "data/train")
    write_lvis(tmp_path / "data/val")
    return tmp_path / "data"


@pytest.fixture()
def synthetic(tmp_path: Path) -> Path:
    """A synthetic dataset: two images of the rare category."""
    folder = write_lvis(tmp_path / "synthetic", [[2], [2, 2]], first_id=1000)
    (folder / "dataset.json").write_text(json.dumps({"config_hash": "x", "config": {}}))
    return folder


@pytest.fixture()
def tiny_config(tmp_path: Path, real: Path) -> Path:
    """The demo's config, cut down to two steps of a very small detector."""
    text = f"""
_base_ = {str(ROOT / "configs/mmdet/mask-rcnn_r18_fpn_minilvis-demo.py")!r}
small_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
data_root = {str(real)!r}
train_dataloader = dict(
    batch_size=2, num_workers=0, persistent_workers=False,
    dataset=dict(data_root=data_root, pipeline=small_pipeline))
test_dataloader = dict(dataset=dict(data_root=data_root))
model = dict(
    backbone=dict(base_channels=8, stem_channels=8),
    neck=dict(in_channels=[8, 16, 32, 64], out_channels=16),
    rpn_head=dict(in_channels=16, feat_channels=16),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=16),
        mask_roi_extractor=dict(out_channels=16),
        bbox_head=dict(in_channels=16, fc_out_channels=32, num_classes=3),
        mask_head=dict(in_channels=16, conv_out_channels=8, num_classes=3)),
    test_cfg=dict(rcnn=dict(max_per_img=5)))
train_cfg = dict(max_iters=2, val_interval=2)
"""
    path = tmp_path / "tiny.py"
    path.write_text(text)
    return path


@pytest.fixture()
def made_small() -> Callable[..., Any]:
    """Changes a Mask2Former config: the same parts with fewer channels, layers and queries, for
    images of ``size`` pixels and (things, stuff) classes, and no weights to download."""

    def make(cfg: Any, size: int, classes: tuple[int, int] | None = None) -> Any:
        model = cfg.model
        if classes is not None:
            for part in (model.panoptic_head, model.panoptic_fusion_head):
                part.update(num_things_classes=classes[0], num_stuff_classes=classes[1])
            model.panoptic_head.loss_cls.class_weight = [1.0] * sum(classes) + [0.1]
        if model.backbone.type == "SwinTransformer":
            model.backbone.update(
                embed_dims=8,
                depths=[1, 1, 1, 1],
                num_heads=[1, 1, 2, 2],
                window_size=4,
                pretrain_img_size=size,
                init_cfg=None,
            )
            model.panoptic_head.in_channels = [8, 16, 32, 64]
        else:
            model.backbone.update(base_channels=8, stem_channels=8, init_cfg=None)
            times = 4 if model.backbone.depth == 50 else 1
            model.panoptic_head.in_channels = [8 * times * 2**k for k in range(4)]
        head, width = model.panoptic_head, 32
        head.update(feat_channels=width, out_channels=width, num_queries=8)
        for positions in (head.positional_encoding, head.pixel_decoder.positional_encoding):
            positions.num_feats = width // 2
        encoder, decoder = head.pixel_decoder.encoder, head.transformer_decoder
        encoder.num_layers, decoder.num_layers = 1, 3
        for layer in (encoder.layer_cfg, decoder.layer_cfg):
            for attention in (layer.self_attn_cfg, layer.get("cross_attn_cfg", {})):
                attention.update(embed_dims=width, num_heads=4)
            layer.ffn_cfg.update(embed_dims=width, feedforward_channels=width)
        model.train_cfg.num_points = 64
        model.test_cfg.max_per_image = 16  # of 8 queries, each with every class
        for augment in model.data_preprocessor.get("batch_augments") or ():
            augment.size = (size, size)
        return cfg

    return make
