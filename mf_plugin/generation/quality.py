"""What can be said of a generated dataset without ground truth: pure functions on its records.

The report stands in dataset.json under "quality" and is plotted in gallery.html. It describes: no
number of it decides what is kept. Histograms count accepted objects in equal bins from 0 to 1; a
value at the upper end belongs to the last bin. Shares and means have 4 digits; those of nothing are
None.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mf_plugin.arrays import FloatArray
from mf_plugin.generation.records import STABILITY, Record

UNSTABLE_BELOW = 0.8  # stability under which a mask is counted as unstable
BINS = 20
GRID = 8  # cells a side of the position grids
_SMALL, _MEDIUM = 32**2, 96**2  # pixels; COCO's and LVIS's size classes
_GROUPS = ("r", "c", "f")


@dataclass(frozen=True)
class JudgeScores:
    """What a judge model says of accepted objects, by (canvas index, place among its objects).

    Args:
        judge: its name, for the page.
        confidence: probability that it gives to the asked category, 0 to 1. An object of a
            category that the judge does not know has no entry.
        named: the category name that it finds most likely.
        facts: what else is known of it, JSON values, such as its own accuracy.
    """

    judge: str
    confidence: Mapping[tuple[int, int], float]
    named: Mapping[tuple[int, int], str]
    facts: Mapping[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Object:
    """One object's numbers; all but ``category_id`` and ``reason`` of accepted objects alone.

    Args:
        place: (x, y) of its box's centre on the canvas, 0 to 1.
        area: pixels. of_image, of_region: its shares; no region is known of some generators.
    """

    category_id: int
    reason: str
    area: float = 0.0
    of_image: float = 0.0
    of_region: float | None = None
    place: tuple[float, float] = (0.0, 0.0)
    place_in_region: tuple[float, float] | None = None
    polygons: int = 0
    stability: float | None = None
    confidence: float | None = None
    right: bool | None = None


def quality_report(
    records: Iterable[Record], categories: Sequence[Record], scores: JudgeScores | None = None
) -> Record:
    """The quality report as JSON values.

    Args:
        records: the store's, in any order.
        categories: LVIS category dicts; those that were asked for get a row.
        scores: of a judge, if one was asked.
    """
    names = {category["id"]: category["name"] for category in categories}
    frequency = {category["id"]: category.get("frequency") for category in categories}
    objects = [obj for record in records for obj in _measure_objects(record, names, scores)]
    kept = [obj for obj in objects if not obj.reason]
    by_category: dict[int, list[_Object]] = defaultdict(list)
    by_group: dict[str | None, list[_Object]] = defaultdict(list)
    for obj in objects:
        by_category[obj.category_id].append(obj)
        by_group[frequency[obj.category_id]].append(obj)
    polygons = Counter(obj.polygons for obj in kept)
    report = {
        "all": _row(objects),
        "groups": {group: _row(by_group[group]) for group in _GROUPS if group in by_group},
        "reasons": _share_reasons(objects),
        "stability": _describe_stability(kept),
        "area": _describe_area(kept),
        "position": _describe_position(kept),
        "polygons": {str(number): polygons[number] for number in sorted(polygons)},
    }
    if scores is not None:
        report["judge"] = _describe_judge(kept, scores)
    report["categories"] = {
        category["name"]: _row(by_category[category["id"]])
        for category in categories
        if category["id"] in by_category
    }
    return report


def _measure_objects(
    record: Record, names: Mapping[int, str], scores: JudgeScores | None
) -> Iterable[_Object]:
    regions = record.get("layout", {}).get("regions") or [None] * len(record["objects"])
    for position, (obj, region) in enumerate(zip(record["objects"], regions, strict=True)):
        category_id = obj["category_id"]
        if obj["reason"]:
            yield _Object(category_id, obj["reason"])
            continue
        left, top, width, height = obj["bbox"]
        x, y = left + width / 2, top + height / 2
        of_region = place_in_region = None
        if region is not None:
            region_top, region_left, region_height, region_width = region
            of_region = obj["area"] / (region_height * region_width)
            place_in_region = (x - region_left) / region_width, (y - region_top) / region_height
        confidence = right = None
        key = record["index"], position
        if scores is not None and key in scores.confidence:
            confidence = scores.confidence[key]
            right = scores.named[key] == names[category_id]
        yield _Object(
            category_id,
            "",
            obj["area"],
            obj["area"] / (record["height"] * record["width"]),
            of_region,
            (x / record["width"], y / record["height"]),
            place_in_region,
            len(obj["segmentation"]),
            obj.get("measures", {}).get(STABILITY),
            confidence,
            right,
        )


def _row(objects: Sequence[_Object]) -> Record:
    """One line for all objects, a frequency group or a category; means are of accepted objects."""
    kept = [obj for obj in objects if not obj.reason]
    row = {
        "objects": len(objects),
        "accepted": len(kept),
        "acceptance": _mean([not obj.reason for obj in objects]),
        "stability": _mean([obj.stability for obj in kept]),
        "of_region": _mean([obj.of_region for obj in kept]),
    }
    if any(obj.confidence is not None for obj in kept):
        row["confidence"] = _mean([obj.confidence for obj in kept])
        row["named_right"] = _mean([obj.right for obj in kept])
    return row


def _share_reasons(objects: Sequence[_Object]) -> Record:
    counts = Counter(obj.reason for obj in objects if obj.reason)
    return {
        reason: {"objects": count, "share": round(count / len(objects), 4)}
        for reason, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    }


def _describe_stability(kept: Sequence[_Object]) -> Record:
    values = [obj.stability for obj in kept if obj.stability is not None]
    return {
        "objects": len(values),
        "mean": _mean(values),
        "unstable_below": UNSTABLE_BELOW,
        "unstable": _mean([value < UNSTABLE_BELOW for value in values]),
        "histogram": _histogram(values),
    }


def _describe_area(kept: Sequence[_Object]) -> Record:
    """Shares of the region; relative size of the image: the square root of the share, as in the
    LVIS paper's size plot; and COCO's size classes in pixels."""
    of_region = [obj.of_region for obj in kept if obj.of_region is not None]
    of_image = [obj.of_image for obj in kept]
    areas = np.array([obj.area for obj in kept])
    small, medium = int((areas < _SMALL).sum()), int((areas < _MEDIUM).sum())
    return {
        "of_region": {"mean": _mean(of_region), "histogram": _histogram(of_region)},
        "of_image": {"mean": _mean(of_image), "root_histogram": _histogram(np.sqrt(of_image))},
        "classes": {"small": small, "medium": medium - small, "large": len(kept) - medium},
    }


def _describe_position(kept: Sequence[_Object]) -> Record:
    """Box centres counted on a grid of GRID x GRID cells, rows from the top."""
    in_region = [obj.place_in_region for obj in kept if obj.place_in_region is not None]
    return {"on_canvas": _grid([obj.place for obj in kept]), "in_region": _grid(in_region)}


def _describe_judge(kept: Sequence[_Object], scores: JudgeScores) -> Record:
    values = [obj.confidence for obj in kept if obj.confidence is not None]
    return {
        "judge": scores.judge,
        **scores.facts,
        "objects": len(values),
        "confidence": _mean(values),
        "named_right": _mean([obj.right for obj in kept]),
        "histogram": _histogram(values),
    }


def _mean(values: Iterable[float | None]) -> float | None:
    known = [float(value) for value in values if value is not None]
    return round(sum(known) / len(known), 4) if known else None


def _histogram(values: Sequence[float] | FloatArray) -> list[int]:
    bins = np.floor(np.asarray(values, float) * BINS + 1e-9).astype(int).clip(0, BINS - 1)
    counts: list[int] = np.bincount(bins, minlength=BINS).tolist()
    return counts


def _grid(places: Sequence[tuple[float, float]]) -> list[list[int]]:
    counts = np.zeros((GRID, GRID), int)
    for x, y in places:
        counts[min(int(y * GRID), GRID - 1), min(int(x * GRID), GRID - 1)] += 1
    return counts.tolist()
