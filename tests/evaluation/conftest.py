"""A small random federated LVIS set with detections of known quality."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as mask_utils

SIZE = 160


def box_polygon(box):
    x, y, w, h = box
    return [[x, y, x + w, y, x + w, y + h, x, y + h]]


def encode(box):
    rle = mask_utils.merge(mask_utils.frPyObjects(box_polygon(box), SIZE, SIZE))
    return {"size": list(rle["size"]), "counts": rle["counts"].decode()}


def detection(image_id, category_id, box, score):
    box = [float(v) for v in box]
    return {
        "image_id": image_id,
        "category_id": category_id,
        "bbox": box,
        "score": float(score),
        "segmentation": encode(box),
    }


def ground_truth(images, categories, objects):
    """images [(neg, not_exhaustive)], categories [frequency], objects [(image, category, box)]."""
    return {
        "images": [
            {
                "id": i + 1,
                "width": SIZE,
                "height": SIZE,
                "coco_url": f"images/{i + 1:012}.jpg",
                "neg_category_ids": list(neg),
                "not_exhaustive_category_ids": list(not_exhaustive),
            }
            for i, (neg, not_exhaustive) in enumerate(images)
        ],
        "categories": [
            {"id": i + 1, "name": f"thing_{i + 1}"} | ({"frequency": f} if f else {})
            for i, f in enumerate(categories)
        ],
        "annotations": [
            {
                "id": i + 1,
                "image_id": image,
                "category_id": category,
                "bbox": [float(v) for v in box],
                "area": float(box[2] * box[3]),
                "segmentation": box_polygon(box),
            }
            for i, (image, category, box) in enumerate(objects)
        ],
    }


def random_box(rng, low=6, high=120):
    w, h = rng.integers(low, high, 2)
    return [int(rng.integers(0, SIZE - w)), int(rng.integers(0, SIZE - h)), int(w), int(h)]


def random_truth(seed=0, num_images=40, groups="rrrcccccfffff"):
    rng = np.random.default_rng(seed)
    share = {"r": 0.08, "c": 0.25, "f": 0.6}
    objects, images = [], []
    for image in range(1, num_images + 1):
        present = [c for c, g in enumerate(groups, 1) if rng.random() < share[g]]
        for category in present:
            objects += [(image, category, random_box(rng)) for _ in range(rng.integers(1, 4))]
        absent = [c for c in range(1, len(groups) + 1) if c not in present]
        negative = [int(c) for c in rng.permutation(absent)[: len(absent) // 2]]
        open_ended = [c for c in present if rng.random() < 0.2]
        images.append((negative, open_ended))
    return ground_truth(images, list(groups), objects)


def random_results(truth, seed=0, hit=0.7, noise=4, tie=False):
    """Noisy copies of the objects and false alarms; scores in hundredths collide when ``tie``."""
    rng = np.random.default_rng(seed)
    results = []
    for annotation in truth["annotations"]:
        for _ in range(2):
            if rng.random() < hit:
                x, y, w, h = annotation["bbox"]
                dx, dy, dw, dh = rng.integers(-noise, noise + 1, 4)
                box = [max(0, x + dx), max(0, y + dy), max(3, w + dw), max(3, h + dh)]
                category = annotation["category_id"]
                if rng.random() < 0.15:
                    category = int(rng.integers(1, len(truth["categories"]) + 1))
                score = rng.beta(4, 2)
                results.append(detection(annotation["image_id"], category, box, score))
    for image in truth["images"]:
        for _ in range(8):
            category = int(rng.integers(1, len(truth["categories"]) + 1))
            results.append(detection(image["id"], category, random_box(rng), rng.beta(2, 4)))
    if tie:
        for result in results:
            result["score"] = round(result["score"], 1)
    return results


@pytest.fixture
def lvis():
    """The builders above; conftest cannot be imported under importmode importlib."""
    from types import SimpleNamespace

    return SimpleNamespace(
        detection=detection,
        ground_truth=ground_truth,
        random_truth=random_truth,
        random_results=random_results,
    )
