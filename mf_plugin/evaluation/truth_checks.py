"""What a ground truth in LVIS's form, or in COCO's, must hold to be scored against.

Less than `lvis.validate.validate_lvis` asks: COCO has neither ``coco_url`` nor LVIS's lists, its
crowds are RLE, and categories need no name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from mf_plugin.errors import InputError, shown
from mf_plugin.lvis.rle import rle_problem
from mf_plugin.lvis.validate import are_numbers, check_polygons, check_size, is_id

FEDERATED_KEYS = ("neg_category_ids", "not_exhaustive_category_ids")
_LISTS = ("images", "annotations", "categories")
_ANNOTATION_KEYS = ("id", "image_id", "category_id", "bbox", "area", "segmentation")


def check_ground_truth(name: str, data: Mapping[str, Any]) -> None:
    """
    Raises:
        InputError: names the file and the first problem.
    """
    for key in _LISTS:
        if not isinstance(data.get(key), list):
            raise InputError(f"{name}: no list {key!r}, expected an LVIS ground truth")
        for index, item in enumerate(data[key]):
            if not isinstance(item, Mapping):
                raise InputError(f"{name}: {key} holds {shown(item)} at {index}, expected objects")
    categories = _distinct_ids(name, "category", data["categories"])
    for category in data["categories"]:
        if not isinstance(category.get("name", ""), str):
            raise InputError(
                f"{name}: category {category['id']} has name {shown(category['name'])}, "
                "expected text"
            )
    sizes = _check_images(name, data["images"])
    _distinct_ids(name, "annotation", data["annotations"])
    for index, annotation in enumerate(data["annotations"]):
        problem = _annotation_problem(annotation, sizes, categories)
        if problem is not None:
            raise InputError(f"{name}: annotation {index}: {problem}")


def _check_images(name: str, images: list[Mapping[str, Any]]) -> dict[int, tuple[int, int]]:
    """(height, width) by image id."""
    federated = [key for key in FEDERATED_KEYS if any(key in image for image in images)]
    expected = "LVIS's federated format" if federated else "LVIS's format or COCO's"
    for index, image in enumerate(images):
        for key in ("id", "width", "height", *(FEDERATED_KEYS if federated else ())):
            if key not in image:
                raise InputError(f"{name}: image {index} lacks {key!r}, expected {expected}")
        for key in federated:
            listed = image[key]
            if not isinstance(listed, list) or not all(type(i) is int for i in listed):
                raise InputError(
                    f"{name}: image {index}: {key} is {shown(listed)}, expected category ids"
                )
    _distinct_ids(name, "image", images)
    try:
        return {image["id"]: check_size(image) for image in images}
    except InputError as error:
        raise InputError(f"{name}: {error}") from None


def _distinct_ids(name: str, what: str, items: list[Mapping[str, Any]]) -> set[int]:
    ids: set[int] = set()
    for index, item in enumerate(items):
        if "id" not in item:
            raise InputError(f"{name}: {what} {index} lacks 'id'")
        if not is_id(item["id"]):
            raise InputError(
                f"{name}: {what} {index} has id {shown(item['id'])}, expected a number from 0"
            )
        if item["id"] in ids:
            raise InputError(f"{name}: {what} id {item['id']} appears twice")
        ids.add(item["id"])
    return ids


def _annotation_problem(
    annotation: Mapping[str, Any], sizes: Mapping[int, tuple[int, int]], categories: set[int]
) -> str | None:
    for key in _ANNOTATION_KEYS:
        if key not in annotation:
            return f"lacks {key!r}"
    image_id, category_id = annotation["image_id"], annotation["category_id"]
    if type(image_id) is not int or image_id not in sizes:
        return f"unknown image_id {shown(image_id)}"
    if type(category_id) is not int or category_id not in categories:
        return f"unknown category_id {shown(category_id)}"
    bbox, area = annotation["bbox"], annotation["area"]
    if not isinstance(bbox, (list, tuple)) or len(bbox) != 4 or not _are_finite(bbox):
        return f"bbox {shown(bbox)}, expected four finite numbers x, y, width, height"
    if bbox[2] < 0 or bbox[3] < 0:
        return f"bbox {shown(bbox)}, expected width and height from 0"
    if not _are_finite([area]) or area < 0:
        return f"area {shown(area)}, expected a number from 0"
    for key in ("iscrowd", "ignore"):
        if annotation.get(key, 0) not in (0, 1):
            return f"{key} {shown(annotation[key])}, expected 0 or 1"
    mask = annotation["segmentation"]
    if isinstance(mask, Mapping):
        return rle_problem(mask, *sizes[image_id])
    return None if mask == [] else check_polygons(mask, *sizes[image_id])


def _are_finite(values: Any) -> bool:
    return are_numbers(values) and all(map(math.isfinite, values))
