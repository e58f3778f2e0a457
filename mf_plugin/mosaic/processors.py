"""Attention processors of diffusers that compute what the usual ones do, with the softmax in sight.

They take the place of a U-Net's own while attention is read (``attention.SubjectAttention``).

Shapes: N rows of a U-Net call, of which the last are the conditional ones; T tokens, C channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mf_plugin.extras import require

if TYPE_CHECKING:
    import torch

    from mf_plugin.mosaic.attention import AttentionSums, SubjectAttention

_AT_ONCE = 2**26  # self-attention is read for as many rows at once as have this many numbers


class _ReadingProcessor:
    """Gives what scaled_dot_product_attention gives, and the conditional rows to the reader."""

    def __init__(self, original: Any, reader: SubjectAttention) -> None:
        self._original = original
        self._reader = reader

    def _wants(self, sums: AttentionSums) -> bool:
        raise NotImplementedError

    def _read(
        self, sums: AttentionSums, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> torch.Tensor:
        """Output of conditional rows; all are [rows, heads, tokens, channels], query scaled."""
        raise NotImplementedError

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
        if sums is None or not self._wants(sums):
            return self._original(
                attn, hidden_states, encoder_hidden_states, attention_mask, temb, **kwargs
            )
        if attention_mask is not None or hidden_states.ndim != 3:
            raise NotImplementedError("reading attention: expected unmasked attention of [N, T, C]")
        attend = require("torch.nn.functional", "diffusion").scaled_dot_product_attention

        # 1. Queries from the image, keys and values from the text or the image: [N, heads, tokens,
        # channels].
        residual = hidden_states
        if attn.norm_cross and encoder_hidden_states is not None:
            encoder_hidden_states = attn.norm_encoder_hidden_states(encoder_hidden_states)
        if attn.group_norm is not None:
            hidden_states = attn.group_norm(hidden_states.transpose(1, 2)).transpose(1, 2)
        source = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            tensor.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for tensor in (attn.to_q(hidden_states), attn.to_k(source), attn.to_v(source))
        )
        query = query if attn.norm_q is None else attn.norm_q(query)
        key = key if attn.norm_k is None else attn.norm_k(key)

        # 2. Unconditional rows as usual; conditional rows with the softmax in sight.
        free = query.shape[0] - sums.rows
        output = self._read(sums, query[free:] * attn.scale, key[free:], value[free:])
        if free:
            usual = attend(query[:free], key[:free], value[:free], scale=attn.scale)
            output = require("torch", "diffusion").cat([usual, output])

        # 3. Back to [N, T, C].
        output = attn.to_out[1](attn.to_out[0](output.transpose(1, 2).flatten(2)))
        if attn.residual_connection:
            output = output + residual
        return output / attn.rescale_output_factor


class SubjectProcessor(_ReadingProcessor):
    """Cross-attention."""

    def _wants(self, sums: AttentionSums) -> bool:
        return True

    def _read(
        self, sums: AttentionSums, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> torch.Tensor:
        probabilities = (query @ key.transpose(-1, -2)).float().softmax(dim=-1)
        sums.add(probabilities)
        return probabilities.to(value.dtype) @ value


class AffinityProcessor(_ReadingProcessor):
    """Self-attention at ``scale``."""

    def __init__(self, original: Any, reader: SubjectAttention, scale: int) -> None:
        super().__init__(original, reader)
        self._scale = scale

    def _wants(self, sums: AttentionSums) -> bool:
        return sums.refined is not None and sums.refined.scale == self._scale

    def _read(
        self, sums: AttentionSums, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> torch.Tensor:
        refined = sums.refined
        assert refined is not None  # or _wants would not have wanted it
        rows, heads, places, _ = query.shape
        step = max(1, _AT_ONCE // (heads * places**2))
        outputs = []
        for first in range(0, rows, step):
            part = slice(first, first + step)
            probabilities = (query[part] @ key[part].transpose(-1, -2)).float().softmax(dim=-1)
            refined.add_affinity(part, probabilities)
            outputs.append(probabilities.to(value.dtype) @ value[part])
        return require("torch", "diffusion").cat(outputs)
