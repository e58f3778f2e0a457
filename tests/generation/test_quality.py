"""The numbers of the quality report, on records small enough to count by hand."""

from __future__ import annotations

import pytest

from mf_plugin.generation.quality import JudgeScores, quality_report

CATEGORIES = [
    {"id": 5, "name": "cat", "frequency": "r"},
    {"id": 2, "name": "dog", "frequency": "f"},
    {"id": 7, "name": "never_asked_for", "frequency": "c"},
]


def accepted(category_id: int, bbox: list[float], area: float, stability: float | None) -> dict:
    obj = {"category_id": category_id, "reason": "", "bbox": bbox, "area": area}
    obj["segmentation"] = [[0.0] * 8]
    return obj if stability is None else {**obj, "measures": {"stability": stability}}


def rejected(category_id: int, reason: str) -> dict:
    return {"category_id": category_id, "reason": reason}


@pytest.fixture
def records() -> list[dict]:
    """Two canvases of 100 x 200; the regions are its halves, [top, left, height, width]."""
    layout = {"regions": [[0, 0, 100, 100], [0, 100, 100, 100]]}
    shape = {"layout": layout, "height": 100, "width": 200}
    cat = accepted(5, [10.0, 20.0, 40.0, 40.0], 1000.0, 0.95)  # centre (30, 40)
    dog = accepted(2, [140.0, 80.0, 20.0, 20.0], 100.0, 0.7)  # centre (150, 90)
    whole = accepted(5, [0.0, 0.0, 100.0, 100.0], 10_000.0, 1.0)  # centre (50, 50)
    whole["segmentation"] = [[0.0] * 8] * 3
    return [
        {"index": 0, "objects": [cat, dog], **shape},
        {"index": 1, "objects": [whole, rejected(2, "too_small")], **shape},
        {"index": 2, "objects": [rejected(2, "too_small"), rejected(2, "no_component")]},
    ]


def test_acceptance(records):
    report = quality_report(records, CATEGORIES)
    row = {"objects": 6, "accepted": 3, "acceptance": 0.5, "stability": 0.8833, "of_region": 0.37}
    assert report["all"] == row
    assert report["reasons"] == {
        "too_small": {"objects": 2, "share": 0.3333},
        "no_component": {"objects": 1, "share": 0.1667},
    }
    assert list(report["categories"]) == ["cat", "dog"] and list(report["groups"]) == ["r", "f"]
    dog = {"objects": 4, "accepted": 1, "acceptance": 0.25, "stability": 0.7, "of_region": 0.01}
    assert report["categories"]["dog"] == report["groups"]["f"] == dog
    assert report["polygons"] == {"1": 2, "3": 1}


def filled(counts: list[int]) -> dict[int, int]:
    return {place: count for place, count in enumerate(counts) if count}


def test_histograms(records):
    report = quality_report(records, CATEGORIES)
    stability = report["stability"]
    assert stability["unstable"] == 0.3333 and stability["mean"] == 0.8833
    assert filled(stability["histogram"]) == {14: 1, 19: 2}  # 0.7, 0.95 and 1.0 in 20 bins
    area = report["area"]
    assert filled(area["of_region"]["histogram"]) == {0: 1, 2: 1, 19: 1}  # 0.01, 0.1, 1.0
    assert area["of_image"]["mean"] == 0.185  # 0.05, 0.005, 0.5
    assert filled(area["of_image"]["root_histogram"]) == {1: 1, 4: 1, 14: 1}  # 0.07, 0.22, 0.71
    assert area["classes"] == {"small": 2, "medium": 0, "large": 1}


def test_positions(records):
    position = quality_report(records, CATEGORIES)["position"]
    found = {
        name: {(y, x): n for y, row in enumerate(grid) for x, n in enumerate(row) if n}
        for name, grid in position.items()
    }
    assert found == {
        "on_canvas": {(3, 1): 1, (7, 6): 1, (4, 2): 1},
        "in_region": {(3, 2): 1, (7, 4): 1, (4, 4): 1},
    }


def test_nothing_accepted_and_nothing_measured(records):
    report = quality_report(records[2:], CATEGORIES)
    assert report["all"]["acceptance"] == 0.0 and report["all"]["stability"] is None
    assert report["stability"]["objects"] == 0 and sum(report["stability"]["histogram"]) == 0
    assert report["area"]["of_region"]["mean"] is None
    assert quality_report([], CATEGORIES)["all"]["acceptance"] is None


def test_a_generator_without_regions(records):
    del records[0]["layout"]
    report = quality_report(records[:1], CATEGORIES)
    assert report["area"]["of_region"]["mean"] is None
    assert sum(map(sum, report["position"]["on_canvas"])) == 2
    assert sum(map(sum, report["position"]["in_region"])) == 0


def test_a_judge_s_scores(records):
    scores = JudgeScores(
        "J", {(0, 0): 0.9, (1, 0): 0.2}, {(0, 0): "cat", (1, 0): "dog"}, {"held_out_top1": 0.97}
    )
    report = quality_report(records, CATEGORIES, scores)
    judge = report["judge"]
    assert (judge["judge"], judge["held_out_top1"], judge["objects"]) == ("J", 0.97, 2)
    assert (judge["confidence"], judge["named_right"]) == (0.55, 0.5)
    assert filled(judge["histogram"]) == {4: 1, 18: 1}
    assert report["categories"]["cat"]["confidence"] == 0.55
    assert "confidence" not in report["categories"]["dog"]  # the judge does not know dogs
