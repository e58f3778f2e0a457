"""What is kept of a canvas, and that a finished dataset's files give it back."""

from __future__ import annotations

import base64
import copy
import io

import numpy as np
import pytest
from PIL import Image

from mf_plugin.errors import InputError
from mf_plugin.generation.records import (
    CanvasResult,
    ObjectResult,
    encode_canvas,
    from_files,
    to_annotations,
    to_manifest_line,
)

CATEGORIES = [{"id": 5, "name": "cat"}, {"id": 2, "name": "dog"}]


def canvas(index: int, *objects: ObjectResult, image: np.ndarray | None = None) -> CanvasResult:
    prompts = [{"category_id": obj.category_id, "text": obj.prompt} for obj in objects]
    planned = {"index": index, "seed": 3, "layout": {"height": 300}, "prompts": prompts}
    return CanvasResult(planned, image, objects)


def decode(thumbnail: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(thumbnail))))


@pytest.fixture
def image() -> np.ndarray:
    image = np.zeros((300, 400, 3), np.uint8)
    image[:, 200:] = 200
    return image


@pytest.fixture
def records(image) -> list[dict]:
    mask = np.zeros((300, 400), bool)
    mask[10:40, 20:60] = True
    cat = ObjectResult(5, "a cat", mask, measures={"stability": 0.123456, "sharp": 2})
    no_dog = ObjectResult(2, "a dog", None, "too_small", image[:200, 100:300])
    small = ObjectResult(5, "a cat", None, "too_large", image[:20, :10], {"sharp": 1.0})
    return [
        encode_canvas(canvas(0, no_dog, cat, image=image), 95)[0],
        encode_canvas(canvas(1, small, no_dog), 95)[0],
    ]


def test_measures_are_rounded_and_thumbnails_are_small(records, image):
    first, second = records
    assert first["objects"][1]["measures"] == {"stability": 0.1235, "sharp": 2.0}
    assert "measures" not in first["objects"][0]
    thumbnail = decode(first["thumbnail"])
    assert thumbnail.shape == (120, 160, 3)
    assert thumbnail[60, 40].max() < 8 and abs(thumbnail[60, 120].astype(int) - 200).max() < 8
    assert decode(first["objects"][0]["thumbnail"]).shape == (128, 128, 3)
    assert decode(second["objects"][0]["thumbnail"]).shape == (20, 10, 3)
    assert "thumbnail" not in second


def without_thumbnails(records: list[dict]) -> list[dict]:
    records = copy.deepcopy(records)
    for holder in [*records, *(obj for record in records for obj in record["objects"])]:
        holder.pop("thumbnail", None)
    return records


def test_the_files_give_the_records_back(records):
    lines = [to_manifest_line(record) for record in records]
    assert "thumbnail" not in lines[0]
    again = from_files(lines, to_annotations(records, CATEGORIES))
    assert again == without_thumbnails(records)


def test_lines_of_an_earlier_version_have_no_measures(records):
    lines = [to_manifest_line(record) for record in records]
    for line in lines:
        del line["measures"]
    again = from_files(lines, to_annotations(records, CATEGORIES))
    assert all("measures" not in obj for record in again for obj in record["objects"])
    assert again[0]["objects"][1]["area"] == 1200


def drop_annotation(lines, annotations):
    annotations["annotations"].clear()


def drop_image(lines, annotations):
    annotations["images"].clear()


def drop_line(lines, annotations):
    del lines[0]


def drop_reason(lines, annotations):
    del lines[0]["reasons"][0]


def reject_all(lines, annotations):
    lines[0]["reasons"][1] = "too_small"


@pytest.mark.parametrize(
    "damage, message",
    [
        (drop_annotation, "line 0 has an object of category 5, annotations.json no annotation"),
        (drop_image, "line 0: annotations.json lacks its image"),
        (drop_line, r"annotations.json has images \[1\] that no line names"),
        (drop_reason, "line 0: 2 prompts, 1 reasons, 2 measures"),
        (reject_all, "line 0: annotations.json has more objects"),
    ],
)
def test_files_that_do_not_belong_together(records, damage, message):
    lines = [to_manifest_line(record) for record in records]
    annotations = to_annotations(records, CATEGORIES)
    damage(lines, annotations)
    with pytest.raises(InputError, match=message):
        from_files(lines, annotations)
