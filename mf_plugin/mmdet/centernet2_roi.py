"""CenterNet2RoIHead: the second stage of CenterNet2, a cascade that multiplies probabilities.

Probabilistic two-stage detection (arXiv 2103.07461, Sec. 4): the score of a class is
P(object) P(class | object). The published detector takes the root of the product, and the mean of
the cascade's stages for the second factor. Boxes and masks are predicted for any class alike.

Shapes: R regions (image, x1, y1, x2, y2); N regions of one image; C classes.
"""

from __future__ import annotations

from typing import Any

import torch
from mmdet.models.layers import multiclass_nms
from mmdet.models.roi_heads import CascadeRoIHead
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.models.utils import empty_instances
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox2roi, get_box_tensor, scale_boxes
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mf_plugin.errors import InputError


@MODELS.register_module()
class CenterNet2RoIHead(CascadeRoIHead):
    """A cascade of box heads, one mask head, and scores that count the proposal's in.

    Differs from mmdet's CascadeRoIHead:
        - The score is sqrt(mean of the stages' probabilities x score of the proposal); mmdet
          averages logits and forgets the proposal's score.
        - One mask head for all stages, trained on the regions of the first; it predicts masks for
          the final boxes.
        - The gradient that a stage sends into the features is divided by the number of stages, as
          in detectron2's cascade. With it all stages have loss weight 1.

    Args:
        kwargs: CascadeRoIHead's; ``mask_head`` and ``mask_roi_extractor`` are one each.

    Raises:
        InputError: a box head's regression is not class-agnostic.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for stage, head in enumerate(self.bbox_head):
            if not head.reg_class_agnostic:
                raise InputError(
                    f"bbox_head[{stage}] has reg_class_agnostic=False: CenterNet2RoIHead expects "
                    "True"
                )

    def init_mask_head(self, mask_roi_extractor: dict | None, mask_head: dict) -> None:
        """Build the one mask head; without an extractor of its own it shares the first stage's."""
        self.share_roi_extractor = mask_roi_extractor is None
        if self.share_roi_extractor:
            self.mask_roi_extractor = self.bbox_roi_extractor[0]
        else:
            self.mask_roi_extractor = MODELS.build(mask_roi_extractor)
        self.mask_head = MODELS.build(mask_head)

    def _bbox_forward(self, stage: int, x: tuple[Tensor, ...], rois: Tensor) -> dict[str, Tensor]:
        extractor = self.bbox_roi_extractor[stage]
        features = extractor(x[: extractor.num_inputs], rois)
        if features.requires_grad:
            features.register_hook(lambda gradient: gradient / self.num_stages)
        cls_score, bbox_pred = self.bbox_head[stage](features)
        return dict(cls_score=cls_score, bbox_pred=bbox_pred, bbox_feats=features)

    def _mask_forward(self, stage: int, x: tuple[Tensor, ...], rois: Tensor) -> dict[str, Tensor]:
        extractor = self.mask_roi_extractor
        features = extractor(x[: extractor.num_inputs], rois)
        return dict(mask_preds=self.mask_head(features))

    def mask_loss(
        self,
        stage: int,
        x: tuple[Tensor, ...],
        sampling_results: list[SamplingResult],
        batch_gt_instances: list[InstanceData],
    ) -> dict:
        """The mask head's loss on the positive regions of the first stage; none in the others."""
        if stage > 0:
            return dict(loss_mask={})
        rois = bbox2roi([result.pos_priors for result in sampling_results])
        results = self._mask_forward(stage, x, rois)
        results.update(
            self.mask_head.loss_and_target(
                mask_preds=results["mask_preds"],
                sampling_results=sampling_results,
                batch_gt_instances=batch_gt_instances,
                rcnn_train_cfg=self.train_cfg[stage],
            )
        )
        return results

    def predict_bbox(
        self,
        x: tuple[Tensor, ...],
        batch_img_metas: list[dict],
        rpn_results_list: list[InstanceData],
        rcnn_test_cfg: Any,
        rescale: bool = False,
        **kwargs: Any,
    ) -> list[InstanceData]:
        """Detections of each image: ``bboxes`` [N, 4], ``scores`` [N], ``labels`` [N]."""
        counts = [len(proposals.bboxes) for proposals in rpn_results_list]
        boxes = torch.cat([get_box_tensor(p.bboxes) for p in rpn_results_list])
        if len(boxes) == 0:
            return empty_instances(
                batch_img_metas,
                boxes.device,
                task_type="bbox",
                num_classes=self.bbox_head[-1].num_classes,
                score_per_cls=rcnn_test_cfg is None,
            )
        # 1. Each stage moves the boxes that the stage before has left.
        image = torch.cat([boxes.new_full((n, 1), i) for i, n in enumerate(counts)])
        probabilities = []
        for stage, head in enumerate(self.bbox_head):
            results = self._bbox_forward(stage, x, torch.cat((image, boxes), dim=1))
            probabilities.append(class_probabilities(head, results["cls_score"]))
            deltas = results["bbox_pred"].split(counts)
            parts = zip(boxes.split(counts), deltas, batch_img_metas, strict=True)
            boxes = torch.cat(
                [
                    get_box_tensor(head.bbox_coder.decode(b, d, max_shape=meta["img_shape"]))
                    for b, d, meta in parts
                ]
            )
        # 2. The score of a class counts in that there is an object at all.
        objectness = torch.cat([proposals.scores for proposals in rpn_results_list])
        scores = combine_scores(torch.stack(probabilities), objectness)
        # 3. Suppress duplicates, class by class.
        return [
            _detect(b, s, meta, rescale, rcnn_test_cfg)
            for b, s, meta in zip(
                boxes.split(counts), scores.split(counts), batch_img_metas, strict=True
            )
        ]

    def predict_mask(
        self,
        x: tuple[Tensor, ...],
        batch_img_metas: list[dict],
        results_list: list[InstanceData],
        rescale: bool = False,
    ) -> list[InstanceData]:
        """The detections with their ``masks`` bool[N, H, W]."""
        rois = bbox2roi([results.bboxes for results in results_list])
        if len(rois) == 0:
            return empty_instances(
                batch_img_metas,
                rois.device,
                task_type="mask",
                instance_results=results_list,
                mask_thr_binary=self.test_cfg.mask_thr_binary,
            )
        mask_preds = self._mask_forward(0, x, rois)["mask_preds"]
        return self.mask_head.predict_by_feat(
            mask_preds=mask_preds.split([len(results) for results in results_list]),
            results_list=results_list,
            batch_img_metas=batch_img_metas,
            rcnn_test_cfg=self.test_cfg,
            rescale=rescale,
        )


def class_probabilities(head: nn.Module, logits: Tensor) -> Tensor:
    """P(class | object), float[R, C], from a box head's logits: its loss knows whether classes
    compete (softmax over C + 1) or not (sigmoid)."""
    if head.custom_activation:
        return head.loss_cls.get_activation(logits)[:, : head.num_classes]
    if getattr(head.loss_cls, "use_sigmoid", False):
        return logits[:, : head.num_classes].sigmoid()
    return logits.softmax(dim=-1)[:, : head.num_classes]


def combine_scores(probabilities: Tensor, objectness: Tensor) -> Tensor:
    """sqrt(P(class | object) P(object)), float[R, C].

    Args:
        probabilities: float[stages, R, C].
        objectness: float[R], the proposals' scores.
    """
    return (probabilities.mean(0) * objectness[:, None]).sqrt()


def _detect(boxes: Tensor, scores: Tensor, meta: dict, rescale: bool, cfg: Any) -> InstanceData:
    if rescale and len(boxes):
        boxes = scale_boxes(boxes, [1 / s for s in meta["scale_factor"]])
    scores = torch.cat((scores, scores.new_zeros(len(scores), 1)), dim=1)  # background, for mmdet
    if cfg is None:
        return InstanceData(bboxes=boxes, scores=scores)
    boxes, labels = multiclass_nms(boxes, scores, cfg.score_thr, cfg.nms, cfg.max_per_img)
    return InstanceData(bboxes=boxes[:, :4], scores=boxes[:, 4], labels=labels)
