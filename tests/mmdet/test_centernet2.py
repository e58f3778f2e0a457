"""CenterNet2 as a whole: a small one learns four images, the demo's learns the demo preset."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox_overlaps
from mmengine.config import Config
from mmengine.dataset import pseudo_collate

from mf_plugin.evaluation.rare import evaluate_lvis
from mf_plugin.mmdet import LVISJsonDataset

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "configs/mmdet/centernet2_r18_fpn_minilvis-demo.py"
PIPELINE = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
    dict(type="Resize", scale=(64, 64), keep_ratio=True),  # as they are
    dict(type="PackDetInputs"),
]


def small_model() -> torch.nn.Module:
    """The demo's detector with fewer channels and three classes."""
    model = Config.fromfile(CONFIG).model
    model.backbone.update(base_channels=8, stem_channels=8)
    model.neck.update(in_channels=[8, 16, 32, 64], out_channels=16)
    model.rpn_head.update(in_channels=16, feat_channels=16)
    model.rpn_head.norm_cfg.num_groups = 4
    roi_head = model.roi_head
    roi_head.bbox_roi_extractor.out_channels = roi_head.mask_roi_extractor.out_channels = 16
    for head in roi_head.bbox_head:
        head.update(in_channels=16, fc_out_channels=64, num_classes=3)
        head.loss_cls.counts = [3, 1, 2]
    roi_head.mask_head.update(in_channels=16, conv_out_channels=16, num_classes=3)
    torch.manual_seed(0)
    model = MODELS.build(model)
    model.init_weights()
    return model


def best_overlaps(samples, boxes_of_images) -> torch.Tensor:
    """The best IoU that each true box finds."""
    return torch.cat(
        [
            bbox_overlaps(sample.gt_instances.bboxes, boxes).amax(1)
            for sample, boxes in zip(samples, boxes_of_images)
        ]
    )


def test_it_learns_four_images(real):
    dataset = LVISJsonDataset("annotations.json", str(real / "train"), pipeline=PIPELINE)
    model = small_model()
    batch = pseudo_collate([dataset[i] for i in range(4)])
    data = model.data_preprocessor(batch, training=True)
    inputs, samples = data["inputs"], data["data_samples"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    history = []
    for _ in range(120):
        total, parts = model.parse_losses(model.loss(inputs, samples))
        optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        history.append({key: value.item() for key, value in parts.items()})
    for key in ("loss", "loss_rpn_heatmap", "loss_rpn_bbox", "s0.loss_cls", "s0.loss_mask"):
        assert history[-1][key] < 0.5 * history[0][key], (key, history[0][key], history[-1][key])

    # Proposals have the size of the objects, in training as in testing.
    features = model.extract_feat(inputs)
    _, trained = model.rpn_head.loss_and_predict(
        features, samples, proposal_cfg=model.train_cfg.rpn_proposal
    )
    tested = model.rpn_head.predict(features, samples)
    for proposals in (trained, tested):
        objects = [len(sample.gt_instances) for sample in samples]
        best = [p.bboxes[:n] for p, n in zip(proposals, objects)]
        sizes = torch.cat([box[:, 2:] - box[:, :2] for box in best])
        assert sizes.mean().item() == pytest.approx(18, rel=0.25), "squares of 18 x 18"
        assert (best_overlaps(samples, [p.bboxes for p in proposals]) > 0.6).all()
    for a, b in zip(trained, tested):
        assert torch.equal(a.bboxes, b.bboxes) and torch.equal(a.scores, b.scores)

    # Detections have the right class, box and mask.
    model.eval()
    with torch.no_grad():
        found = model.predict(inputs, samples, rescale=False)
    for sample in found:
        count = len(sample.gt_instances)
        top = sample.pred_instances[:count]
        assert sorted(top.labels.tolist()) == sorted(sample.gt_instances.labels.tolist())
        overlaps = bbox_overlaps(sample.gt_instances.bboxes, top.bboxes)
        assert (overlaps.amax(1) > 0.6).all()
        assert top.masks.sum((1, 2)).float().mean().item() == pytest.approx(18 * 18, rel=0.3)


@pytest.mark.heavy
def test_the_demo_config_learns_the_demo_preset(tmp_path):
    """The real arm by the commands that a user runs; boxes of minival, a style it has not seen."""
    environment = dict(os.environ, PYTHONPATH=str(ROOT))

    def run(*arguments: object) -> None:
        subprocess.run([sys.executable, *map(str, arguments)], check=True, env=environment)

    data, work_dir = tmp_path / "data", tmp_path / "work"
    splits = ["--split", "train", "--split", "minival"]
    run(ROOT / "tools/build_minilvis.py", "--preset", "demo", *splits, "--out", data)
    run(
        ROOT / "tools/train_net.py",
        "--config",
        CONFIG,
        "--no-synthetic",
        "--seed",
        1,
        "--work-dir",
        work_dir,
        "--cfg-options",
        f"data_root={data}",
        "test_dataloader.dataset.ann_file=minival/annotations.json",
        "test_dataloader.dataset.data_prefix.img=minival",
    )
    found = evaluate_lvis(data / "minival/annotations.json", work_dir / "results.segm.json")
    assert found["bbox"]["AP"] > 10 and found["segm"]["AP"] > 8
