"""From a canvas's pixels and attention to its kept objects: masks, filters, rejection.

A rejected object costs its region alone (policy "region") or, as published, its canvas ("image").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mf_plugin.arrays import Mask, Pixels
from mf_plugin.generation.config import GenerationConfig
from mf_plugin.generation.filters import blank, filter_mask
from mf_plugin.generation.plan import Canvas, Group
from mf_plugin.generation.records import STABILITY, CanvasResult, ObjectResult
from mf_plugin.mosaic.attention import RegionAttention
from mf_plugin.mosaic.clip import ClipScorer
from mf_plugin.mosaic.masks import attention_to_mask, make_disjoint, mask_stability
from mf_plugin.mosaic.sam import SamRefiner

IMAGE_REJECTED = "image_rejected"  # the object is good, another one of its canvas is not
CLIP_SCORE = "clip_score"


@dataclass(frozen=True)
class Models:
    """What looks at painted objects besides attention; None where the config has none."""

    sam: SamRefiner | None = None
    clip: ClipScorer | None = None


NO_MODELS = Models()


def load_models(config: GenerationConfig, device: str) -> Models:
    """The config's SAM and CLIP.

    Raises:
        InputError: one of them cannot be used.
    """
    sam, clip = config.sam, config.clip
    return Models(
        None if sam is None else SamRefiner(sam.model, device, sam.choose, sam.revision),
        None if clip is None else ClipScorer(clip.model, device, clip.revision),
    )


def assemble_canvas(
    image: Pixels,
    attention: Sequence[RegionAttention],
    group: Group,
    canvas: Canvas,
    config: GenerationConfig,
    models: Models = NO_MODELS,
) -> CanvasResult:
    """The kept and the rejected objects of a canvas.

    Args:
        image: uint8[H, W, 3].
        attention: of each region.
        models: of ``load_models(config)``.
    """
    regions = group.layout.regions
    crops = [image[region.slices] for region in regions]

    # 1. A mask for each region, reduced to its plausible component.
    masks, reasons = [], []
    for crop, read in zip(crops, attention, strict=True):
        mask = attention_to_mask(read, crop, config.mask)
        if models.sam is not None and mask.any():
            (mask,) = models.sam.refine(crop, [mask])
        mask, reason = filter_mask(mask, config.filters)
        masks.append(mask & (reason == ""))
        reasons.append(reason)

    # 2. No two objects share a pixel; what that leaves of an object must still be plausible.
    for index, mask in enumerate(make_disjoint(masks, group.layout)):
        if not reasons[index]:
            masks[index], reasons[index] = filter_mask(mask, config.filters)

    # 3. What CLIP thinks of the rest.
    scores: list[float] = []
    if models.clip is not None and config.clip is not None:
        texts = [prompt.text for prompt in canvas.prompts]
        scores = [float(score) for score in models.clip.score(crops, texts)]
        reasons = [
            reason or config.clip.reason(score)
            for reason, score in zip(reasons, scores, strict=True)
        ]
        masks = [mask & (reason == "") for mask, reason in zip(masks, reasons, strict=True)]

    # 4. What a rejected object does to its canvas.
    if config.reject == "image" and any(reasons):
        kept_image = None
        reasons = [reason or IMAGE_REJECTED for reason in reasons]
    else:
        kept_image = _blank_rejected(image, masks, reasons, group)

    objects = []
    for index, (category, prompt) in enumerate(zip(canvas.categories, canvas.prompts, strict=True)):
        if reasons[index]:
            objects.append(
                ObjectResult(category.id, prompt.text, None, reasons[index], crops[index])
            )
            continue
        mask = np.zeros(image.shape[:2], bool)
        mask[regions[index].slices] = masks[index]
        measures = {STABILITY: mask_stability(attention[index], crops[index], config.mask)}
        if scores:
            measures[CLIP_SCORE] = scores[index]
        objects.append(ObjectResult(category.id, prompt.text, mask, measures=measures))
    return CanvasResult(group.describe(canvas), kept_image, tuple(objects))


@dataclass(frozen=True)
class Painted:
    """What MosaicFusion paints of a group of B canvases.

    Args:
        images: uint8[B, H, W, 3].
        attention: [canvas][region].
    """

    images: Pixels
    attention: Sequence[Sequence[RegionAttention]]


@dataclass(frozen=True)
class MosaicAssembler:
    """Masks, filters and rejection for a group; ``models`` of ``load_models(config)``."""

    config: GenerationConfig
    models: Models = NO_MODELS

    @property
    def jpeg_quality(self) -> int:
        return self.config.jpeg_quality

    @property
    def beside(self) -> bool:
        return self.models == NO_MODELS

    def __call__(self, group: Group, painted: Painted) -> list[CanvasResult]:
        return [
            assemble_canvas(image, regions, group, canvas, self.config, self.models)
            for image, regions, canvas in zip(
                painted.images, painted.attention, group.canvases, strict=True
            )
        ]


def _blank_rejected(
    image: Pixels, masks: Sequence[Mask], reasons: Sequence[str], group: Group
) -> Pixels:
    """Fill the regions of rejected objects, up to the masks of the objects that stay."""
    regions = group.layout.regions
    kept = np.zeros(image.shape[:2], bool)
    for region, mask, reason in zip(regions, masks, reasons, strict=True):
        if not reason:
            kept[region.slices] |= mask
    for region, reason in zip(regions, reasons, strict=True):
        if reason:
            area = np.zeros_like(kept)
            area[region.slices] = ~kept[region.slices]
            image = blank(image, area)
    return image
