"""Mask2Former for semantic segmentation in MMDetection, which has it for objects alone.

Training needs no more than a config: mmdet's head takes each class of a label map for one mask
where all classes are stuff. Predicting and measuring are here.

Shapes: Q queries, C classes, label maps [1, H, W].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmdet.models import Mask2Former
from mmdet.registry import METRICS, MODELS
from mmdet.structures import SampleList
from mmengine.evaluator import BaseMetric
from mmengine.structures import PixelData
from torch import Tensor
from torch.nn import functional

from mf_plugin.evaluation.semantic import count_pixels, semantic_scores


@MODELS.register_module()
class SemanticMask2Former(Mask2Former):
    """Mask2Former that predicts the class of each pixel (arXiv 2107.06278, Sec. 3.4).

    The score of class c at a pixel is the sum over queries of p(c) times the mask's probability.
    """

    def predict(
        self, batch_inputs: Tensor, batch_data_samples: SampleList, rescale: bool = True
    ) -> SampleList:
        """The samples, each with ``pred_sem_seg.sem_seg`` int64[1, H, W].

        Args:
            batch_inputs: [B, 3, H, W].
            batch_data_samples: B samples.
            rescale: whether a map has the size of the original image.
        """
        features = self.extract_feat(batch_inputs)
        classes, masks = self.panoptic_head.predict(features, batch_data_samples)
        for sample, logits, mask in zip(batch_data_samples, classes, masks, strict=True):
            height, width = sample.metainfo["img_shape"][:2]
            mask = mask[:, :height, :width]  # without the padding
            if rescale:
                size = tuple(sample.metainfo["ori_shape"][:2])
                mask = functional.interpolate(mask[None], size, mode="bilinear")[0]
            labels = pixel_scores(logits, mask).argmax(dim=0, keepdim=True)
            sample.pred_sem_seg = PixelData(sem_seg=labels)
        return batch_data_samples


def pixel_scores(logits: Tensor, masks: Tensor) -> Tensor:
    """[C, H, W] of class logits [Q, C + 1], the last for no object, and mask logits [Q, H, W]."""
    return torch.einsum("qc,qhw->chw", logits.softmax(dim=-1)[:, :-1], masks.sigmoid())


@METRICS.register_module()
class SemanticIoU(BaseMetric):
    """Mean IoU and pixel accuracy in percent: ``semantic/mIoU``, ``semantic/aAcc``.

    A class that is neither in the truth nor predicted anywhere is left out of the mean.
    """

    default_prefix = "semantic"

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the pairs of classes that occur in each image, with their pixels."""
        num_classes = len(self.dataset_meta["classes"])
        for sample in data_samples:
            truth, found = (
                sample[key]["sem_seg"].cpu().numpy()[0] for key in ("gt_sem_seg", "pred_sem_seg")
            )
            counts = count_pixels(truth, found, num_classes).ravel()
            pairs = np.flatnonzero(counts)
            self.results.append((pairs, counts[pairs]))

    def compute_metrics(self, results: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
        num_classes = len(self.dataset_meta["classes"])
        confusion = np.zeros(num_classes**2, dtype=np.int64)
        for pairs, counts in results:
            confusion[pairs] += counts
        scores = semantic_scores(confusion.reshape(num_classes, num_classes))
        return {"mIoU": scores.miou, "aAcc": scores.accuracy}
