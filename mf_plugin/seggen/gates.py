"""Which segments become objects, with a named reason for every "no".

The reasons of MosaicFusion's filters stand for the same here; SegGen has some of its own, about
what a colour map says and its caption does not. Shapes: a mask is bool[H, W] of its image.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mf_plugin.errors import InputError
from mf_plugin.fields import check_fields
from mf_plugin.generation.filters import TOO_LARGE, TOO_SMALL
from mf_plugin.seggen.colormap import MIN_AREA, Segment

Mask = npt.NDArray[np.bool_]

LOW_CONFIDENCE = "low_confidence"
NOT_IN_CAPTION = "not_in_caption"
MISSING = "missing"  # the caption names the category, the colour map has no segment of it
NO_OBJECT = (TOO_SMALL, TOO_LARGE, LOW_CONFIDENCE)  # what a segment is by itself


@dataclass(frozen=True)
class GateConfig:
    """What an object has to be.

    Args:
        min_pixels: of an object at the size of the generated image.
        max_area: of an object, as a share of the image.
        min_confidence: of a painted segment (`colormap.Segment`), 0 to 1.
        named: whether a painted segment's category must stand in the caption. Captions that are not
            composed leave out much of what is there.
        clean: smaller parts of a painted colour map, in pixels, go to their surroundings before it
            is read.

    Raises:
        InputError: a value is of another type or out of its range; the message names the field.
    """

    min_pixels: int = 64
    max_area: float = 0.95
    min_confidence: float = 0.5
    named: bool = True
    clean: int = MIN_AREA

    def __post_init__(self) -> None:
        check_fields(self, "gates: ")
        for name in ("min_pixels", "clean"):
            if getattr(self, name) < 1:
                raise InputError(f"gates: {name} is {getattr(self, name)}; expected at least 1")
        if not 0 < self.max_area <= 1:
            raise InputError(f"gates: max_area is {self.max_area}; expected above 0, up to 1")
        if not 0 <= self.min_confidence <= 1:
            raise InputError(f"gates: min_confidence is {self.min_confidence}; expected 0 to 1")


@dataclass(frozen=True, eq=False)
class Judged:
    """A segment and whether it becomes an object.

    Args:
        mask: bool[H, W]; None of a category that is missing.
        confidence: of a painted segment; None of a real one.
        reason: "" where it is kept.
    """

    category_id: int
    mask: Mask | None
    confidence: float | None = None
    reason: str = ""


def judge_painted(
    segments: Iterable[Segment], named: Collection[int], gates: GateConfig
) -> tuple[Judged, ...]:
    """Segments of a painted colour map, then the categories that the map lacks.

    Args:
        named: ids of the categories that the caption names.
    """
    judged = []
    for segment in segments:
        reason = segment_reason(segment, gates)
        if not reason and gates.named and segment.category_id not in named:
            reason = NOT_IN_CAPTION
        judged.append(Judged(segment.category_id, segment.mask, segment.confidence, reason))
    painted = {one.category_id for one in judged}
    missing = [id_ for id_ in dict.fromkeys(named) if id_ not in painted]
    return (*judged, *(Judged(id_, None, None, MISSING) for id_ in missing))


def segment_reason(segment: Segment, gates: GateConfig) -> str:
    """One of ``NO_OBJECT``, or "": whether a painted segment is an object, whatever the caption."""
    reason = _size_reason(segment.mask, gates)
    if not reason and segment.confidence < gates.min_confidence:
        return LOW_CONFIDENCE
    return reason


def share_of_caption(judged: Iterable[Judged], named: Collection[int]) -> float:
    """Which share of the categories that a caption names has an object of the colour map, 0 to 1;
    1 where it names none."""
    kept = {one.category_id for one in judged if not one.reason}
    wanted = set(named)
    return len(kept & wanted) / len(wanted) if wanted else 1.0


def judge_real(segments: Iterable[tuple[int, Mask]], gates: GateConfig) -> tuple[Judged, ...]:
    """Segments of a real image at the generated image's size, judged by their area alone.

    Args:
        segments: (category id, bool[H, W]) each.
        gates: ``min_pixels`` and ``max_area`` count.

    Returns:
        One a segment, in their order, without a confidence.
    """
    return tuple(Judged(id_, mask, None, _size_reason(mask, gates)) for id_, mask in segments)


def reject_all(judged: Iterable[Judged], reason: str) -> tuple[Judged, ...]:
    """All of them rejected; those that are already keep their reason."""
    return tuple(replace(one, reason=one.reason or reason) for one in judged)


def _size_reason(mask: Mask, gates: GateConfig) -> str:
    area = np.count_nonzero(mask)
    if area < gates.min_pixels:
        return TOO_SMALL
    return TOO_LARGE if area > gates.max_area * mask.size else ""
