"""Reads the subject's cross-attention out of a U-Net while it runs, and keeps nothing else.

MosaicFusion, section 3.3, and Prompt-to-Prompt: per resolution, the mean over heads, layers (down
and up blocks) and steps of the attention that each place pays to the subject's tokens. The softmax
runs over all keys; of its result only the subject's columns of the conditional rows are added to a
running sum, so memory does not grow with steps, layers or tokens. ``refined_sums`` reads more,
where it is asked for.

Shapes: N rows (canvases x regions of one latent shape), K text tokens, T places of a map, (h, w)
the latent size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mf_plugin.errors import InputError
from mf_plugin.extras import require
from mf_plugin.fields import check_fields
from mf_plugin.mosaic.processors import AffinityProcessor, SubjectProcessor
from mf_plugin.mosaic.prompts import Prompt, subject_tokens
from mf_plugin.mosaic.refined_sums import RefinedMaps, RefinedSums

if TYPE_CHECKING:
    import torch

_BLOCKS = ("down", "mid", "up")
_TOKENS = ("all", "last", "next")


@dataclass(frozen=True)
class AttentionConfig:
    """Which attention is read.

    blocks: parts of the U-Net, of "down", "mid" and "up" (paper: down and up).
    steps: [first, end) of the sampler's steps; None is the last one (paper: all).
    tokens: "all" of the subject's tokens in equal parts; the "last" one alone (paper); or "next",
        all of them and the one behind, if the prompt has one: a causal text encoder tells that one
        the subject, too, and a U-Net may attend to it instead.
    refined: whether to read, besides, what refined masks need (``refined_sums``).
    propagation: of refined masks, the share of a place's heat that comes from the places that it
        attends to; from 0 to below 1.
    affinity_places: of refined masks, the most places of a map at which self-attention is read: the
        finest resolution below is taken, 24 x 32 for a region of 384 x 512 pixels and Stable
        Diffusion 1.x. A row holds the square of it.
    """

    blocks: tuple[str, ...] = ("down", "up")
    steps: tuple[int, int | None] = (0, None)
    tokens: str = "all"
    refined: bool = False
    propagation: float = 0.8
    affinity_places: int = 1024

    def __post_init__(self) -> None:
        check_fields(self, "attention ", steps="(first, end), end a number or None")
        unknown = [block for block in self.blocks if block not in _BLOCKS]
        if unknown or not self.blocks:
            raise InputError(f"attention blocks are {self.blocks!r}; expected some of {_BLOCKS}")
        if self.tokens not in _TOKENS:
            raise InputError(f"attention tokens is {self.tokens!r}; expected one of {_TOKENS}")
        if not 0 <= self.propagation < 1:
            raise InputError(
                f"attention propagation is {self.propagation}; expected 0 <= number < 1"
            )
        if self.affinity_places < 1:
            raise InputError(
                f"attention affinity_places is {self.affinity_places}; expected at least 1"
            )

    def reads_step(self, step: int) -> bool:
        """Whether the sampler's step number ``step`` (from 0) is read."""
        first, end = self.steps
        return step >= first and (end is None or step < end)


@dataclass(frozen=True)
class RegionAttention:
    """What was read for one region.

    maps: {scale: float32[h, w]}, the mean of the subject's cross-attention over heads, layers and
        steps; scale = latent side / map side: 1, 2, 4.
    refined: the heat of refined masks; None unless AttentionConfig.refined asked for it.
    """

    maps: Mapping[int, npt.NDArray[np.float32]]
    refined: RefinedMaps | None = None


class AttentionSums:
    """Running sums of the subject's attention for N rows of one latent shape.

    Args:
        token_weights: float[N, K], what each token's attention counts; a row adds up to 1.
        latent_size: (h, w) of the latents that the U-Net sees.
        refined: empty sums of refined masks; None reads nothing for them.
        propagation: as in AttentionConfig.
    """

    def __init__(
        self,
        token_weights: torch.Tensor,
        latent_size: tuple[int, int],
        refined: RefinedSums | None = None,
        propagation: float = 0.8,
    ) -> None:
        self.token_weights = token_weights
        self.latent_size = latent_size
        self.refined = refined
        self._propagation = propagation
        self._sums: dict[int, torch.Tensor] = {}
        self._counts: dict[int, int] = {}
        self._pending: list[tuple[torch.Tensor, ...]] = []

    @property
    def rows(self) -> int:
        rows: int = self.token_weights.shape[0]
        return rows

    @property
    def numel(self) -> int:
        """Numbers held: one per row and place of each resolution, and those of ``refined``."""
        held: int = sum(total.numel() for total in self._sums.values())
        return held if self.refined is None else held + self.refined.numel

    def add(self, probabilities: torch.Tensor) -> None:
        """Add one layer's attention at one step: [N, heads, T, K], softmax already taken over K.

        A compiled U-Net only appends to an empty list, so that its graph does not depend on what
        has been read before; ``fold`` sums it up after the call.
        """
        rows, heads, places, keys = probabilities.shape
        weights = self.token_weights.to(probabilities.dtype).unsqueeze(-1)
        subject = probabilities.reshape(rows, heads * places, keys) @ weights
        subject = subject.float().view(rows, heads, places).mean(dim=1)
        refined = () if self.refined is None else self.refined.weigh(probabilities)
        self._pending.append((subject, *refined))
        if not require("torch", "diffusion").compiler.is_compiling():
            self.fold()

    def fold(self) -> None:
        """Add what a compiled call has read to the sums."""
        for subject, *refined in self._pending:
            scale = map_scale(self.latent_size, subject.shape[1])
            if scale in self._sums:
                self._sums[scale] += subject
                self._counts[scale] += 1
            else:
                self._sums[scale] = subject
                self._counts[scale] = 1
            if self.refined is not None:
                self.refined.add(scale, *refined)
        self._pending.clear()

    def results(self) -> list[RegionAttention]:
        """Per row, what has been read."""
        means = {
            scale: (total / self._counts[scale])
            .cpu()
            .numpy()
            .reshape(-1, *map_size(self.latent_size, scale))
            for scale, total in sorted(self._sums.items())
        }
        refined: list[RefinedMaps] | list[None] = [None] * self.rows
        if self.refined is not None:
            sizes = {scale: map_size(self.latent_size, scale) for scale in means}
            refined = self.refined.results(sizes, self._propagation)
        return [
            RegionAttention({scale: mean[row] for scale, mean in means.items()}, refined[row])
            for row in range(self.rows)
        ]


def map_size(latent_size: tuple[int, int], scale: int) -> tuple[int, int]:
    """(h, w) of a U-Net's feature map at ``scale`` (a power of 2): each downsampling halves a side,
    rounding up."""
    return -(-latent_size[0] // scale), -(-latent_size[1] // scale)


def map_scale(latent_size: tuple[int, int], places: int) -> int:
    """The power of 2 at which a map of latents of ``latent_size`` has ``places`` places (h * w
    alone is ambiguous)."""
    scale = 1
    while True:
        height, width = map_size(latent_size, scale)
        if height * width == places:
            return scale
        if height * width < places or (height, width) == (1, 1):
            raise ValueError(
                f"attention of {places} places for latents of {latent_size}; "
                f"expected latents halved n times"
            )
        scale *= 2


def cross_attention_scales(unet: Any, blocks: Sequence[str]) -> tuple[int, ...]:
    """The scales, finest first, at which ``blocks`` of a U-Net have cross-attention; none where its
    class does not say at which level a block stands.

    Args:
        unet: of a diffusers pipeline.
        blocks: as in AttentionConfig.
    """
    if not isinstance(unet, require("diffusers", "diffusion").UNet2DConditionModel):
        return ()
    prefixes = tuple(f"{block}_block" for block in blocks)
    return tuple(sorted(set(_scales_by_name(unet, prefixes, "attn2").values())))


def _scales_by_name(unet: Any, prefixes: tuple[str, ...], kind: str) -> dict[str, int]:
    """The scale of each attention of a kind, "attn1" (self) or "attn2" (cross), by its processor's
    name, which starts with one of ``prefixes``."""
    coarsest = len(unet.config.block_out_channels) - 1
    scales = {}
    for name in unet.attn_processors:
        if name.startswith(prefixes) and name.endswith(f"{kind}.processor"):
            block, number = name.split(".")[:2]
            level = coarsest
            if block == "down_blocks":
                level = int(number)
            elif block == "up_blocks":
                level -= int(number)
            scales[name] = 2**level
    return scales


class SubjectAttention:
    """Context manager: puts reading processors on a U-Net's attention and takes them off again.

    Outside ``recording`` the U-Net runs on the processors that it had. Self-attention always does,
    but for refined masks at one resolution.

    Args:
        unet: a UNet2DConditionModel.
        config: what is read.
    """

    def __init__(self, unet: Any, config: AttentionConfig | None = None) -> None:
        self._unet = unet
        self._config = config or AttentionConfig()
        self._prefixes = tuple(f"{block}_block" for block in self._config.blocks)
        self._originals: dict[str, Any] = {}
        self.sums: AttentionSums | None = None

    def __enter__(self) -> SubjectAttention:
        self._originals = dict(self._unet.attn_processors)
        read: dict[str, SubjectProcessor | AffinityProcessor] = {
            name: SubjectProcessor(processor, self)
            for name, processor in self._originals.items()
            if name.startswith(self._prefixes) and name.endswith("attn2.processor")
        }
        if not read:
            raise InputError(f"the U-Net has no cross-attention in {self._prefixes}; expected some")
        if self._config.refined:
            scales = _scales_by_name(self._unet, self._prefixes, "attn1")
            read |= {
                name: AffinityProcessor(self._originals[name], self, scale)
                for name, scale in scales.items()
            }
        self._unet.set_attn_processor({**self._originals, **read})
        return self

    def __exit__(self, *exception: object) -> None:
        self._unet.set_attn_processor(self._originals)

    def make_sums(
        self,
        tokenizer: Any,
        prompts: Sequence[Prompt],
        num_keys: int,
        latent_size: tuple[int, int],
        device: Any = "cpu",
    ) -> AttentionSums:
        """Empty sums for rows of ``prompts``, each encoded to ``num_keys`` tokens."""
        weights = require("torch", "diffusion").zeros(len(prompts), num_keys)
        words = weights.clone()
        for row, prompt in enumerate(prompts):
            end = len(tokenizer(prompt.text, truncation=True)["input_ids"]) - 1
            words[row, :end] = 1
            positions = subject_tokens(tokenizer, prompt)
            if self._config.tokens == "last":
                positions = positions[-1:]
            elif self._config.tokens == "next" and positions[-1] + 1 < end:
                positions = [*positions, positions[-1] + 1]
            weights[row, positions] = 1 / len(positions)
        refined = None
        if self._config.refined:
            scale = self._affinity_scale(latent_size)
            subject = (weights > 0).to(device, weights.dtype)
            refined = RefinedSums(subject, words.to(device), scale, map_size(latent_size, scale))
        return AttentionSums(weights.to(device), latent_size, refined, self._config.propagation)

    def _affinity_scale(self, latent_size: tuple[int, int]) -> int:
        """The finest scale of self-attention with few enough places; else the coarsest."""
        scales = sorted(set(_scales_by_name(self._unet, self._prefixes, "attn1").values()))
        if not scales:
            raise InputError(
                f"the U-Net has no self-attention in {self._prefixes}; refined masks need some"
            )
        for scale in scales:
            height, width = map_size(latent_size, scale)
            if height * width <= self._config.affinity_places:
                return scale
        return scales[-1]

    @contextmanager
    def recording(self, sums: AttentionSums | None) -> Iterator[None]:
        """U-Net calls inside add to ``sums``; its rows are the last of the call's batch. None reads
        nothing."""
        self.sums = sums
        try:
            yield
            if sums is not None:
                sums.fold()
        finally:
            self.sums = None
