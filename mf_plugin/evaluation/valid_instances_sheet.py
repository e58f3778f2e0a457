"""Random instances of each outcome of a judge as one picture, to see whether the eye agrees.

Shapes: a tile is the instance's surroundings twice, plain and with outlines: the dataset's mask in
green, the judge's in magenta.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from pycocotools import mask as mask_api

from mf_plugin.arrays import Pixels
from mf_plugin.errors import InputError
from mf_plugin.evaluation.dataset_quality import crop_object
from mf_plugin.evaluation.detections import Results
from mf_plugin.evaluation.rare import GroundTruth
from mf_plugin.evaluation.valid_instances import OUTCOMES, VALID, Verdict, to_rle
from mf_plugin.lvis.paths import image_file

SIDE = 112  # pixels of a crop as drawn
FILL = 0.6  # longer side of the object's box over the side of its crop
GAP, TEXT, HEAD = 8, 16, 24
LETTERS = 34  # of a caption
GREEN, MAGENTA = (0, 200, 60), (255, 0, 200)


def draw_outcomes(
    dataset: GroundTruth,
    folder: str | Path,
    results: Results,
    verdicts: Sequence[Verdict],
    *,
    per_outcome: int = 20,
    columns: int = 5,
    seed: int = 0,
) -> Image.Image:
    """Up to ``per_outcome`` random instances of each outcome that there is.

    Args:
        dataset: of `valid_instances.load_dataset`, its images below ``folder``.
        results, verdicts: of `valid_instances.judge_instances`.

    Raises:
        InputError: an image is missing or damaged.
    """
    rng = np.random.default_rng(seed)
    shown = {}
    for outcome in OUTCOMES:
        mine = [index for index, v in enumerate(verdicts) if v.outcome == outcome]
        drawn = rng.choice(len(mine), min(per_outcome, len(mine)), replace=False)
        shown[outcome] = [mine[k] for k in sorted(drawn.tolist())]
    height = sum(
        HEAD + -(-len(indices) // columns) * (SIDE + 2 * TEXT + GAP) for indices in shown.values()
    )
    sheet = Image.new("RGB", (GAP + columns * (2 * SIDE + GAP), height + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(13)
    top = GAP
    for outcome, indices in shown.items():
        total = sum(v.outcome == outcome for v in verdicts)
        text = f"{outcome}: {len(indices)} of {total}, of {len(verdicts)} instances"
        draw.text((GAP, top), text, "black", font)
        top += HEAD
        for start in range(0, len(indices), columns):
            for column, index in enumerate(indices[start : start + columns]):
                left = GAP + column * (2 * SIDE + GAP)
                tile = _draw_tile(dataset, Path(folder), results, verdicts[index], index)
                sheet.paste(Image.fromarray(tile), (left, top))
                for line, words in enumerate(_captions(dataset, verdicts[index])):
                    draw.text((left, top + SIDE + line * TEXT), words[:LETTERS], "black", font)
            top += SIDE + 2 * TEXT + GAP
    return sheet


def _captions(dataset: GroundTruth, verdict: Verdict) -> tuple[str, str]:
    names = {c["id"]: c["name"] for c in dataset.data["categories"]}
    said = "" if verdict.outcome == VALID or verdict.named is None else names[verdict.named]
    return f"#{verdict.annotation_id} {names[verdict.category_id]}", f"{verdict.iou:.2f} {said}"


def _draw_tile(
    dataset: GroundTruth, folder: Path, results: Results, verdict: Verdict, index: int
) -> Pixels:
    """uint8[SIDE, 2 SIDE, 3]"""
    image = next(i for i in dataset.data["images"] if i["id"] == verdict.image_id)
    annotation = dataset.data["annotations"][index]
    path = image_file(folder, image)
    try:
        pixels = np.asarray(Image.open(path).convert("RGB"))
    except OSError as error:
        raise InputError(f"image {path} cannot be read: {error}") from error
    masks = np.zeros_like(pixels)
    masks[:, :, 0] = mask_api.decode(to_rle(annotation["segmentation"], pixels.shape[:2]))
    if verdict.detection is not None:
        assert results.masks is not None  # see load_detections
        masks[:, :, 1] = mask_api.decode(results.masks[verdict.detection])

    # A frame, empty in the masks, so that nothing of them is repeated beyond the border.
    x, y, width, height = annotation["bbox"]
    box = (x + 1, y + 1, width, height)
    frame = ((1, 1), (1, 1), (0, 0))
    crop = crop_object(np.pad(pixels, frame, "edge"), box, FILL)
    outlined = crop_object(np.pad(masks, frame), box, FILL)
    plain = cv2.resize(crop, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    outlined = cv2.resize(outlined, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
    drawn = plain.copy()
    for channel, colour in ((1, MAGENTA), (0, GREEN)):
        mask = np.ascontiguousarray(outlined[:, :, channel])
        outlines, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(drawn, outlines, -1, colour, 1)
    return np.hstack([plain, drawn])
