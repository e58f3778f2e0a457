"""A dataset's images as one picture, above plain and below with masks and names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from pycocotools import mask as mask_api

from mf_plugin.arrays import Pixels
from mf_plugin.errors import InputError
from mf_plugin.evaluation.truth_checks import check_ground_truth
from mf_plugin.evaluation.valid_instances import to_rle
from mf_plugin.lvis.io import read_lvis
from mf_plugin.lvis.paths import image_file

COLOURS = (
    (230, 60, 60), (60, 150, 240), (60, 200, 90), (245, 180, 30), (170, 90, 230),
    (30, 200, 200), (240, 110, 190), (150, 110, 70), (120, 130, 140),
)  # fmt: skip
FILL = 0.35  # of a mask's colour over the image
GAP = 6  # pixels between tiles


def draw_samples(
    folder: str | Path, *, count: int = 6, columns: int = 6, side: int = 224, seed: int = 0
) -> Image.Image:
    """Random images of an LVIS-format dataset folder, each twice.

    Args:
        folder: with annotations.json and the images that it names.
        count: of images; all where there are fewer.
        columns: images side by side.
        side: pixels of an image as drawn; it is scaled to fit.
        seed: of the choice.

    Raises:
        InputError: the folder, its json or an image is missing or damaged, or it has no images; or
            count, columns or side is less than 1.
    """
    for name, value in (("count", count), ("columns", columns), ("side", side)):
        if value < 1:
            raise InputError(f"{name} is {value}; expected at least 1")
    folder = Path(folder)
    data = read_lvis(folder / "annotations.json")
    check_ground_truth(str(folder / "annotations.json"), data)
    if not data["images"]:
        raise InputError(f"{folder} has no images; expected some to draw")
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(data["images"]), min(count, len(data["images"])), replace=False)
    names = {c["id"]: c.get("name", "").replace("_", " ") for c in data["categories"]}
    rows = -(-len(chosen) // columns)
    step = side + GAP
    size = (min(columns, len(chosen)) * step - GAP, rows * (2 * step + GAP) - 2 * GAP)
    sheet = Image.new("RGB", size, "white")
    for place, index in enumerate(sorted(chosen.tolist())):
        image = data["images"][index]
        mine = [
            a for a in data["annotations"] if a["image_id"] == image["id"] and a["segmentation"]
        ]
        left, top = place % columns * step, place // columns * (2 * step + GAP)
        plain = _read(image_file(folder, image))
        scale = side / max(plain.shape[:2])
        large = cv2.resize(plain, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        sheet.paste(Image.fromarray(large), (left, top))
        sheet.paste(_draw(large, plain.shape[:2], mine, names), (left, top + step))
    return sheet


def _read(path: Path) -> Pixels:
    """uint8[H, W, 3]"""
    try:
        return np.asarray(Image.open(path).convert("RGB"))
    except OSError as error:
        raise InputError(f"image {path} cannot be read: {error}") from error


def _draw(
    large: Pixels,
    size: Sequence[int],
    annotations: Sequence[Mapping[str, Any]],
    names: Mapping[int, str],
) -> Image.Image:
    """An enlarged image with masks of the original ``size``."""
    drawn = large.copy()
    height, width = large.shape[:2]
    for number, annotation in enumerate(annotations):
        colour = np.array(COLOURS[number % len(COLOURS)])
        mask = mask_api.decode(to_rle(annotation["segmentation"], size)).astype(np.float32)
        mask = cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR) >= 0.5
        drawn[mask] = np.rint((1 - FILL) * drawn[mask] + FILL * colour)
        outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(drawn, outlines, -1, colour.tolist(), 1)
    picture = Image.fromarray(drawn)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(11)
    scale = height / size[0]
    for annotation in annotations:
        x, y = (scale * value for value in annotation["bbox"][:2])
        text = names[annotation["category_id"]]
        x = min(max(2.0, x), max(2.0, width - 2 - draw.textlength(text, font)))
        place = (x, max(1.0, y - 12))
        draw.text(place, text, "white", font, stroke_width=2, stroke_fill="black")
    return picture
