"""The focal loss of a heatmap with Gaussian peaks, as CenterNet2's first stage uses it.

Shapes: P cells.
"""

from __future__ import annotations

import torch
from mmdet.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class HeatmapFocalLoss(nn.Module):
    """Positive cells learn 1, all others 0, those near a peak with less weight.

    With p the probability of a cell and y its target:

        positive cells        -pos_weight alpha (1 - p)^gamma log(p)
        cells with y < 1      -neg_weight (1 - alpha) (1 - y)^beta p^gamma log(1 - p)

    The sum is divided by the number of positive cells. Objects as Points (arXiv 1904.07850), Eq. 1,
    with the weights of arXiv 2103.07461.

    Args:
        alpha, beta, gamma: as above.
        pos_weight, neg_weight: as above.
        ignore_high_fp: cells that are not positive and more probable than this learn nothing:
            they are often objects that nobody annotated. None or 1 leaves none out.
        clamp: probabilities stay this far from 0 and 1.
        loss_weight: factor of the whole.
    """

    def __init__(
        self,
        alpha: float = 0.25,
        beta: float = 4.0,
        gamma: float = 2.0,
        pos_weight: float = 0.5,
        neg_weight: float = 0.5,
        ignore_high_fp: float | None = 0.85,
        clamp: float = 1e-4,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.alpha, self.beta, self.gamma = alpha, beta, gamma
        self.pos_weight, self.neg_weight = pos_weight, neg_weight
        self.ignore_high_fp = ignore_high_fp
        self.clamp = clamp
        self.loss_weight = loss_weight

    def forward(
        self, logits: Tensor, heatmap: Tensor, positive: Tensor, avg_factor: float | Tensor
    ) -> Tensor:
        """The loss, a number.

        Args:
            logits: float[P].
            heatmap: float[P], y.
            positive: int64[M], the positive cells.
            avg_factor: what the sum is divided by.
        """
        logits = logits.float()
        probability = logits.sigmoid().clamp(self.clamp, 1 - self.clamp)
        chosen = probability[positive]
        gain = (1 - chosen) ** self.gamma * torch.log(chosen)
        fault = probability**self.gamma * torch.log(1 - probability) * (1 - heatmap) ** self.beta
        if self.ignore_high_fp is not None:
            fault = fault * (probability < self.ignore_high_fp)
        pos_loss = -self.pos_weight * self.alpha * gain.sum()
        neg_loss = -self.neg_weight * (1 - self.alpha) * fault.sum()
        return self.loss_weight * (pos_loss + neg_loss) / avg_factor
