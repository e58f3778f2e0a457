"""FederatedLoss: sigmoid classification in which most absent categories stay out of each step.

Federated loss of Zhou et al. (arXiv 2103.07461), with the sampling that detectron2 documents for
``USE_FED_LOSS``: a rare category that is absent is seldom pushed down, and in LVIS an absent
category may only be unannotated.

Shapes: R regions; C categories; background has the label C.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmdet.models.losses.utils import weight_reduce_loss
from mmdet.registry import MODELS
from torch import Tensor, nn

from mf_plugin.errors import InputError
from mf_plugin.mmdet.federated_counts import read_image_counts


@MODELS.register_module()
class FederatedLoss(nn.Module):
    """Binary cross-entropy over the categories of the regions and a sample of the others.

    Goes in the place of any ``loss_cls`` of mmdet's box heads, which then have C outputs and no
    background one. The bias of ``fc_cls`` should start at a small probability:
    ``init_cfg=dict(type="Normal", std=0.01, bias_prob=0.01, override=dict(name="fc_cls"))``.

    Args:
        num_sampled: categories that count in a step, those of the regions included; all categories
            of the regions count even where they are more.
        power: a category without a region is drawn with a weight of its image count to this power.
        counts: training images that contain each category, by label, or a json file that says so,
            see `read_image_counts`. Where absent, CategoryCountsHook takes them from the training
            set.
        loss_weight: factor of the whole.
        reduction: as of mmdet's losses.

    Raises:
        InputError: an argument is out of range.
    """

    custom_cls_channels = True  # what mmdet's BBoxHead asks a loss
    custom_activation = True
    custom_accuracy = True

    def __init__(
        self,
        num_sampled: int = 50,
        power: float = 0.5,
        counts: Sequence[int] | str | None = None,
        loss_weight: float = 1.0,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        if num_sampled < 1:
            raise InputError(f"num_sampled {num_sampled}: expected 1 or more")
        self.num_sampled = num_sampled
        self.power = power
        self.counts = counts
        self.loss_weight = loss_weight
        self.reduction = reduction
        self.register_buffer("weights", None, persistent=False)

    def set_counts(self, counts: Sequence[int] | Tensor) -> None:
        """Take over the number of training images of each category, by label.

        Raises:
            InputError: they are no C numbers of 0 or more, or all are 0.
        """
        counts = torch.as_tensor(counts, dtype=torch.float32)
        if counts.ndim != 1 or (counts < 0).any() or not (counts > 0).any():
            raise InputError(
                "expected image counts as one number of 0 or more a category, not all 0, got "
                f"shape {tuple(counts.shape)}"
            )
        self.weights = counts**self.power

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """The loss.

        Args:
            cls_score: float[R, C], logits.
            label: int64[R].
            weight: float[R], of the regions.
            avg_factor: what the sum is divided by, R where absent.
            reduction_override: "none", "mean" or "sum" in the place of the loss's own.

        Raises:
            InputError: the image counts are missing, or are not C.
        """
        weights = self._weights_for(cls_score)
        counted = sample_categories(label, weights, self.num_sampled)
        target = F.one_hot(label, num_classes=len(weights) + 1)[:, counted.nonzero().squeeze(1)]
        loss = F.binary_cross_entropy_with_logits(
            cls_score[:, counted].float(), target.float(), reduction="none"
        ).sum(1)
        reduction = reduction_override or self.reduction
        if avg_factor is None and reduction == "mean":
            avg_factor = max(len(loss), 1)
        return self.loss_weight * weight_reduce_loss(loss, weight, reduction, avg_factor)

    def get_cls_channels(self, num_classes: int) -> int:
        """Outputs of the classifier: C, no background."""
        return num_classes

    def get_activation(self, cls_score: Tensor) -> Tensor:
        """Probabilities, float[R, C + 1]; the last column, background, is 0 and stands there since
        mmdet drops the last one."""
        return F.pad(cls_score.sigmoid(), (0, 1))

    def get_accuracy(self, cls_score: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Percentage of the foreground regions whose most probable category is the right one."""
        is_object = label < cls_score.shape[1]
        right = cls_score[is_object].argmax(1) == label[is_object]
        return {"acc_classes": 100 * right.float().sum() / is_object.sum().clamp(min=1)}

    def _weights_for(self, cls_score: Tensor) -> Tensor:
        if self.weights is None and self.counts is not None:
            given = self.counts
            self.set_counts(read_image_counts(given) if isinstance(given, str) else given)
        if self.weights is None:
            raise InputError(
                "FederatedLoss has no image counts: give it counts=, or put "
                "dict(type='CategoryCountsHook') into the config's custom_hooks"
            )
        if len(self.weights) != cls_score.shape[1]:
            raise InputError(
                f"FederatedLoss has image counts of {len(self.weights)} categories, the box head "
                f"classifies {cls_score.shape[1]}"
            )
        if self.weights.device != cls_score.device:
            self.weights = self.weights.to(cls_score.device)
        return self.weights


def sample_categories(
    label: Tensor, weights: Tensor, number: int, generator: torch.Generator | None = None
) -> Tensor:
    """bool[C]: the categories that count, those of the regions and a sample of the others.

    Args:
        label: int64[R], background is C.
        weights: float[C], of the draws; a category of weight 0 is never drawn.
        number: of categories in all, as far as there are enough of positive weight.
        generator: of the draws; torch's own, which the runner seeds, where absent.
    """
    counted = torch.zeros(len(weights), dtype=torch.bool, device=weights.device)
    counted[label[label < len(weights)]] = True
    left = weights.masked_fill(counted, 0.0)
    draws = min(number - int(counted.sum()), int((left > 0).sum()))
    if draws > 0:
        counted[torch.multinomial(left, draws, replacement=False, generator=generator)] = True
    return counted
