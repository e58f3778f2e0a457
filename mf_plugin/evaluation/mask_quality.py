"""How well masks read out of attention cover an object whose outline is known.

Single objects are composed with exact alpha, noised to some of the sampler's steps as in
image-to-image, and their masks read through the same attention and mask code that generation uses.
So the model's attention is measured apart from what it draws. Several settings are measured on the
same images and the same noise.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from mf_plugin.arrays import Mask, Pixels
from mf_plugin.generation.config import GenerationConfig
from mf_plugin.generation.filters import filter_mask
from mf_plugin.lvis.compose import compose_single
from mf_plugin.lvis.sprites import TRAIN_STYLES, load_sprites
from mf_plugin.mosaic.attention import AttentionConfig, RegionAttention
from mf_plugin.mosaic.masks import MaskConfig, attention_config_for, attention_to_mask
from mf_plugin.mosaic.pipeline import MosaicPipeline
from mf_plugin.mosaic.prompts import build_prompt
from mf_plugin.vocabulary import Category


@dataclass(frozen=True)
class MaskSetting:
    """What differs between measurements: which attention is read and how it becomes a mask."""

    attention: AttentionConfig
    mask: MaskConfig


@dataclass(frozen=True)
class MeasuredMask:
    """One composed object: its image uint8[h, w, 3], outline and mask bool[h, w], and their IoU.

    reason: why the filters reject the mask; "" if they accept it.
    kept_iou: IoU of what the filters leave of an accepted mask; 0 of a rejected one.
    """

    category: Category
    image: Pixels
    truth: Mask
    mask: Mask
    iou: float
    reason: str = ""
    kept_iou: float = 0.0


def mask_iou(a: Mask, b: Mask) -> float:
    """Intersection over union of two masks of one shape; 0 where both are empty."""
    union = np.logical_or(a, b).sum()
    return float(np.logical_and(a, b).sum() / union) if union else 0.0


def mask_settings(config: GenerationConfig, methods: Sequence[str]) -> dict[str, MaskSetting]:
    """Settings by name: "published", "refined", or one of them with "-last", "-all" or "-next" for
    the subject's tokens that are read (the name alone: the config's).

    Raises:
        InputError: another name.
    """
    settings = {}
    for name in methods:
        method, _, tokens = name.partition("-")
        attention = dataclasses.replace(config.attention, tokens=tokens or config.attention.tokens)
        settings[name] = MaskSetting(attention, dataclasses.replace(config.mask, method=method))
    return settings


def compare_masks(
    pipeline: MosaicPipeline,
    config: GenerationConfig,
    settings: Mapping[str, MaskSetting],
    categories: Sequence[Category],
    *,
    per_category: int,
    size: tuple[int, int],
    read_steps: Sequence[int],
    seed: int,
    styles: Sequence[str] = TRAIN_STYLES,
) -> dict[str, list[MeasuredMask]]:
    """Compose ``per_category`` objects of each category and measure their masks in each setting.

    Args:
        pipeline: the model.
        config: its template, sampler steps and filters are used.
        settings: by name.
        categories: mini-LVIS categories; those that no style draws are left out.
        size: (h, w) of an image, multiples of the VAE factor.
        read_steps: numbers of the sampler's steps that are read, from 0, the noisiest.
        seed: of compositions and noise.
        styles: whose sprites are composed, in turn.

    Returns:
        {name: [object]}, the objects in one order.
    """
    sprites = load_sprites(styles, [category.id for category in categories])
    measured: dict[str, list[MeasuredMask]] = {name: [] for name in settings}
    for category in tqdm(categories, "measuring masks", unit="category"):
        rng = np.random.default_rng((seed, category.id))
        drawn = [rgba for (id_, _), rgba in sprites.items() if id_ == category.id]
        if not drawn:
            continue
        composed = [
            compose_single(rng, drawn[index % len(drawn)], size) for index in range(per_category)
        ]
        images = np.stack([image for image, _, _ in composed])
        prompts = [build_prompt(category, config.template, word) for _, _, word in composed]
        seeds = [int(s) for s in rng.integers(2**31, size=per_category)]
        read: dict[AttentionConfig, list[RegionAttention]] = {}
        for name, setting in settings.items():
            attention = _attention_for_all(setting.attention, settings)
            if attention not in read:
                read[attention] = pipeline.attend(
                    images,
                    prompts,
                    seeds=seeds,
                    steps=config.steps,
                    read_steps=read_steps,
                    attention=attention,
                )
            for (image, alpha, _), maps in zip(composed, read[attention], strict=True):
                mask = attention_to_mask(maps, image, setting.mask)
                measured[name].append(_measure(category, image, alpha > 0.5, mask, config))
    return measured


def summarise(measured: Sequence[MeasuredMask]) -> dict[str, Any]:
    """Mean IoU, share under 0.5, and mean IoU of each category; the same of accepted masks."""
    summary = _summarise([m.iou for m in measured], measured)
    accepted = [m for m in measured if not m.reason]
    summary["accepted"] = {
        "share": len(accepted) / len(measured),
        **_summarise([m.kept_iou for m in accepted], accepted),
    }
    return summary


def draw_sheet(measured: Sequence[MeasuredMask], columns: int = 10) -> Pixels:
    """Images with the outline (green) and the mask (red) tinted, uint8[H, W, 3]."""
    tiles = [np.hstack([m.image, _tint(m)]) for m in measured]
    while len(tiles) % columns:
        tiles.append(np.full_like(tiles[0], 255))
    rows = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    return np.vstack(rows)


def draw_comparison(measured: Mapping[str, Sequence[MeasuredMask]], columns: int = 5) -> Pixels:
    """Each image and beside it its masks in every setting, tinted as in ``draw_sheet``."""
    images = zip(*measured.values(), strict=True)
    tiles = [np.hstack([same[0].image, *map(_tint, same)]) for same in images]
    while len(tiles) % columns:
        tiles.append(np.full_like(tiles[0], 255))
    rows = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    return np.vstack(rows)


def _attention_for_all(
    attention: AttentionConfig, settings: Mapping[str, MaskSetting]
) -> AttentionConfig:
    """``attention`` with what any setting that shares it needs, so that it is read once."""
    sharing = [other.mask for other in settings.values() if other.attention == attention]
    refined = any(attention_config_for(mask, attention).refined for mask in sharing)
    return dataclasses.replace(attention, refined=refined)


def _measure(
    category: Category,
    image: Pixels,
    truth: Mask,
    mask: Mask,
    config: GenerationConfig,
) -> MeasuredMask:
    kept, reason = filter_mask(mask, config.filters)
    kept_iou = 0.0 if reason else mask_iou(truth, kept)
    return MeasuredMask(category, image, truth, mask, mask_iou(truth, mask), reason, kept_iou)


def _summarise(values: Sequence[float], measured: Sequence[MeasuredMask]) -> dict[str, Any]:
    ious = np.array(values)
    by_name: dict[str, list[float]] = {}
    for m, iou in zip(measured, values, strict=True):
        by_name.setdefault(m.category.name, []).append(iou)
    return {
        "objects": len(ious),
        "mean_iou": float(ious.mean()) if len(ious) else 0.0,
        "share_under_0.5": float((ious < 0.5).mean()) if len(ious) else 0.0,
        "per_category": {name: float(np.mean(found)) for name, found in by_name.items()},
    }


def _tint(m: MeasuredMask) -> Pixels:
    tile = m.image.astype(np.float32)
    tile[m.mask & ~m.truth] = 0.4 * tile[m.mask & ~m.truth] + 0.6 * np.array([255, 0, 0])
    tile[m.truth & ~m.mask] = 0.4 * tile[m.truth & ~m.mask] + 0.6 * np.array([0, 255, 0])
    return tile.astype(np.uint8)
