"""`with_synthetic` on configs of the mmdet package: their training sets with synthetic images in.

The real data are COCO's or LVIS's categories on a few small images; the synthetic dataset has three
of them, in another order and under other ids. Each category is drawn in a colour of its own, so the
pixels under a box say which label is right, whatever the pipeline did to the image.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import mmdet
import numpy as np
import pytest
import torch
from mmdet.datasets import CityscapesDataset, CocoDataset, LVISV1Dataset
from mmdet.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.runner import Runner

from mf_plugin.errors import InputError
from mf_plugin.mmdet import with_synthetic
from mf_plugin.mmdet.registered import leaves

PACKAGE = Path(mmdet.__file__).parent / ".mim/configs"
CHANNEL = {"person": 0, "cat": 1, "toothbrush": 2}  # of BGR, the one that is bright
COCO_GAPS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)  # ids that COCO's 80 categories leave out
SYNTHETIC_CATEGORIES = ((1, "toothbrush"), (2, "person"), (3, "cat"))  # ids of other COCO classes
HEIGHT, WIDTH, SIDE = 96, 128, 36


def coco_categories() -> list[tuple[int, str]]:
    ids = [i for i in range(1, 91) if i not in COCO_GAPS]
    return list(zip(ids, CocoDataset.METAINFO["classes"]))


def lvis_categories() -> list[tuple[int, str]]:
    return list(enumerate(LVISV1Dataset.METAINFO["classes"], 1))


def write_dataset(folder: Path, categories, contents: list[list[str]], first_id: int) -> Path:
    """A folder with annotations.json and images/, one image per list of category names."""
    (folder / "images").mkdir(parents=True)
    ids = {name: i for i, name in categories}
    images, annotations = [], []
    for image_id, names in enumerate(contents, first_id):
        pixels = np.full((HEIGHT, WIDTH, 3), 60, dtype=np.uint8)
        for k, name in enumerate(names):
            x, y = 6 + 60 * (k % 2), 8 + 20 * k
            pixels[y : y + SIDE, x : x + SIDE, CHANNEL[name]] = 230
            corners = [x, y, x + SIDE, y, x + SIDE, y + SIDE, x, y + SIDE]
            annotations.append(
                dict(
                    id=len(annotations) + first_id,
                    image_id=image_id,
                    category_id=ids[name],
                    bbox=[x, y, SIDE, SIDE],
                    area=SIDE * SIDE,
                    iscrowd=0,
                    segmentation=[[float(v) for v in corners]],
                )
            )
        path = f"images/{image_id:012d}.jpg"
        cv2.imwrite(str(folder / path), pixels)
        images.append(
            dict(
                id=image_id,
                height=HEIGHT,
                width=WIDTH,
                file_name=path,
                coco_url=path,
                neg_category_ids=[],
                not_exhaustive_category_ids=[],
            )
        )
    listed = [
        dict(id=i, name=name, synonyms=[name], frequency="f", image_count=1, instance_count=1)
        for i, name in categories
    ]
    data = dict(images=images, annotations=annotations, categories=listed)
    (folder / "annotations.json").write_text(json.dumps(data))
    return folder


REAL_CONTENTS = [["person", "cat"], ["cat"], ["toothbrush"], ["person"], ["cat", "toothbrush"]]


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("package_configs")
    write_dataset(root / "coco", coco_categories(), REAL_CONTENTS, 1)
    write_dataset(root / "lvis", lvis_categories(), REAL_CONTENTS, 1)
    contents = [["toothbrush"], ["cat", "person"], ["person", "toothbrush"]]
    write_dataset(root / "synthetic", SYNTHETIC_CATEGORIES, contents, 1000)
    (root / "synthetic/dataset.json").write_text(json.dumps({"config_hash": "x", "config": {}}))
    return {name: root / name for name in ("coco", "lvis", "synthetic")}


def read(name: str, folder: Path | None = None) -> Config:
    """A config of the package, on a folder of ours where one is given."""
    cfg = Config.fromfile(PACKAGE / name)
    if folder is not None:
        for leaf in leaves(cfg.train_dataloader.dataset):
            # it exchanges colours
            leaf.pipeline = [t for t in leaf.pipeline if t.type != "PhotoMetricDistortion"]
            leaf.update(
                data_root=str(folder), ann_file="annotations.json", data_prefix=dict(img="")
            )
        cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
        cfg.train_dataloader.pop("prefetch_factor", None)
    return cfg


def draw(cfg: Config, folders, synthetic_images: int = 2) -> list[tuple[torch.Tensor, Any, bool]]:
    """(image, sample, is it synthetic) of whole batches, until so many synthetic ones came."""
    np.random.seed(0), torch.manual_seed(0)
    changed = with_synthetic(cfg, str(folders["synthetic"]), ratio=0.6)
    loader = Runner.build_dataloader(changed.train_dataloader, seed=0)
    found: list[tuple[torch.Tensor, Any, bool]] = []
    for epoch in range(20):
        loader.batch_sampler.sampler.set_epoch(epoch)
        for batch in loader:
            for image, sample in zip(batch["inputs"], batch["data_samples"]):
                found.append((image, sample, str(folders["synthetic"]) in sample.img_path))
            with_objects = [s for _, s, synthetic in found if synthetic and len(s.gt_instances)]
            if len(with_objects) >= synthetic_images:
                return found
    raise AssertionError("no synthetic images were drawn")


def wrong_labels(image: torch.Tensor, sample: Any, names: tuple[str, ...]) -> list[str]:
    """The objects whose label is not what the pixels in their box, or in their mask, show."""
    wrong, truth = [], sample.gt_instances
    boxes = getattr(truth.bboxes, "tensor", truth.bboxes)
    for k, label in enumerate(truth.labels.tolist()):
        if "masks" in truth:
            inside = torch.from_numpy(truth.masks[k].to_ndarray()[0]).bool()
        else:
            x1, y1, x2, y2 = boxes[k].round().int().clamp(min=0).tolist()
            inside = torch.zeros(image.shape[1:], dtype=torch.bool)
            inside[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)] = True
        channel = image[:, inside].float().mean(dim=1)
        if CHANNEL.get(names[label]) != int(channel.argmax()):
            wrong.append(f"{names[label]} at {boxes[k].tolist()}: {channel.tolist()}")
    return wrong


CONFIGS = [
    "mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py",
    "mask_rcnn/mask-rcnn_r50_fpn_8xb8-amp-lsj-200e_coco.py",  # RepeatDataset
    "lvis/mask-rcnn_r50_fpn_sample1e-3_ms-1x_lvis-v1.py",  # ClassBalancedDataset
    "cascade_rcnn/cascade-mask-rcnn_r50_fpn_ms-3x_coco.py",
    "htc/htc-without-semantic_r50_fpn_1x_coco.py",
    "mask2former/mask2former_r50_8xb2-lsj-50e_coco.py",
    "rtmdet/rtmdet-ins_tiny_8xb32-300e_coco.py",  # CachedMosaic, CachedMixUp
    "solov2/solov2_r50_fpn_ms-3x_coco.py",
    "queryinst/queryinst_r50_fpn_ms-480-800-3x_coco.py",
    "condinst/condinst_r50_fpn_ms-poly-90k_coco_instance.py",
    "yolact/yolact_r50_1xb8-55e_coco.py",
    "point_rend/point-rend_r50-caffe_fpn_ms-1x_coco.py",
    "ms_rcnn/ms-rcnn_r50-caffe_fpn_1x_coco.py",
    "detectors/detectors_cascade-rcnn_r50_1x_coco.py",
    "seesaw_loss/mask-rcnn_r50_fpn_seesaw-loss_sample1e-3-ms-2x_lvis-v1.py",
    "faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py",
    "dino/dino-4scale_r50_8xb2-12e_coco.py",
    "detr/detr_r50_8xb2-150e_coco.py",
    "atss/atss_r50_fpn_1x_coco.py",
    "gfl/gfl_r50_fpn_ms-2x_coco.py",
    "yolox/yolox_tiny_8xb8-300e_coco.py",  # Mosaic and MixUp in a MultiImageMixDataset
    "boxinst/boxinst_r50_fpn_ms-90k_coco.py",
    "dcn/mask-rcnn_r50-dconv-c3-c5_fpn_1x_coco.py",
    "simple_copy_paste/mask-rcnn_r50_fpn_rpn-2conv_4conv1fc_syncbn-all_32xb2-ssj-scp-90k_coco.py",
    "mm_grounding_dino/coco/grounding_dino_swin-t_finetune_16xb4_1x_coco.py",
]


@pytest.mark.parametrize("name", CONFIGS)
def test_a_batch_has_the_right_labels(name, folders):
    lvis = "lvis" in name
    cfg = read(name, folders["lvis" if lvis else "coco"])
    found = draw(cfg, folders)
    names = (LVISV1Dataset if lvis else CocoDataset).METAINFO["classes"]
    wrong = [text for image, sample, _ in found for text in wrong_labels(image, sample, names)]
    assert not wrong


@pytest.mark.parametrize(
    "name, message",
    [
        ("htc/htc_r50_fpn_1x_coco.py", "a pipeline that loads semantic maps"),
        ("fast_rcnn/fast-rcnn_r50_fpn_1x_coco.py", "proposals"),
        ("openimages/faster-rcnn_r50_fpn_32xb2-cas-1x_openimages.py", "sampler ClassAwareSampler"),
        (
            "soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py",
            "sampler GroupMultiSourceSampler",
        ),
        ("mm_grounding_dino/grounding_dino_swin-t_pretrain_obj365.py", "annotated with texts"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(name, message):
    with pytest.raises(InputError, match=message):
        with_synthetic(read(name), "f")


def test_a_vocabulary_that_does_not_fit_is_listed(folders, tmp_path):
    """Cityscapes has persons, but neither cats nor toothbrushes."""
    classes = CityscapesDataset.METAINFO["classes"]
    write_dataset(tmp_path / "real", list(enumerate(classes, 1)), [["person"]], 1)
    cfg = read("cityscapes/mask-rcnn_r50_fpn_1x_cityscapes.py", tmp_path / "real")
    changed = with_synthetic(cfg, str(folders["synthetic"])).train_dataloader
    with pytest.raises(InputError, match="2 of its 3 categories fit none .* 'toothbrush' .id 1, "):
        DATASETS.build(changed.dataset)


def shrunken(cfg: Config) -> Any:
    """The detector of a config on a ResNet-18, and what is beside it as small as it may be."""
    model = cfg.model
    _without_weights(model)
    model.data_preprocessor.pop("batch_augments", None)  # pads to 1024 x 1024
    basic = model.backbone.type == "ResNet" and "dcn" not in model.backbone  # needs bottlenecks
    if basic and model.backbone.depth != 18:
        model.backbone.depth = 18
        narrow = [64, 128, 256, 512]
        if "neck" in model:
            model.neck.in_channels = narrow
        else:
            model.panoptic_head.in_channels = narrow
    for part, few in (
        (model.get("train_cfg"), dict(num_points=64)),
        ((model.get("train_cfg") or {}).get("rpn_proposal"), dict(nms_pre=64, max_per_img=16)),
        (((model.get("train_cfg") or {}).get("rcnn") or {}).get("sampler"), dict(num=16)),
        (model.get("panoptic_head"), dict(num_queries=10)),
        (model.get("mask_head"), dict(max_masks_to_train=8)),
    ):
        if part and set(few) <= set(part):
            part.update(few)
    return model


def _without_weights(node: Any) -> None:
    if isinstance(node, dict):
        for key in ("init_cfg", "pretrained"):
            if key in node:
                node[key] = None
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for value in node:
            _without_weights(value)


@pytest.mark.parametrize(
    "name",
    [
        "mask_rcnn/mask-rcnn_r18_fpn_8xb8-amp-lsj-200e_coco.py",
        "solov2/solov2-light_r18_fpn_ms-3x_coco.py",
        "rtmdet/rtmdet-ins_tiny_8xb32-300e_coco.py",
        "condinst/condinst_r50_fpn_ms-poly-90k_coco_instance.py",
        "mask2former/mask2former_r50_8xb2-lsj-50e_coco.py",
        "dcn/mask-rcnn_r50-dconv-c3-c5_fpn_1x_coco.py",
    ],
)
def test_a_training_step_on_real_and_synthetic_images(name, folders):
    cfg = read(name, folders["coco"])
    cfg.train_dataloader.dataset = next(leaves(cfg.train_dataloader.dataset))
    cfg.train_dataloader.dataset.pipeline = [
        dict(type="LoadImageFromFile"),
        dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
        dict(type="PackDetInputs"),
    ]
    union = DATASETS.build(with_synthetic(cfg, str(folders["synthetic"])).train_dataloader.dataset)
    torch.manual_seed(0)
    model = MODELS.build(shrunken(cfg)).train()
    data = model.data_preprocessor(pseudo_collate([union[0], union[len(union) - 1]]), True)
    total, _ = model.parse_losses(model(**data, mode="loss"))
    total.backward()
    assert torch.isfinite(total) and total > 0
