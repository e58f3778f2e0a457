"""Samples become a batch: latents and texts of the frozen parts, noise and times.

Where a set is small, the frozen parts run once over all variants of its pairs (`CachedBatches`);
else at each pass (`FreshBatches`). Shapes: B samples, C x h x w latents, H x W pixels, K text
tokens, E channels of a token, P of a pooled text.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from tqdm import tqdm

from mf_plugin.extras import require
from mf_plugin.mosaic.backbone import make_backbone
from mf_plugin.seggen.base import encode_captions, is_sdxl, stack_phrases
from mf_plugin.seggen.captions import split_caption
from mf_plugin.seggen.mask2img import condition
from mf_plugin.seggen.pairs import Pair, SegGenPairs
from mf_plugin.seggen.record import ModelRecord
from mf_plugin.seggen.regions import RegionTexts, background_prompts, find_regions
from mf_plugin.seggen.training.samples import Sample, draw_variant

if TYPE_CHECKING:
    import torch

_TOGETHER = 16  # pairs or captions that a cache encodes at once


@dataclass(frozen=True)
class Batch:
    """What one pass learns from, on the device.

    Attributes:
        latents: float32[B, C, h, w] of what shall come out, scaled as the U-Net takes them.
        noise: float32[B, C, h, w], standard normal.
        times: int64[B].
        context: [B, K, E] of the captions.
        pooled: [B, P] of the captions, for SDXL; else None.
        sizes: float32[B, 6], for SDXL; else None: (height, width) of the original, (top, left) of
            the part, (height, width) of the part.
        condition: float32[B, 3, H, W] colour maps in 0..1, for Mask2Img; else None.
        regions: what the pixels of each category read, for a Mask2Img with region prompts; else
            None, and they read ``context``.
        weights: float32[B, 1, h, w] of the error, of mean 1 in each sample; None: all alike.
    """

    latents: torch.Tensor
    noise: torch.Tensor
    times: torch.Tensor
    context: torch.Tensor
    pooled: torch.Tensor | None
    sizes: torch.Tensor | None
    condition: torch.Tensor | None
    weights: torch.Tensor | None = None
    regions: RegionTexts | None = None


class Encoded(NamedTuple):
    """Of the batch: latents, colour maps uint8[B, H, W, 3] or None, captions, sizes[B, 6]."""

    latents: torch.Tensor
    colormaps: torch.Tensor | None
    captions: list[str]
    sizes: list[tuple[int, ...]]


class Batches(ABC):
    """Makes batches.

    Args:
        base: the diffusers pipeline; its VAE and text encoders are on the device.
        record: of the model that is trained.
        object_weight: of the error where a colour map shows an object; 1 is the background's.
        prompts: category id -> region prompt; None where pixels read captions.
    """

    def __init__(
        self,
        base: Any,
        record: ModelRecord,
        object_weight: float = 1.0,
        prompts: Mapping[int, str] | None = None,
    ) -> None:
        self._base, self._record = base, record
        self._object_weight, self._prompts = object_weight, prompts
        self._backbone = make_backbone(base)
        self._times = int(base.scheduler.config.num_train_timesteps)

    @abstractmethod
    def _encode(self, samples: Sequence[Sample]) -> Encoded: ...

    @abstractmethod
    def _context(self, captions: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor | None]: ...

    def __call__(self, samples: Sequence[Sample]) -> Batch:
        """A batch of samples, in their order."""
        torch = require("torch", "diffusion")
        device = self._base._execution_device
        latents, colormaps, captions, sizes = self._encode(samples)
        said = [
            "" if sample.empty else self._record.fill(caption)
            for sample, caption in zip(samples, captions, strict=True)
        ]
        context, pooled = self._read(said)
        noise = [
            torch.randn(latents.shape[1:], generator=torch.Generator().manual_seed(sample.noise))
            for sample in samples
        ]
        times = torch.tensor([int(sample.time * self._times) for sample in samples])
        return Batch(
            latents=latents.to(device),
            noise=torch.stack(noise).to(device),
            times=times.to(device),
            context=context.to(device),
            pooled=None if pooled is None else pooled.to(device),
            sizes=torch.tensor(sizes).float().to(device) if is_sdxl(self._base) else None,
            condition=self._condition(colormaps, device),
            weights=self._weights(colormaps, latents.shape[2:], device),
            regions=self._regions(colormaps, said, device),
        )

    def _read(self, said: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Captions as the network takes them; `base.encode_phrases`."""
        phrases = self._record.phrases
        if phrases == 1:
            return self._context(said)
        split = [phrase for text in said for phrase in split_caption(text, phrases)]
        pooled = self._context(said)[1] if is_sdxl(self._base) else None
        return stack_phrases(self._context(split)[0], phrases), pooled

    def _regions(self, colormaps: Any, said: Sequence[str], device: Any) -> RegionTexts | None:
        if self._prompts is None:
            return None
        silent = dict.fromkeys(self._prompts, "")
        backgrounds = background_prompts(said, self._record.captions)
        prompts = [self._prompts if text else silent for text in said]
        regions = find_regions(colormaps.numpy(), self._record.palette, prompts, backgrounds)
        return RegionTexts.of(regions, self._context(regions.prompts)[0], device)

    def _condition(self, colormaps: Any, device: Any) -> torch.Tensor | None:
        return None if self._maps_come_out else condition(colormaps.to(device))

    def _weights(self, colormaps: Any, size: Sequence[int], device: Any) -> torch.Tensor | None:
        if self._object_weight == 1:
            return None
        torch = require("torch", "diffusion")
        background = torch.tensor(self._record.palette.background, dtype=torch.uint8)
        objects = (colormaps != background).any(-1)[:, None].float()
        share = torch.nn.functional.adaptive_avg_pool2d(objects, tuple(size))
        weights = 1 + (self._object_weight - 1) * share
        return (weights / weights.mean((1, 2, 3), keepdim=True)).to(device)

    def _latents(self, pairs: Sequence[Pair]) -> torch.Tensor:
        """float32[B, C, h, w], the most probable ones."""
        torch = require("torch", "diffusion")
        shown = [pair.colormap if self._maps_come_out else pair.image for pair in pairs]
        pixels = torch.from_numpy(np.stack(shown)).permute(0, 3, 1, 2).float() / 255
        with torch.no_grad():
            return self._backbone.encode_pixels(pixels)

    @property
    def _maps_come_out(self) -> bool:
        return self._record.what == "text2mask"

    def _colormaps(self, pairs: Sequence[Pair]) -> torch.Tensor | None:
        """uint8[B, H, W, 3]; None where nothing asks for them."""
        if self._maps_come_out and self._object_weight == 1:
            return None
        return require("torch", "diffusion").from_numpy(np.stack([pair.colormap for pair in pairs]))


class FreshBatches(Batches):
    """VAE and text encoders run at each pass."""

    def _encode(self, samples: Sequence[Sample]) -> Encoded:
        pairs = [sample.pair for sample in samples if sample.pair is not None]
        return Encoded(
            self._latents(pairs),
            self._colormaps(pairs),
            [pair.caption for pair in pairs],
            [_sizes(pair) for pair in pairs],
        )

    def _context(self, captions: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor | None]:
        return encode_captions(self._base, captions)


class CachedBatches(Batches):
    """VAE and text encoders run once, over ``variants`` random parts of every pair.

    Args:
        base, record, object_weight, prompts: as of Batches.
        pairs: the data.
        variants: of each pair; the first is its centre.
        seed: of the training.
    """

    def __init__(
        self,
        base: Any,
        record: ModelRecord,
        pairs: SegGenPairs,
        variants: int,
        seed: int,
        object_weight: float = 1.0,
        prompts: Mapping[int, str] | None = None,
    ) -> None:
        super().__init__(base, record, object_weight, prompts)
        torch = require("torch", "diffusion")
        self._variants = variants
        rows = [(index, variant) for index in range(len(pairs)) for variant in range(variants)]
        latents, colormaps = [], []
        self._captions: list[str] = []
        self._sizes: list[tuple[int, ...]] = []
        for first in tqdm(range(0, len(rows), _TOGETHER), desc="latents", unit="batch"):
            part = [draw_variant(pairs, seed, *row) for row in rows[first : first + _TOGETHER]]
            latents.append(self._latents(part).cpu())
            colormaps.append(self._colormaps(part))
            self._captions += [pair.caption for pair in part]
            self._sizes += [_sizes(pair) for pair in part]
        self._all_latents = torch.cat(latents)
        self._all_maps = None if colormaps[0] is None else torch.cat(colormaps)
        captions = list(map(record.fill, self._captions))
        split = [phrase for text in captions for phrase in split_caption(text, record.phrases)]
        whole = captions if is_sdxl(base) else []  # of SDXL's pooled text
        texts = dict.fromkeys(["", *split, *whole, *(prompts or {}).values()])
        self._row_of_text = {text: row for row, text in enumerate(texts)}
        self._all_context, self._all_pooled = self._encode_texts(list(texts))

    def _encode(self, samples: Sequence[Sample]) -> Encoded:
        rows = [sample.pair_index * self._variants + sample.variant for sample in samples]
        return Encoded(
            self._all_latents[rows],
            None if self._all_maps is None else self._all_maps[rows],
            [self._captions[row] for row in rows],
            [self._sizes[row] for row in rows],
        )

    def _context(self, captions: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor | None]:
        rows = [self._row_of_text[caption] for caption in captions]
        pooled = None if self._all_pooled is None else self._all_pooled[rows]
        return self._all_context[rows], pooled

    def _encode_texts(self, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor | None]:
        torch = require("torch", "diffusion")
        parts = [
            encode_captions(self._base, texts[first : first + _TOGETHER])
            for first in range(0, len(texts), _TOGETHER)
        ]
        context = torch.cat([part.cpu() for part, _ in parts])
        pooled = [part.cpu() for _, part in parts if part is not None]
        return context, torch.cat(pooled) if pooled else None


def _sizes(pair: Pair) -> tuple[int, ...]:
    """As SDXL is told them (arXiv 2307.01952, section 2.2)."""
    return (*pair.original, *pair.corner, *pair.image.shape[:2])
