"""CenterNetRPNHead: CenterNet as the proposal network of a two-stage detector.

Probabilistic two-stage detection (arXiv 2103.07461, Sec. 5): the first stage says how likely there
is an object of any class at a cell, and where its sides are. Distances leave `forward` in pixels,
in training as in testing, so boxes are decoded at one scale everywhere; mmdet's CenterNetUpdateHead
multiplies by the stride in testing alone.

Shapes: B images; L levels of the FPN with H x W cells; P cells of all levels; N proposals.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from mmcv.cnn import ConvModule, Scale
from mmcv.ops import batched_nms
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.registry import MODELS
from mmdet.structures.bbox import get_box_tensor, scale_boxes
from mmdet.utils import reduce_mean
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mf_plugin.errors import InputError
from mf_plugin.mmdet.centernet2_targets import assign_targets, make_grid

STRIDES = (8, 16, 32, 64, 128)  # P3 to P7
RANGES = ((0, 80), (64, 160), (128, 320), (256, 640), (512, float("inf")))
START = 8.0  # cells from a centre to a side before training, so that the ReLU passes gradients
PRIOR = 0.01  # probability of an object at a cell before training
NORM = dict(type="GN", num_groups=32, requires_grad=True)
LOSS_HEATMAP = dict(type="HeatmapFocalLoss")
LOSS_BOX = dict(type="GIoULoss", loss_weight=1.0)


@MODELS.register_module()
class CenterNetRPNHead(BaseDenseHead):
    """Class-agnostic proposals of CenterNet on an FPN.

    Args:
        in_channels (int): of the FPN.
        feat_channels (int): of the convolutions before the two predictions, which share them.
        stacked_convs (int): how many.
        strides (Sequence[int]): pixels a cell, by level.
        regress_ranges (Sequence[tuple]): the sizes of objects, half the diagonal of the box in
            pixels, that each level is there for.
        hm_min_overlap, hm_min_radius (float): the Gaussians of the heatmap, see `assign_targets`.
        norm_cfg (dict, optional): after each convolution.
        loss_cls (dict): of the heatmap, a HeatmapFocalLoss.
        loss_bbox (dict): of the boxes.
        num_classes (int): 1; the detector passes it to every proposal network.
        train_cfg (dict, optional): unused; the detector passes it.
        test_cfg (dict): of proposals, as ``proposal_cfg`` in training: ``nms``,
            ``max_per_img``, and where wanted ``nms_pre`` of a level, ``score_thr`` of the heatmap
            and ``min_bbox_size``.
        init_cfg (dict, optional): of the weights.

    Raises:
        InputError: strides and ranges differ in number, or num_classes is not 1.
    """

    def __init__(
        self,
        in_channels: int,
        feat_channels: int = 256,
        stacked_convs: int = 4,
        strides: Sequence[int] = STRIDES,
        regress_ranges: Sequence[tuple[float, float]] = RANGES,
        hm_min_overlap: float = 0.8,
        hm_min_radius: float = 4.0,
        norm_cfg: dict | None = NORM,
        loss_cls: dict = LOSS_HEATMAP,
        loss_bbox: dict = LOSS_BOX,
        num_classes: int = 1,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        if len(strides) != len(regress_ranges):
            raise InputError(
                f"{len(strides)} strides and {len(regress_ranges)} regress_ranges: expected as "
                "many of the one as of the other"
            )
        if num_classes != 1:
            raise InputError(f"num_classes {num_classes}: proposals know one class, expected 1")
        if init_cfg is None:
            init_cfg = dict(
                type="Normal",
                layer="Conv2d",
                std=0.01,
                override=[
                    dict(type="Normal", name="conv_heatmap", std=0.01, bias_prob=PRIOR),
                    dict(type="Normal", name="conv_sides", std=0.01, bias=START),
                ],
            )
        super().__init__(init_cfg=init_cfg)
        self.strides = tuple(strides)
        self.regress_ranges = tuple((low, high) for low, high in regress_ranges)
        self.hm_min_overlap, self.hm_min_radius = hm_min_overlap, hm_min_radius
        self.train_cfg, self.test_cfg = train_cfg, test_cfg
        self.loss_cls = MODELS.build(loss_cls)
        self.loss_bbox = MODELS.build(loss_bbox)
        channels = [in_channels] + [feat_channels] * stacked_convs
        self.convs = nn.Sequential(
            *(ConvModule(a, b, 3, padding=1, norm_cfg=norm_cfg) for a, b in pairwise(channels))
        )
        self.conv_heatmap = nn.Conv2d(channels[-1], 1, 3, padding=1)
        self.conv_sides = nn.Conv2d(channels[-1], 4, 3, padding=1)
        self.scales = nn.ModuleList(Scale(1.0) for _ in self.strides)

    def forward(self, x: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor]]:
        """Heatmap logits [B, 1, H, W] and, in pixels, the distances from each cell's centre to the
        left, top, right and bottom side [B, 4, H, W], by level."""
        if len(x) != len(self.strides):
            raise InputError(
                f"CenterNetRPNHead got {len(x)} feature maps for strides {self.strides}: the "
                "FPN's num_outs must agree with them"
            )
        heatmaps, sides = [], []
        for features, scale, stride in zip(x, self.scales, self.strides, strict=True):
            features = self.convs(features)
            heatmaps.append(self.conv_heatmap(features))
            sides.append(scale(self.conv_sides(features)).float().relu() * stride)
        return heatmaps, sides

    def loss_by_feat(
        self,
        heatmaps: list[Tensor],
        sides: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: list[InstanceData] | None = None,
    ) -> dict[str, Tensor]:
        """The losses of the heatmap and of the boxes around the objects' centres."""
        sizes = [heatmap.shape[-2:] for heatmap in heatmaps]
        grid = make_grid(sizes, self.strides, self.regress_ranges, heatmaps[0].device)
        logits = torch.cat([heatmap.flatten(1) for heatmap in heatmaps], dim=1)  # B, P
        by_cell = [s.permute(0, 2, 3, 1).flatten(1, 2) for s in sides]
        distances = torch.cat(by_cell, dim=1)  # B, P, 4

        hot, positive, predicted, wanted = [], [], [], []
        for i, instances in enumerate(batch_gt_instances):
            boxes = get_box_tensor(instances.bboxes)
            targets = assign_targets(grid, boxes, self.hm_min_overlap, self.hm_min_radius)
            hot.append(targets.heatmap)
            positive.append(targets.peaks + i * logits.shape[1])
            predicted.append(to_boxes(grid.points[targets.cells], distances[i, targets.cells]))
            wanted.append(boxes[targets.objects].to(distances.dtype))
        peaks, boxes = torch.cat(positive), torch.cat(predicted)

        loss_heatmap = self.loss_cls(
            logits.flatten(), torch.cat(hot), peaks, avg_factor=_mean_count(peaks)
        )
        count = _mean_count(boxes)  # every process takes part
        if len(boxes):
            loss_box = self.loss_bbox(boxes, torch.cat(wanted), avg_factor=count)
        else:
            loss_box = distances.sum() * 0
        return dict(loss_rpn_heatmap=loss_heatmap, loss_rpn_bbox=loss_box)

    def predict_by_feat(
        self,
        heatmaps: list[Tensor],
        sides: list[Tensor],
        batch_img_metas: list[dict],
        cfg: Any = None,
        rescale: bool = False,
    ) -> list[InstanceData]:
        """N proposals an image: ``bboxes`` [N, 4], ``scores`` [N], ``labels`` [N], all 0; scores
        are the square roots of the heatmap's probabilities, by descending score."""
        cfg = self.test_cfg if cfg is None else cfg
        sizes = [heatmap.shape[-2:] for heatmap in heatmaps]
        grid = make_grid(sizes, self.strides, self.regress_ranges, heatmaps[0].device)
        points = grid.points.split([rows * columns for rows, columns in sizes])
        results = []
        for i, meta in enumerate(batch_img_metas):
            boxes, scores = [], []
            for level_points, heatmap, level_sides in zip(points, heatmaps, sides, strict=True):
                probability = heatmap[i].detach().float().sigmoid().flatten()
                chosen = (probability > cfg.get("score_thr", 0.0)).nonzero().squeeze(1)
                limit = cfg.get("nms_pre", -1)
                count = min(len(chosen), limit) if limit >= 0 else len(chosen)
                chosen = chosen[probability[chosen].topk(count).indices]
                level_sides = level_sides[i].detach().flatten(1).t()[chosen]
                boxes.append(to_boxes(level_points[chosen], level_sides))
                scores.append(probability[chosen].sqrt())
            results.append(_suppress(torch.cat(boxes), torch.cat(scores), meta["img_shape"], cfg))
            if rescale:
                factor = [1 / s for s in meta["scale_factor"]]
                results[-1].bboxes = scale_boxes(results[-1].bboxes, factor)
        return results


def to_boxes(points: Tensor, sides: Tensor) -> Tensor:
    """Boxes [N, 4], x1, y1, x2, y2, from points [N, 2] and distances [N, 4] to left, top, right and
    bottom, both in pixels."""
    return torch.cat((points - sides[:, :2], points + sides[:, 2:]), dim=1)


def _suppress(boxes: Tensor, scores: Tensor, shape: tuple[int, int], cfg: Any) -> InstanceData:
    """Clip to the image's rows and columns, drop empty boxes and duplicates, keep the best."""
    rows, columns = shape[:2]
    limit = boxes.new_tensor([columns, rows, columns, rows])
    boxes = torch.minimum(boxes.clamp(min=0), limit)
    extent = boxes[:, 2:] - boxes[:, :2]
    large = (extent > max(0.0, cfg.get("min_bbox_size", 0))).all(1)
    boxes, scores = boxes[large], scores[large]
    labels = torch.zeros(len(boxes), dtype=torch.int64, device=boxes.device)
    if len(boxes):
        _, kept = batched_nms(boxes, scores, labels, cfg["nms"])
        kept = kept[: cfg["max_per_img"]]
        boxes, scores, labels = boxes[kept], scores[kept], labels[kept]
    return InstanceData(bboxes=boxes, scores=scores, labels=labels)


def _mean_count(rows: Tensor) -> float:
    """Rows of all processes together, divided by the processes; at least 1."""
    count = torch.tensor(float(len(rows)), device=rows.device)
    return max(reduce_mean(count).item(), 1.0)
