"""How well masks read out of attention cover an object whose outline is known.

Single objects of the training styles are composed with exact alpha, noised to some of the sampler's
steps as in image-to-image, and their masks read through the same attention and mask code that
generation uses. So the model's attention is measured apart from what it draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from mf_plugin.generation.config import GenerationConfig
from mf_plugin.lvis.compose import compose_single
from mf_plugin.lvis.sprites import TRAIN_STYLES, load_sprites
from mf_plugin.mosaic.masks import attention_to_mask
from mf_plugin.mosaic.pipeline import MosaicPipeline
from mf_plugin.mosaic.prompts import build_prompt
from mf_plugin.vocabulary import Category

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class MeasuredMask:
    """One composed object: its image uint8[h, w, 3], outline and mask bool[h, w], and their IoU."""

    category: Category
    image: npt.NDArray[np.uint8]
    truth: Mask
    mask: Mask
    iou: float


def mask_iou(a: Mask, b: Mask) -> float:
    """Intersection over union of two masks of one shape; 0 where both are empty."""
    union = np.logical_or(a, b).sum()
    return float(np.logical_and(a, b).sum() / union) if union else 0.0


def measure_masks(
    pipeline: MosaicPipeline,
    config: GenerationConfig,
    categories: Sequence[Category],
    *,
    per_category: int,
    size: tuple[int, int],
    read_steps: Sequence[int],
    seed: int,
) -> list[MeasuredMask]:
    """Compose ``per_category`` objects of each category and measure their masks.

    Args:
        pipeline: the model.
        config: its template, sampler steps and mask settings are used.
        categories: mini-LVIS categories.
        size: (h, w) of an image, multiples of the VAE factor.
        read_steps: numbers of the sampler's steps that are read, from 0, the noisiest.
        seed: of compositions and noise.
    """
    sprites = load_sprites(TRAIN_STYLES, [category.id for category in categories])
    measured = []
    for category in tqdm(categories, "measuring masks", unit="category"):
        rng = np.random.default_rng((seed, category.id))
        drawn = [rgba for (id_, _), rgba in sprites.items() if id_ == category.id]
        composed = [
            compose_single(rng, drawn[index % len(drawn)], size) for index in range(per_category)
        ]
        images = np.stack([image for image, _, _ in composed])
        maps = pipeline.attend(
            images,
            [build_prompt(category, config.template, word) for _, _, word in composed],
            seeds=[int(s) for s in rng.integers(2**31, size=per_category)],
            steps=config.steps,
            read_steps=read_steps,
        )
        for (image, alpha, _), attention in zip(composed, maps, strict=True):
            mask = attention_to_mask(attention, image, config.mask)
            truth = alpha > 0.5
            measured.append(MeasuredMask(category, image, truth, mask, mask_iou(truth, mask)))
    return measured


def summarise(measured: Sequence[MeasuredMask]) -> dict:
    """Mean IoU, share under 0.5, and mean IoU of each category."""
    ious = np.array([m.iou for m in measured])
    names = dict.fromkeys(m.category.name for m in measured)
    return {
        "objects": len(ious),
        "mean_iou": float(ious.mean()),
        "share_under_0.5": float((ious < 0.5).mean()),
        "per_category": {
            name: float(np.mean([m.iou for m in measured if m.category.name == name]))
            for name in names
        },
    }


def draw_sheet(measured: Sequence[MeasuredMask], columns: int = 10) -> npt.NDArray[np.uint8]:
    """Images with the outline (green) and the mask (red) tinted, uint8[H, W, 3]."""
    tiles = []
    for m in measured:
        tile = m.image.astype(np.float32)
        tile[m.mask & ~m.truth] = 0.4 * tile[m.mask & ~m.truth] + 0.6 * np.array([255, 0, 0])
        tile[m.truth & ~m.mask] = 0.4 * tile[m.truth & ~m.mask] + 0.6 * np.array([0, 255, 0])
        tiles.append(np.hstack([m.image, tile.astype(np.uint8)]))
    while len(tiles) % columns:
        tiles.append(np.full_like(tiles[0], 255))
    rows = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    return np.vstack(rows)
