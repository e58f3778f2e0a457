"""Running sums for the refined masks: shares of attention, weights of heads, self-attention.

Three steps that need no training and no ground truth turn the subject's attention into better heat:

1. Per-pixel normalisation. What counts is the subject's share of the attention that a place pays to
   the start token and the prompt's words; the end token and the padding are left out.
2. Weights. A head counts as much as its map agrees (correlation, 0 at the least) with the mean map
   of its layer. Heads that read something else, and layers whose heads see nothing in common, fade
   out. GoCA (arXiv 2603.06178) weighs heads and layers by an agreement, too; there it is one of
   features, here of the maps themselves, which are at hand.
3. Propagation. Places that attend to each other share their heat: a random walk with restart over
   the self-attention, averaged over heads, layers and steps at one coarse resolution.

Everything is a sum as the U-Net runs: memory does not grow with steps, layers or tokens.

Shapes: N rows, K text tokens, T places of a map, (h, w) its size, P places of the self-attention.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mf_plugin.extras import require

if TYPE_CHECKING:
    import torch

_ROUNDS = 20  # of the random walk; what is left out is below propagation ** 20
_TINY = 1e-12


@dataclass(frozen=True)
class RefinedMaps:
    """The heat of one region, for each resolution of cross-attention that was read.

    maps: {scale: float32[h, w]}, each over its maximum before the propagation, all of the size that
        the self-attention was read at.
    agreement: {scale: number from 0 to 1}, the mean agreement of the heads there.
    """

    maps: Mapping[int, npt.NDArray[np.float32]]
    agreement: Mapping[int, float]


class RefinedSums:
    """What the refined masks need to know of N rows of one latent shape.

    Args:
        subject: float[N, K], 1 at the subject's tokens.
        prompt: float[N, K], 1 at the start token and the prompt's words.
        scale: latent side / map side of the self-attention that is read.
        size: (h, w) of a map at that scale.
    """

    _maps: dict[int, torch.Tensor]
    _weights: dict[int, torch.Tensor]

    def __init__(
        self, subject: torch.Tensor, prompt: torch.Tensor, scale: int, size: tuple[int, int]
    ) -> None:
        torch = require("torch", "diffusion")
        self.scale = scale
        self.size = size
        self._tokens = torch.stack([subject, prompt], dim=-1)
        rows, places = len(subject), size[0] * size[1]
        self._affinity = torch.zeros(rows, places, places, device=subject.device)
        self._maps = {}
        self._weights = {}
        self._heads: dict[int, int] = {}

    @property
    def numel(self) -> int:
        """Numbers held: a weight and a map per row and resolution, and the self-attention."""
        held = [self._affinity, *self._maps.values(), *self._weights.values()]
        return sum(tensor.numel() for tensor in held)

    def weigh(self, probabilities: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What one layer's cross-attention adds.

        Args:
            probabilities: float[N, heads, T, K], softmax already taken over K.

        Returns:
            The heads' shares, summed by weight, float32[N, T]; their weights, float32[N, heads].
        """
        rows, heads, places, keys = probabilities.shape
        tokens = self._tokens.to(probabilities.dtype)
        sums = (probabilities.reshape(rows, heads * places, keys) @ tokens).float()
        share = (sums[..., 0] / sums[..., 1].clamp_min(_TINY)).view(rows, heads, places)
        weights = agreement(share)
        return (weights.unsqueeze(-1) * share).sum(dim=1), weights

    def add(self, scale: int, shares: torch.Tensor, weights: torch.Tensor) -> None:
        """Add what ``weigh`` made of a layer.

        Args:
            scale: latent side / map side of the layer.
            shares: float32[N, T].
            weights: float32[N, heads].
        """
        if scale in self._maps:
            self._maps[scale] += shares
            self._weights[scale] += weights.sum(dim=1)
        else:
            self._maps[scale] = shares
            self._weights[scale] = weights.sum(dim=1)
        self._heads[scale] = self._heads.get(scale, 0) + weights.shape[1]

    def add_affinity(self, rows: slice, probabilities: torch.Tensor) -> None:
        """Add self-attention of some rows, float[n, heads, P, P], softmax already taken."""
        self._affinity[rows].add_(probabilities.mean(dim=1))

    def results(
        self, sizes: Mapping[int, tuple[int, int]], propagation: float
    ) -> list[RefinedMaps]:
        """Per row, the heat of each resolution.

        Args:
            sizes: (h, w) of a map at each scale.
            propagation: share of a place's heat that comes from the places that it attends to.
        """
        interpolate = require("torch.nn.functional", "diffusion").interpolate
        affinity = self._affinity / self._affinity.sum(dim=-1, keepdim=True).clamp_min(_TINY)
        maps, trust = {}, {}
        for scale, total in sorted(self._maps.items()):
            heat = total / self._weights[scale].clamp_min(_TINY).unsqueeze(-1)
            heat = heat / heat.amax(dim=-1, keepdim=True).clamp_min(_TINY)
            heat = heat.unflatten(-1, sizes[scale]).unsqueeze(1)
            mode = "area" if scale <= self.scale else "bilinear"
            heat = interpolate(heat, size=self.size, mode=mode).flatten(1)
            spread = propagate(heat, affinity, propagation)
            maps[scale] = spread.unflatten(-1, self.size).cpu().numpy()
            trust[scale] = (self._weights[scale] / self._heads[scale]).cpu().numpy()
        return [
            RefinedMaps(
                {scale: heat[row] for scale, heat in maps.items()},
                {scale: float(weight[row]) for scale, weight in trust.items()},
            )
            for row in range(len(self._affinity))
        ]


def agreement(maps: torch.Tensor) -> torch.Tensor:
    """Correlation of each head's map with the mean map of all heads, 0 at the least; a flat map's
    is 0. float[N, heads, T] -> float[N, heads]."""
    centred = maps - maps.mean(dim=-1, keepdim=True)
    mean = centred.mean(dim=1, keepdim=True)
    norms = centred.norm(dim=-1) * mean.norm(dim=-1)
    return ((centred * mean).sum(dim=-1) / norms.clamp_min(_TINY)).clamp(0, 1)


def propagate(heat: torch.Tensor, affinity: torch.Tensor, propagation: float) -> torch.Tensor:
    """Random walk with restart: y of y = (1 - propagation) heat + propagation * affinity y.

    Args:
        heat: float[N, P].
        affinity: float[N, P, P], rows add up to 1.
        propagation: 0 leaves the heat as it is; below 1.

    Returns:
        float[N, P].
    """
    start, spread = heat.unsqueeze(-1), heat.unsqueeze(-1)
    for _ in range(_ROUNDS):
        spread = (1 - propagation) * start + propagation * (affinity @ spread)
    return spread.squeeze(-1)
