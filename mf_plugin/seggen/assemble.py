"""From painted canvases to kept objects, and to label maps where those are what is trained on.

Label values of kind "semantic": a category's place in the vocabulary, from 1; 0 where nothing is
labelled; 255 (or 65535, of more than 254 categories) where a rejected segment was painted, which
training has to ignore. ADE20K's own maps have the same form. Shapes: an image has h x w pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mf_plugin.generation.panoptic import encode_panoptic
from mf_plugin.generation.records import CanvasResult, ObjectResult, Record
from mf_plugin.seggen.gates import Judged
from mf_plugin.seggen.plan import SegGenGroup
from mf_plugin.seggen.synthesis import SegGenConfig

Images = npt.NDArray[np.uint8]
CONFIDENCE = "confidence"  # a measure of each object that was read from a painted colour map
_MARGIN = 4  # pixels around a rejected segment in its picture


@dataclass(frozen=True, eq=False)
class PaintedCanvas:
    """What SegGen paints of a canvas.

    Args:
        caption: that it was painted from.
        judged: segments and missing categories, in the colour map's order.
        colormap: uint8[h, w, 3] under the image; None where nothing was painted.
        image: uint8[h, w, 3], or None.
        reason: why there is no image where that is not for a segment's sake.
    """

    caption: str
    judged: tuple[Judged, ...] = ()
    colormap: Images | None = None
    image: Images | None = None
    reason: str = ""


@dataclass(frozen=True)
class SegGenAssembler:
    """Objects and label maps of a group; ``category_ids`` are the vocabulary's, in its order."""

    config: SegGenConfig
    category_ids: tuple[int, ...]

    @property
    def jpeg_quality(self) -> int:
        return self.config.jpeg_quality

    @property
    def beside(self) -> bool:
        return True

    def __call__(self, group: SegGenGroup, painted: Sequence[PaintedCanvas]) -> list[CanvasResult]:
        return [
            self._assemble(group.describe(canvas), result)
            for canvas, result in zip(group.canvases, painted, strict=True)
        ]

    def _assemble(self, planned: Record, painted: PaintedCanvas) -> CanvasResult:
        facts = {
            **planned,
            "caption": painted.caption,
            "category_ids": [one.category_id for one in painted.judged],
        }
        labels: npt.NDArray[np.unsignedinteger] | None = None
        infos: tuple[Record, ...] = ()
        if painted.image is not None and self.config.kind == "semantic":
            labels = self._label(painted.judged)
        elif painted.image is not None and self.config.kind == "panoptic":
            labels, infos = encode_panoptic(list(_kept(painted.judged)), self.config.size)
        return CanvasResult(
            facts,
            painted.image,
            tuple(_to_object(one, painted) for one in painted.judged),
            labels=labels,
            segments_info=infos,
            conditioning=painted.colormap,
            reason=painted.reason,
        )

    def _label(self, judged: Sequence[Judged]) -> npt.NDArray[np.unsignedinteger]:
        small = len(self.category_ids) < 255
        labels = np.zeros(self.config.size, np.uint8 if small else np.uint16)
        values = {id_: place for place, id_ in enumerate(self.category_ids, start=1)}
        for one in judged:
            if one.mask is not None and not one.reason:
                labels[one.mask] = values[one.category_id]
            elif one.mask is not None and self.config.reject != "erase":
                labels[one.mask] = np.iinfo(labels.dtype).max
        return labels


def _kept(judged: Sequence[Judged]) -> Iterator[tuple[int, npt.NDArray[np.bool_]]]:
    for one in judged:
        if one.mask is not None and not one.reason:
            yield one.category_id, one.mask


def _to_object(one: Judged, painted: PaintedCanvas) -> ObjectResult:
    measures = {} if one.confidence is None else {CONFIDENCE: one.confidence}
    if not one.reason:
        return ObjectResult(one.category_id, painted.caption, one.mask, measures=measures)
    picture = None
    if one.mask is not None and painted.image is not None:
        rows, columns = (np.flatnonzero(one.mask.any(axis=axis)) for axis in (1, 0))
        top, left = max(0, rows[0] - _MARGIN), max(0, columns[0] - _MARGIN)
        picture = painted.image[top : rows[-1] + 1 + _MARGIN, left : columns[-1] + 1 + _MARGIN]
    return ObjectResult(
        one.category_id, painted.caption, None, one.reason, picture, measures=measures
    )
