"""Real data as training pairs: an image, its colour map and its caption.

SegGen (arXiv 2311.03355, section 3) learns from real, labelled images alone. Shapes: H x W pixels.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import numpy.typing as npt

from mf_plugin.errors import InputError
from mf_plugin.seggen.captions import compose_caption
from mf_plugin.seggen.colormap import MIN_AREA, encode
from mf_plugin.seggen.palette import Palette
from mf_plugin.seggen.source import Source
from mf_plugin.seggen.views import View, centre_view, draw_view

logger = logging.getLogger(__name__)

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Pair:
    """What both models learn from.

    Attributes:
        image: uint8[H, W, 3], RGB.
        colormap: uint8[H, W, 3] of its segments.
        caption: "" where nothing that is annotated can be seen.
        image_id: of the data set.
        original: (height, width) of the real image.
        corner: (top, left) of this part of it, in the scale of the pair.
    """

    image: Image
    colormap: Image
    caption: str
    image_id: int
    original: tuple[int, int]
    corner: tuple[int, int]


class SegGenPairs(Sequence[Pair]):
    """Pairs of a real data set. ``pairs[i]`` is the centre of image i; ``draw`` takes random parts.

    Args:
        source: the data set, with its images.
        palette: colours of its categories.
        kind: of the colour maps.
        size: (H, W) of all pairs.
        captions: image id -> its captions, of which one is drawn; None composes them from the
            segments that can be seen, those of the largest category first.
        zoom: parts are scaled by 1 to zoom (views.py).
        mirror: whether half of the parts are mirrored.
        min_area: pixels below which a segment is neither drawn nor named.
        skip_incomplete: leave images out that have no segment or no caption; else they are errors.

    Raises:
        InputError: an image without a segment or caption, or none is left.
    """

    def __init__(
        self,
        source: Source,
        palette: Palette,
        kind: str,
        size: tuple[int, int],
        *,
        captions: Mapping[int, Sequence[str]] | None = None,
        zoom: float = 1.0,
        mirror: bool = False,
        min_area: int = MIN_AREA,
        skip_incomplete: bool = False,
    ) -> None:
        self.source, self.palette, self.kind, self.size = source, palette, kind, size
        self._captions, self._zoom, self._mirror = captions, zoom, mirror
        self._min_area = min_area
        self.image_ids = complete_images(source, captions, skip_incomplete)

    def __len__(self) -> int:
        return len(self.image_ids)

    @overload
    def __getitem__(self, index: int) -> Pair: ...
    @overload
    def __getitem__(self, index: slice) -> list[Pair]: ...
    def __getitem__(self, index: int | slice) -> Pair | list[Pair]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        image_id = self.image_ids[index]
        view = centre_view(self.source.by_id[image_id].size, self.size)
        return self._make(image_id, view, None)

    def draw(self, index: int, rng: np.random.Generator) -> Pair:
        """A random part of image ``index``, with one of its captions."""
        image_id = self.image_ids[index]
        original = self.source.by_id[image_id].size
        view = draw_view(original, self.size, rng, zoom=self._zoom, mirror=self._mirror)
        return self._make(image_id, view, rng)

    def _make(self, image_id: int, view: View, rng: np.random.Generator | None) -> Pair:
        seen = [(c, view.mask(mask)) for c, mask in self.source.segments(image_id)]
        seen = [(c, mask) for c, mask in seen if np.count_nonzero(mask) >= self._min_area]
        return Pair(
            image=view.image(self.source.read_image(image_id)),
            colormap=encode(seen, self.size, self.palette, self.kind),
            caption=self._caption(image_id, seen, rng),
            image_id=image_id,
            original=self.source.by_id[image_id].size,
            corner=view.corner,
        )

    def _caption(
        self,
        image_id: int,
        seen: Sequence[tuple[int, npt.NDArray[np.bool_]]],
        rng: np.random.Generator | None,
    ) -> str:
        if self._captions is not None:
            known = self._captions[image_id]
            return known[0 if rng is None else int(rng.integers(len(known)))]
        if not seen:
            return ""
        return compose_caption(largest_first(seen), self.source.vocabulary, rng)


def complete_images(
    source: Source, captions: Mapping[int, Sequence[str]] | None, skip: bool
) -> tuple[int, ...]:
    """Ids of the images that have a segment and, where ``captions`` are given, a caption.

    Raises:
        InputError: one has not and ``skip`` is False, or none is left.
    """
    complete = []
    for image in source.images:
        reason = ""
        if not source.categories(image.id):
            reason = "no category in it"
        elif captions is not None and not captions.get(image.id):
            reason = "no caption"
        if not reason:
            complete.append(image.id)
        elif not skip:
            raise InputError(
                f"image {image.id} ({image.file_name}) has {reason}; expected one in every image, "
                "or skip_incomplete=True"
            )
    if not complete:
        raise InputError(
            f"none of the {len(source.images)} images has both a segment and a caption"
        )
    if len(complete) < len(source.images):
        left_out = len(source.images) - len(complete)
        logger.warning("%d of %d images are left out: incomplete", left_out, len(source.images))
    return tuple(complete)


def largest_first(seen: Sequence[tuple[int, npt.NDArray[np.bool_]]]) -> list[int]:
    """Category ids, one a segment, by falling area in pixels of all segments of their category.

    Args:
        seen: (category id, bool[H, W]) each; where two overlap, both count the pixels.

    Returns:
        The ids of ``seen``, those of one category side by side; of equal areas the lower id first.
    """
    areas: dict[int, int] = {}
    for category_id, mask in seen:
        areas[category_id] = areas.get(category_id, 0) + int(np.count_nonzero(mask))
    return sorted((c for c, _ in seen), key=lambda c: (-areas[c], c))
