"""Reads the subject's cross-attention out of a U-Net while it runs, and keeps nothing else.

MosaicFusion, section 3.3, and Prompt-to-Prompt: per resolution, the mean over heads, layers (down
and up blocks) and steps of the attention that each place pays to the subject's tokens. The softmax
runs over all keys; of its result only the subject's columns of the conditional rows are added to a
running sum, so memory does not grow with steps, layers or tokens.

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
from mf_plugin.mosaic.prompts import Prompt, subject_tokens

if TYPE_CHECKING:
    import torch

_BLOCKS = ("down", "mid", "up")


@dataclass(frozen=True)
class AttentionConfig:
    """Which attention is read.

    blocks: parts of the U-Net, of "down", "mid" and "up" (paper: down and up).
    steps: [first, end) of the sampler's steps; None is the last one (paper: all).
    tokens: "all" of the subject's tokens in equal parts, or the "last" one alone (paper).
    """

    blocks: tuple[str, ...] = ("down", "up")
    steps: tuple[int, int | None] = (0, None)
    tokens: str = "all"

    def __post_init__(self) -> None:
        unknown = [block for block in self.blocks if block not in _BLOCKS]
        if unknown or not self.blocks:
            raise InputError(f"attention blocks are {self.blocks!r}; expected some of {_BLOCKS}")
        if self.tokens not in ("all", "last"):
            raise InputError(f"attention tokens is {self.tokens!r}; expected 'all' or 'last'")

    def reads_step(self, step: int) -> bool:
        """Whether the sampler's step number ``step`` (from 0) is read."""
        first, end = self.steps
        return step >= first and (end is None or step < end)


@dataclass(frozen=True)
class RegionAttention:
    """What was read for one region.

    maps: {scale: float32[h, w]}, the mean of the subject's cross-attention over heads, layers and
        steps; scale = latent side / map side: 1, 2, 4.
    """

    maps: Mapping[int, npt.NDArray[np.float32]]


class AttentionSums:
    """Running sums of the subject's attention for N rows of one latent shape.

    Args:
        token_weights: float[N, K], what each token's attention counts; a row adds up to 1.
        latent_size: (h, w) of the latents that the U-Net sees.
    """

    def __init__(self, token_weights: torch.Tensor, latent_size: tuple[int, int]) -> None:
        self.token_weights = token_weights
        self.latent_size = latent_size
        self._sums: dict[int, torch.Tensor] = {}
        self._counts: dict[int, int] = {}

    @property
    def rows(self) -> int:
        return self.token_weights.shape[0]

    @property
    def numel(self) -> int:
        """Numbers held: one per row and place of each resolution."""
        return sum(total.numel() for total in self._sums.values())

    def add(self, probabilities: torch.Tensor) -> None:
        """Add one layer's attention at one step: [N, heads, T, K], softmax already taken over K."""
        rows, heads, places, keys = probabilities.shape
        weights = self.token_weights.to(probabilities.dtype).unsqueeze(-1)
        subject = probabilities.reshape(rows, heads * places, keys) @ weights
        subject = subject.float().view(rows, heads, places).mean(dim=1)
        scale = map_scale(self.latent_size, places)
        if scale in self._sums:
            self._sums[scale] += subject
            self._counts[scale] += 1
        else:
            self._sums[scale] = subject
            self._counts[scale] = 1

    def results(self) -> list[RegionAttention]:
        """Per row, what has been read."""
        means = {
            scale: (total / self._counts[scale])
            .cpu()
            .numpy()
            .reshape(-1, *map_size(self.latent_size, scale))
            for scale, total in sorted(self._sums.items())
        }
        return [
            RegionAttention({scale: mean[row] for scale, mean in means.items()})
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


class SubjectAttention:
    """Context manager: puts reading processors on a U-Net's cross-attention and takes them off
    again.

    Outside ``recording`` the U-Net runs on the processors that it had; self-attention always does.

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
        read = {
            name: _SubjectProcessor(processor, self)
            for name, processor in self._originals.items()
            if name.startswith(self._prefixes) and name.endswith("attn2.processor")
        }
        if not read:
            raise InputError(f"the U-Net has no cross-attention in {self._prefixes}; expected some")
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
        for row, prompt in enumerate(prompts):
            positions = subject_tokens(tokenizer, prompt)
            positions = positions[-1:] if self._config.tokens == "last" else positions
            weights[row, positions] = 1 / len(positions)
        return AttentionSums(weights.to(device), latent_size)

    @contextmanager
    def recording(self, sums: AttentionSums | None) -> Iterator[None]:
        """U-Net calls inside add to ``sums``; its rows are the last of the call's batch. None reads
        nothing."""
        self.sums = sums
        try:
            yield
        finally:
            self.sums = None


class _SubjectProcessor:
    """Cross-attention that gives what scaled_dot_product_attention gives, and the subject's columns
    to the reader."""

    def __init__(self, original: Any, reader: SubjectAttention) -> None:
        self._original = original
        self._reader = reader

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        temb: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        sums = self._reader.sums
        if sums is None:
            return self._original(
                attn, hidden_states, encoder_hidden_states, attention_mask, temb, **kwargs
            )
        if attention_mask is not None or encoder_hidden_states is None or hidden_states.ndim != 3:
            raise NotImplementedError(
                "reading attention: expected unmasked cross-attention of [N, T, C]"
            )
        attend = require("torch.nn.functional", "diffusion").scaled_dot_product_attention

        # 1. Queries from the image, keys and values from the text: [N, heads, tokens, channels].
        residual = hidden_states
        if attn.norm_cross:
            encoder_hidden_states = attn.norm_encoder_hidden_states(encoder_hidden_states)
        if attn.group_norm is not None:
            hidden_states = attn.group_norm(hidden_states.transpose(1, 2)).transpose(1, 2)
        query, key, value = (
            tensor.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for tensor in (
                attn.to_q(hidden_states),
                attn.to_k(encoder_hidden_states),
                attn.to_v(encoder_hidden_states),
            )
        )
        query = query if attn.norm_q is None else attn.norm_q(query)
        key = key if attn.norm_k is None else attn.norm_k(key)

        # 2. Unconditional rows as usual; conditional rows with the softmax in sight.
        free = query.shape[0] - sums.rows
        scores = (query[free:] * attn.scale) @ key[free:].transpose(-1, -2)
        probabilities = scores.float().softmax(dim=-1)
        sums.add(probabilities)
        output = probabilities.to(value.dtype) @ value[free:]
        if free:
            usual = attend(query[:free], key[:free], value[:free], scale=attn.scale)
            output = require("torch", "diffusion").cat([usual, output])

        # 3. Back to [N, T, C].
        output = attn.to_out[1](attn.to_out[0](output.transpose(1, 2).flatten(2)))
        if attn.residual_connection:
            output = output + residual
        return output / attn.rescale_output_factor
