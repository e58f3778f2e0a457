"""A picture of a dataset, pixel by pixel on a tiny one."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from mf_plugin.errors import InputError
from mf_plugin.evaluation.samples_sheet import COLOURS, FILL, GAP, draw_samples

GREY = 100


@pytest.fixture
def folder(tmp_path):
    """Two grey images of 40 x 40; the first has a square from (20, 20) to (30, 30)."""
    (tmp_path / "images").mkdir()
    images = []
    for number in (1, 2):
        name = f"images/{number}.png"
        Image.fromarray(np.full((40, 40, 3), GREY, np.uint8)).save(tmp_path / name)
        images.append({"id": number, "coco_url": name, "height": 40, "width": 40})
    square = [[20, 20, 30, 20, 30, 30, 20, 30]]
    annotation = {
        "id": 1, "image_id": 1, "category_id": 7, "bbox": [20, 20, 10, 10], "area": 100,
        "segmentation": square,
    }  # fmt: skip
    categories = [{"id": 7, "name": "a", "frequency": "r"}]
    content = {"images": images, "annotations": [annotation], "categories": categories}
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    return tmp_path


def test_plain_above_and_masks_below(folder):
    sheet = np.asarray(draw_samples(folder, side=80))
    assert sheet.shape == (2 * 80 + GAP, 2 * 80 + GAP, 3)
    assert (sheet[:80, :80] == GREY).all() and (sheet[:80, 80 + GAP :] == GREY).all()
    below = sheet[80 + GAP :]
    assert (below[:, 80 + GAP :] == GREY).all()  # no instance in the second image
    assert (sheet[:, 80 : 80 + GAP] == 255).all()
    inside = np.rint((1 - FILL) * GREY + FILL * np.array(COLOURS[0]))
    assert (below[45:55, 45:55] == inside).all()
    assert (below[70:, :80] == GREY).all()


def test_fewer_columns_make_more_rows(folder):
    assert draw_samples(folder, columns=1, side=40).size == (
        40,
        2 * (2 * (40 + GAP) + GAP) - 2 * GAP,
    )
    assert draw_samples(folder, count=1, side=40).size == (40, 80 + GAP)


def test_bad_input_is_named(folder):
    with pytest.raises(InputError, match="side is 0; expected at least 1"):
        draw_samples(folder, side=0)
    (folder / "images/2.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="2.png cannot be read"):
        draw_samples(folder)
