"""Synthetic folders with label maps: semantic and panoptic training."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmdet.datasets import BaseSegDataset, CocoPanopticDataset
from mmdet.registry import DATASETS
from mmengine.config import Config
from PIL import Image

from mf_plugin.errors import InputError
from mf_plugin.evaluation.panoptic import pixels_of_ids
from mf_plugin.mmdet import with_synthetic, without_synthetic
from mf_plugin.mmdet.image_sources import image_sources
from mf_plugin.mmdet.training import TrainingOptions, train

CONFIGS = Path(__file__).parents[2] / "configs/mmdet"
CLASSES = ("cup", "anvil", "bow", "sky")  # of the real dataset
# The synthetic folder orders and numbers them otherwise, and has one more.
NAMES = ("sky", "cup", "bow", "anvil", "moon")
IDS = {name: 10 * place for place, name in enumerate(NAMES, 1)}
PLACES = {name: place for place, name in enumerate(NAMES, 1)}


def grid(values):
    """A label map of 64 x 64 in four squares."""
    return np.kron(np.array(values).reshape(2, 2), np.ones((32, 32), int))


def synthetic_folder(tmp_path, lvis_folder, maps, panoptic=False, sources=()):
    """A folder with a label map an image: (value of each of four squares)."""
    folder = lvis_folder(tmp_path / "made", [[7]] * len(maps), ((7, "cup", "f"),), first_id=1)
    data = json.loads((folder / "annotations.json").read_text())
    template = data["categories"][0]
    data["categories"] = [{**template, "id": i, "name": name} for name, i in IDS.items()]
    for annotation in data["annotations"]:
        annotation["category_id"] = IDS["cup"]
    for image, source in zip(data["images"], sources):
        image.update(source_image_id=source[0], source_file_name=source[1])
    (folder / "annotations.json").write_text(json.dumps(data))
    (folder / "dataset.json").write_text(json.dumps({"config_hash": "x", "config": {}}))
    (folder / "labels").mkdir()
    annotations = []
    for image, values in zip(data["images"], maps):
        name = f"{image['id']:012d}.png"
        ids = grid(values)
        if panoptic:  # segment id 300 + position, category as given
            ids = grid([300 + k for k in range(4)])
            infos = [
                dict(
                    id=300 + k,
                    category_id=value,
                    area=1024,
                    iscrowd=0,
                    bbox=[32 * (k % 2), 32 * (k // 2), 32, 32],
                )
                for k, value in enumerate(values)
            ]
            annotations.append(dict(image_id=image["id"], file_name=name, segments_info=infos))
            Image.fromarray(pixels_of_ids(ids)).save(folder / "labels" / name)
        else:
            Image.fromarray(ids.astype(np.uint8)).save(folder / "labels" / name)
    if panoptic:
        things = [dict(c, isthing=1) for c in data["categories"]]
        images = [dict(i, file_name=i["file_name"].split("/")[-1]) for i in data["images"]]
        (folder / "panoptic.json").write_text(
            json.dumps(dict(images=images, annotations=annotations, categories=things))
        )
    return folder


# ---------------------------------------------------------------- semantic


@DATASETS.register_module(force=True)
class TinySegDataset(BaseSegDataset):
    METAINFO = dict(classes=CLASSES)


def semantic_config(tmp_path, reduce):
    for sub in ("images", "labels"):
        (tmp_path / "real" / sub).mkdir(parents=True)
    for name in ("a", "b"):
        cv2.imwrite(str(tmp_path / f"real/images/{name}.jpg"), np.full((64, 64, 3), 90, np.uint8))
        labels = grid([0, 1, 2, 3]) + (1 if reduce else 0)
        Image.fromarray(labels.astype(np.uint8)).save(tmp_path / f"real/labels/{name}.png")
    dataset = dict(
        type="TinySegDataset",
        data_root=str(tmp_path / "real"),
        data_prefix=dict(img_path="images", seg_map_path="labels"),
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(
                type="LoadAnnotations",
                with_bbox=True,
                with_mask=True,
                with_seg=True,
                reduce_zero_label=reduce,
            ),
            dict(type="PackDetInputs"),
        ],
    )
    return Config(dict(default_scope="mmdet", train_dataloader=dict(dataset=dataset)))


@pytest.mark.parametrize("reduce", [True, False])
def test_semantic_labels_are_the_real_datasets(tmp_path, lvis_folder, reduce):
    maps = [
        [PLACES["cup"], PLACES["sky"], 0, PLACES["anvil"]],
        [PLACES["bow"], PLACES["moon"], 0, 255],
    ]
    sources = [(2, "b.jpg"), (2, "b.jpg")]
    folder = synthetic_folder(tmp_path, lvis_folder, maps, sources=sources)
    real = semantic_config(tmp_path, reduce)
    cfg = with_synthetic(real, str(folder), policy="replace", ratio=0.6)
    union = DATASETS.build(cfg.train_dataloader.dataset)
    assert union.is_synthetic.tolist() == [False, False, True, True]
    assert image_sources(union) == (
        ["a.jpg", "b.jpg", f"{1:012d}.jpg", f"{2:012d}.jpg"],
        [None, None, "b.jpg", "b.jpg"],
    )
    for index, expected in ((0, [0, 1, 2, 3]), (2, [0, 3, 255, 1]), (3, [2, 255, 255, 255])):
        sample = union[index]["data_samples"]
        assert np.array_equal(sample.gt_sem_seg.sem_seg[0].numpy(), grid(expected))
        assert len(sample.gt_instances) == 0
    assert without_synthetic(cfg).train_dataloader.dataset == real.train_dataloader.dataset


def test_the_sampler_draws_semantic_images(tmp_path, lvis_folder):
    from itertools import islice

    from mmdet.registry import DATA_SAMPLERS

    folder = synthetic_folder(tmp_path, lvis_folder, [[1, 1, 1, 1]], sources=[(2, "b.jpg")])
    cfg = with_synthetic(semantic_config(tmp_path, True), str(folder), "replace", 1.0)
    sampler = DATA_SAMPLERS.build(
        dict(cfg.train_dataloader.sampler, seed=0),
        default_args=dict(dataset=DATASETS.build(cfg.train_dataloader.dataset)),
    )
    assert set(islice(sampler, 30)) == {0, 2}, "a stays, b gives way to its version"


def test_a_folder_without_label_maps_is_named(tmp_path, lvis_folder):
    folder = synthetic_folder(tmp_path, lvis_folder, [[1, 1, 1, 1]])
    (folder / "labels" / f"{1:012d}.png").unlink()
    cfg = with_synthetic(semantic_config(tmp_path, True), str(folder))
    with pytest.raises(InputError, match="000001.png is missing: .* kind='semantic'"):
        DATASETS.build(cfg.train_dataloader.dataset)


# ---------------------------------------------------------------- panoptic


@DATASETS.register_module(force=True)
class TinyPanopticDataset(CocoPanopticDataset):
    METAINFO = dict(
        classes=CLASSES, thing_classes=CLASSES[:3], stuff_classes=CLASSES[3:], palette=[]
    )


def panoptic_config(tmp_path):
    root = tmp_path / "real"
    for sub in ("images", "maps"):
        (root / sub).mkdir(parents=True)
    cv2.imwrite(str(root / "images/9.jpg"), np.full((64, 64, 3), 90, np.uint8))
    Image.fromarray(pixels_of_ids(grid([1, 2, 3, 3]))).save(root / "maps/9.png")
    infos = [
        dict(id=k, category_id=c, area=1024, iscrowd=0, bbox=[0, 0, 32, 32])
        for k, c in ((1, 10), (2, 20), (3, 40))
    ]
    names = [dict(id=10 * k, name=n, isthing=int(n != "sky")) for k, n in enumerate(CLASSES, 1)]
    data = dict(
        images=[dict(id=9, file_name="9.jpg", height=64, width=64)],
        annotations=[dict(image_id=9, file_name="9.png", segments_info=infos)],
        categories=names,
    )
    (root / "panoptic.json").write_text(json.dumps(data))
    dataset = dict(
        type="TinyPanopticDataset",
        data_root=str(root),
        ann_file="panoptic.json",
        data_prefix=dict(img="images/", seg="maps/"),
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="LoadPanopticMaps", with_bbox=True, with_mask=True, with_seg=True),
            dict(type="PackDetInputs"),
        ],
    )
    return Config(dict(default_scope="mmdet", train_dataloader=dict(dataset=dataset)))


def test_panoptic_segments_have_the_real_datasets_labels(tmp_path, lvis_folder):
    maps = [[IDS["cup"], IDS["sky"], IDS["cup"], IDS["anvil"]]]
    folder = synthetic_folder(tmp_path, lvis_folder, maps, panoptic=True, sources=[(9, "9.jpg")])
    cfg = with_synthetic(panoptic_config(tmp_path), str(folder), "replace", 0.5)
    union = DATASETS.build(cfg.train_dataloader.dataset)
    assert image_sources(union) == ([9, 1], [None, 9])
    own, made = (union[i]["data_samples"] for i in range(2))
    assert own.gt_instances.labels.tolist() == [0, 1]
    assert np.array_equal(own.gt_sem_seg.sem_seg[0].numpy(), grid([0, 1, 3, 3]))
    # the real dataset says that the sky is no thing, whatever the synthetic json has
    assert made.gt_instances.labels.tolist() == [0, 0, 1]
    assert np.array_equal(made.gt_sem_seg.sem_seg[0].numpy(), grid([0, 3, 0, 1]))
    masks = made.gt_instances.masks.masks
    assert [mask.sum() for mask in masks] == [1024] * 3
    assert masks[1][40, 10] == 1
    assert made.gt_instances.bboxes[1].tensor[0].tolist() == [0, 32, 32, 64]


def test_a_folder_of_another_kind_is_named(tmp_path, lvis_folder):
    folder = synthetic_folder(tmp_path, lvis_folder, [[1, 1, 1, 1]])
    cfg = with_synthetic(panoptic_config(tmp_path), str(folder))
    with pytest.raises(InputError, match="holds no panoptic.json: .* kind='panoptic'"):
        DATASETS.build(cfg.train_dataloader.dataset)


def test_a_segment_of_no_class_is_named(tmp_path, lvis_folder):
    folder = synthetic_folder(tmp_path, lvis_folder, [[IDS["moon"]] * 4], panoptic=True)
    cfg = with_synthetic(panoptic_config(tmp_path), str(folder))
    with pytest.raises(InputError, match="'moon' .id 50"):
        DATASETS.build(cfg.train_dataloader.dataset)


# ---------------------------------------------------------------- training


def two_steps(cfg, name):
    """The named config with the training set of ``cfg``, measured on it, too; two steps."""
    full = Config.fromfile(CONFIGS / f"{name}.py")
    dataset = cfg.train_dataloader.dataset
    full.train_dataloader.update(
        dataset=dataset, batch_size=2, num_workers=0, persistent_workers=False
    )
    full.test_dataloader.update(
        dataset=dict(dataset, test_mode=True), num_workers=0, persistent_workers=False
    )
    for part in ("val_dataloader", "val_evaluator", "val_cfg"):
        full[part] = None
    full.train_cfg = dict(type="IterBasedTrainLoop", max_iters=2)
    return full


def run(full, tmp_path, **options):
    path = tmp_path / "config.py"
    full.dump(path)
    train(TrainingOptions(str(path), work_dir=str(tmp_path / "run"), **options))
    logs = list((tmp_path / "run").glob("*/*.json"))
    return [json.loads(p.read_text()) for p in logs]


def test_semantic_training_with_synthetic_images(tmp_path, lvis_folder, made_small):
    maps = [[PLACES["cup"], PLACES["sky"], 0, PLACES["anvil"]]]
    folder = synthetic_folder(tmp_path, lvis_folder, maps, sources=[(2, "b.jpg")])
    cfg = semantic_config(tmp_path, True)
    full = made_small(two_steps(cfg, "mask2former_r50_160k_ade20k"), 64, (0, 4))
    (scores,) = run(full, tmp_path, synthetic=str(folder), policy="replace", synthetic_ratio=0.6)
    assert 0 <= scores["semantic/mIoU"] <= 100 and 0 <= scores["semantic/aAcc"] <= 100


def test_panoptic_training_on_synthetic_images_alone(tmp_path, lvis_folder, made_small):
    pytest.importorskip("hotcoco", reason="hotcoco is not installed")
    maps = [[IDS["cup"], IDS["sky"], IDS["cup"], IDS["anvil"]]]
    folder = synthetic_folder(tmp_path, lvis_folder, maps, panoptic=True, sources=[(9, "9.jpg")])
    cfg = panoptic_config(tmp_path)
    full = made_small(two_steps(cfg, "mask2former_r50_lsj-50e_coco-panoptic"), 64, (3, 1))
    full.test_evaluator = dict(
        type="PanopticQuality",
        ann_file=str(tmp_path / "real/panoptic.json"),
        seg_prefix=str(tmp_path / "real/maps"),
        outfile_prefix="elsewhere",
    )
    (scores,) = run(full, tmp_path, synthetic=str(folder), synthetic_only=True)
    assert 0 <= scores["panoptic/PQ"] <= 100
    assert (tmp_path / "run/results.panoptic/9.png").is_file()
