"""Region attention: in Mask2Img, a segment's pixels attend to words of their own category alone.

A caption names many objects, and a diffusion model that attends to all of them everywhere paints
one or two of them, or one with the colours of another. The colour map says where each is: here
every category has a prompt of its own, and what a pixel reads is the mean of these prompts'
cross-attention, weighted by the categories near it. MosaicFusion's canvas does the same with
rectangles and predictions (arXiv 2309.13042, section 3.2); SegGen's paper does without.

Shapes: N images, P (image, prompt) pairs, H x W pixels, K text tokens, E channels of a token.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mf_plugin.errors import InputError
from mf_plugin.extras import require
from mf_plugin.seggen.captions import category_noun
from mf_plugin.seggen.palette import Palette
from mf_plugin.vocabulary import Category

if TYPE_CHECKING:
    import torch

NAME = "{name}"
# Weights are powers of covered shares: an object that fills a quarter of a coarse cell has 0.37 of
# its attention, not 0.25.
_POWER = 0.5
_CROSS_ATTENTION = "attn2.processor"


class Regions(NamedTuple):
    """The prompts of a batch, and where each counts.

    prompts: P of them.
    rows: int64[P], the image of each; every image has one.
    masks: bool[P, H, W]; an image's share its pixels out among them.
    """

    prompts: list[str]
    rows: npt.NDArray[np.int64]
    masks: npt.NDArray[np.bool_]


def region_prompts(template: str, categories: Iterable[Category]) -> dict[int, str]:
    """Category id -> prompt: the template with the category's name for ``{name}``."""
    return {c.id: template.replace(NAME, category_noun(c)) for c in categories}


def background_prompts(prompts: Sequence[str], captions: str) -> list[str]:
    """What the background reads: the caption, unless that is composed and names objects alone."""
    return [""] * len(prompts) if captions == "composed" else list(prompts)


def find_regions(
    colormaps: npt.NDArray[np.uint8],
    palette: Palette,
    prompts: Sequence[Mapping[int, str]],
    backgrounds: Sequence[str],
) -> Regions:
    """The categories of colour maps in exact colours, with their prompts.

    Args:
        colormaps: uint8[N, H, W, 3].
        palette: of the maps.
        prompts: category id -> prompt, N times.
        backgrounds: N prompts for borders, background and every colour that is no category's.

    Raises:
        InputError: a map shows a category without a prompt.
    """
    ids = {_code(palette.color(category_id)): category_id for category_id in palette.ids}
    texts: list[str] = []
    rows: list[int] = []
    masks: list[npt.NDArray[np.bool_]] = []
    for row, (said, background) in enumerate(zip(prompts, backgrounds, strict=True)):
        codes = _code(np.moveaxis(colormaps[row], -1, 0).astype(np.int64))
        rest = np.ones(codes.shape, bool)
        for code in np.unique(codes).tolist():
            if code not in ids:
                continue
            if ids[code] not in said:
                raise InputError(
                    f"colour map {row} shows category id {ids[code]}; expected a region prompt "
                    f"for it, there are {len(said)} for others"
                )
            mask = codes == code
            rest &= ~mask
            texts.append(said[ids[code]])
            rows.append(row)
            masks.append(mask)
        texts.append(background)
        rows.append(row)
        masks.append(rest)
    return Regions(texts, np.array(rows, np.int64), np.stack(masks))


def _code(color: Any) -> Any:
    """One number for a colour, or for each of several."""
    red, green, blue = color
    return (red * 256 + green) * 256 + blue


@dataclass
class RegionTexts:
    """Regions as the networks read them, on the device.

    Attributes:
        contexts: [P, K, E] of the prompts.
        rows: int64[P].
        masks: float32[P, H, W].
    """

    contexts: torch.Tensor
    rows: torch.Tensor
    masks: torch.Tensor
    _weights: dict[int, torch.Tensor] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(cls, regions: Regions, contexts: torch.Tensor, device: Any) -> RegionTexts:
        torch = require("torch", "diffusion")
        rows, masks = torch.from_numpy(regions.rows), torch.from_numpy(regions.masks)
        return cls(contexts.to(device), rows.to(device), masks.float().to(device))

    @property
    def images(self) -> int:
        """N."""
        return int(self.rows[-1]) + 1

    def weights(self, tokens: int) -> torch.Tensor:
        """float[P, tokens, 1] at the resolution that has as many places; an image's sum to 1."""
        if tokens not in self._weights:
            pool = require("torch.nn.functional", "diffusion").adaptive_avg_pool2d
            height, width = self.masks.shape[1:]
            rows = round(math.sqrt(tokens * height / width))
            shares = pool(self.masks[:, None], (rows, tokens // rows)).flatten(1) ** _POWER
            sums = shares.new_zeros(self.images, tokens).index_add(0, self.rows, shares)
            self._weights[tokens] = (shares / sums[self.rows])[:, :, None]
        return self._weights[tokens]


class RegionAttention:
    """Takes over the cross-attention of diffusers networks, until `remove`.

    ``texts`` are what the next calls read; with None they read their captions as usual. A call's
    last N rows are the conditional ones.

    Args:
        networks: U-Net and ControlNet.
    """

    def __init__(self, networks: Sequence[Any]) -> None:
        self.texts: RegionTexts | None = None
        self._usual = [(network, dict(network.attn_processors)) for network in networks]
        for network, processors in self._usual:
            network.set_attn_processor(
                {
                    name: _RegionProcessor(usual, self) if _is_cross(name) else usual
                    for name, usual in processors.items()
                }
            )

    def remove(self) -> None:
        """Give the networks their own attention back."""
        for network, processors in self._usual:
            network.set_attn_processor(processors)


def _is_cross(name: str) -> bool:
    return name.endswith(_CROSS_ATTENTION)


class _RegionProcessor:
    """Cross-attention as the usual processor computes it, for each prompt; then the mean."""

    def __init__(self, usual: Any, attention: RegionAttention) -> None:
        self._usual, self._attention = usual, attention

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        temb: torch.Tensor | None = None,
    ) -> torch.Tensor:
        texts = self._attention.texts
        if texts is None:
            return self._usual(attn, hidden_states, encoder_hidden_states, attention_mask, temb)
        if attention_mask is not None or hidden_states.ndim != 3:
            raise NotImplementedError("region attention: expected unmasked attention of [N, T, C]")
        free = len(hidden_states) - texts.images
        given = hidden_states[free:][texts.rows]
        found = self._usual(attn, given, texts.contexts.to(given.dtype))
        found = found * texts.weights(given.shape[1]).to(found.dtype)
        output = found.new_zeros(texts.images, *found.shape[1:])
        output = output.index_add(0, texts.rows, found)
        if not free:
            return output
        unconditional = self._usual(attn, hidden_states[:free], encoder_hidden_states[:free])
        return require("torch", "diffusion").cat([unconditional, output])
