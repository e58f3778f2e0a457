"""A stand-in for LVIS val and for a detector's results on it, of any size, from a seed.

Skewed as LVIS v1 is: 337 rare, 461 common and 405 frequent categories, image counts by Zipf's law
among the frequent ones, 3.4 categories and about 11 objects an image, as in the LVIS paper
(arXiv 1908.03195). Assumed: 8 categories verified absent per image, 12 % of the present ones
annotated in part. The objects are ellipses from a small library, each with worse and worse copies
for detections, so that a mask costs no encoding.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as mask_api
from tqdm import tqdm

from mf_plugin.arrays import FloatArray, IntArray
from mf_plugin.lvis.io import write_json_atomic

HEIGHT, WIDTH = 480, 640
LVIS_VAL_IMAGES = 20_000  # 19,809
GROUP_SIZES = (("r", 337), ("c", 461), ("f", 405))
CATEGORIES_PER_IMAGE, OBJECTS_PER_CATEGORY = 3.4, 3.3
NEGATIVES_PER_IMAGE, NOT_EXHAUSTIVE = 8, 0.12
SHAPES, COPIES = 500, 6  # the library; copy 0 is the object itself


@dataclass(frozen=True)
class Library:
    """``polygons`` and ``boxes`` of the S shapes; ``texts`` the json of each of the S x COPIES
    copies, from ``"bbox"`` to the mask's end, less the score."""

    polygons: list[list[float]]
    areas: list[float]
    boxes: FloatArray
    texts: list[str]


def write_standin(
    folder: str | Path, images: int, detections: int, runs: int = 2, seed: int = 0
) -> dict[str, Any]:
    """Write ``gt.json`` and ``run0.segm.json``, ``run1.segm.json``, ... into ``folder``.

    Args:
        folder: made where missing.
        images: of the ground truth.
        detections: of every image, in each run.
        runs: results files; a later one finds more of the objects.
        seed: of everything.

    Returns:
        ``{"gt": path, "runs": [path, ...]}``
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    library = make_library(np.random.default_rng(seed))
    truth, shapes = make_truth(images, library, np.random.default_rng(seed + 1))
    write_json_atomic(folder / "gt.json", truth)
    paths = []
    for run in range(runs):
        rng = np.random.default_rng(seed + 2 + run)
        path = folder / f"run{run}.segm.json"
        hit = 0.55 + 0.1 * run / max(1, runs - 1)
        with open(path, "w", encoding="ascii") as file:
            separator = "["
            for text in _result_texts(truth, shapes, library, detections, hit, rng):
                file.write(separator + text)
                separator = ", "
            file.write("]")
        paths.append(path)
    return {"gt": folder / "gt.json", "runs": paths}


def make_library(rng: np.random.Generator) -> Library:
    """Ellipses of 12 to 240 pixels, anywhere in the image, and jittered copies of them."""
    polygons, areas, boxes, texts = [], [], [], []
    for _ in range(SHAPES):
        width, height = np.exp(rng.uniform(np.log(12), np.log(240), 2))
        x, y = rng.uniform(0, WIDTH - width), rng.uniform(0, HEIGHT - height)
        for copy in range(COPIES):
            shift = 0.07 * copy * rng.uniform(-1, 1, 4) * (width, height, width, height)
            box = np.array([x, y, width, height]) + shift
            box[:2] = np.clip(box[:2], 0, (WIDTH - 8, HEIGHT - 8))
            box[2:] = np.clip(box[2:], 6, (WIDTH - box[0], HEIGHT - box[1]))
            outline = _ellipse(box)
            mask = np.zeros((HEIGHT, WIDTH), np.uint8)
            cv2.fillPoly(mask, [outline.round().astype(np.int32)], 1)
            rle = mask_api.encode(np.asfortranarray(mask))
            counts = json.dumps(rle["counts"].decode("ascii"))
            numbers = json.dumps([float(v) for v in box.astype(np.float32)])
            size = f"[{HEIGHT}, {WIDTH}]"
            segmentation = f'{{"size": {size}, "counts": {counts}}}'
            texts.append(f'"bbox": {numbers}, "segmentation": {segmentation}')
            if copy == 0:
                polygons.append([round(float(v), 2) for v in outline.reshape(-1)])
                areas.append(float(mask.sum()))
                boxes.append(box.round(2))
    return Library(polygons, areas, np.array(boxes), texts)


def make_truth(
    images: int, library: Library, rng: np.random.Generator
) -> tuple[dict[str, Any], IntArray]:
    """LVIS ground truth, and the shape of each annotation: int[A]."""
    groups = [group for group, size in GROUP_SIZES for _ in range(size)]
    counts = image_counts(images, rng)
    present: list[set[int]] = [set() for _ in range(images)]
    for category, count in enumerate(counts, 1):
        for image in rng.choice(images, min(count, images), replace=False):
            present[image].add(category)
    entries, annotations, shapes = [], [], []
    for image, held in enumerate(present, 1):
        drawn = rng.integers(1, len(groups) + 1, NEGATIVES_PER_IMAGE).tolist()
        ordered = sorted(held)
        partly = [category for category in ordered if rng.random() < NOT_EXHAUSTIVE]
        entries.append(
            {
                "id": image,
                "height": HEIGHT,
                "width": WIDTH,
                "coco_url": f"val2017/{image:012d}.jpg",
                "neg_category_ids": sorted(set(drawn) - held),
                "not_exhaustive_category_ids": partly,
            }
        )
        for category in ordered:
            for shape in rng.integers(0, SHAPES, rng.geometric(1 / OBJECTS_PER_CATEGORY)).tolist():
                shapes.append(shape)
                annotations.append(
                    {
                        "id": len(shapes),
                        "image_id": image,
                        "category_id": category,
                        "bbox": library.boxes[shape].tolist(),
                        "area": library.areas[shape],
                        "segmentation": [library.polygons[shape]],
                    }
                )
    categories = [
        {"id": c, "name": f"category_{c}", "frequency": group} for c, group in enumerate(groups, 1)
    ]
    truth = {"images": entries, "annotations": annotations, "categories": categories}
    return truth, np.array(shapes)


def image_counts(images: int, rng: np.random.Generator) -> IntArray:
    """Images that hold each category, int[1203]: few for the rare, Zipf's law for the frequent.

    In a set smaller than LVIS val many categories have none, as in a part of it.
    """
    sizes = dict(GROUP_SIZES)
    rare, common = rng.integers(1, 4, sizes["r"]), rng.integers(2, 15, sizes["c"])
    left = CATEGORIES_PER_IMAGE * LVIS_VAL_IMAGES - rare.sum() - common.sum()
    shares = 1 / np.arange(1, sizes["f"] + 1)
    counts = np.concatenate([rare, common, left * shares / shares.sum()])
    drawn: FloatArray = counts * images / LVIS_VAL_IMAGES + rng.random(len(counts))
    return drawn.astype(int)


def _ellipse(box: FloatArray) -> FloatArray:
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    x, y, width, height = box
    circle = np.stack([np.cos(angles), np.sin(angles)], 1)
    outline: FloatArray = circle * (width / 2, height / 2) + (x + width / 2, y + height / 2)
    return outline


def _result_texts(
    truth: dict[str, Any],
    shapes: IntArray,
    library: Library,
    detections: int,
    hit: float,
    rng: np.random.Generator,
) -> Iterator[str]:
    """The json of each detection: two tries at each object, false alarms in categories that are
    present or verified absent, the rest anywhere."""
    num_categories = len(truth["categories"])
    of_image: dict[int, list[int]] = {i["id"]: [] for i in truth["images"]}
    for index, annotation in enumerate(truth["annotations"]):
        of_image[annotation["image_id"]].append(index)
    popularity: FloatArray = np.zeros(num_categories + 1)
    for annotation in truth["annotations"]:
        popularity[annotation["category_id"]] += 1
    popularity = np.sqrt(popularity + 1)
    popularity[0] = 0
    steps = np.cumsum(popularity / popularity.sum())
    of_annotation = np.array([a["category_id"] for a in truth["annotations"]])
    for image in tqdm(truth["images"], desc="writing detections", unit="image"):
        objects = np.repeat(np.array(of_image[image["id"]], dtype=int), 2)[: detections // 2]
        found = objects[rng.random(len(objects)) < hit]
        known = [*image["neg_category_ids"], *of_annotation[objects].tolist()]
        alarms = rng.choice(known, min(detections // 10, 2 * len(known))) if known else known
        rest = np.searchsorted(steps, rng.random(detections - len(found) - len(alarms)))
        rest = np.minimum(rest, num_categories)
        categories = np.concatenate([of_annotation[found], alarms, rest]).astype(int).tolist()
        copies = np.minimum(rng.geometric(0.35, len(found)), COPIES) - 1
        others = rng.integers(0, SHAPES * COPIES, detections - len(found))
        texts = np.concatenate([shapes[found] * COPIES + copies, others]).astype(int).tolist()
        scores = np.concatenate([rng.beta(4, 2, len(found)), rng.beta(1.2, 5, len(others))])
        for category, text, score in zip(categories, texts, scores.tolist(), strict=True):
            yield (
                f'{{"image_id": {image["id"]}, "category_id": {category}, "score": {score}, '
                f"{library.texts[text]}}}"
            )
