"""What an annotation json of a real data set must hold to be learned from.

Less than `lvis.validate.validate_lvis` asks of a synthetic set: COCO has neither ``coco_url`` nor
LVIS's lists, and masks may be RLE. Nothing is read outside the folders that the user named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mf_plugin.errors import InputError, shown
from mf_plugin.lvis.paths import image_path, is_inside
from mf_plugin.lvis.rle import rle_problem
from mf_plugin.lvis.validate import check_image_id, check_polygons, check_size, is_id

_MOST_ID = (1 << 24) - 1  # of a panoptic segment: three bytes of a pixel


def check_images(images: Sequence[Any], category_ids: set[int]) -> dict[int, tuple[int, int]]:
    """(height, width) by image id.

    Raises:
        InputError: an image has no id of its own, no size, no path inside the data set's folder,
            or a list of unknown categories.
    """
    sizes: dict[int, tuple[int, int]] = {}
    for image in images:
        image_id = check_image_id(image, sizes)
        name = file_name(image)
        if not is_inside(name):
            raise InputError(f"image {image_id}: {shown(name)} is not a path inside the data set")
        open_ended = image.get("not_exhaustive_category_ids", [])
        if not isinstance(open_ended, list) or not all(
            _is_known(i, category_ids) for i in open_ended
        ):
            raise InputError(
                f"image {image_id}: not_exhaustive_category_ids is {shown(open_ended)}, expected "
                "ids of categories"
            )
        sizes[image_id] = check_size(image)
    return sizes


def file_name(image: Mapping[str, Any]) -> str:
    """COCO's ``file_name`` is relative to the split's folder; LVIS has the path in ``coco_url``."""
    name = image.get("file_name")
    return name if isinstance(name, str) and name else image_path(image)


def check_objects(
    annotations: Sequence[Any], sizes: Mapping[int, tuple[int, int]], category_ids: set[int]
) -> None:
    """Every annotation has its image, category and mask; a crowd's mask is not looked at.

    Raises:
        InputError: names the first that has not.
    """
    for annotation, name in _named(annotations):
        problem = _image_problem(annotation, sizes) or _category_problem(annotation, category_ids)
        if problem is None and not annotation.get("iscrowd"):
            mask, size = annotation.get("segmentation"), sizes[annotation["image_id"]]
            problem = (
                rle_problem(mask, *size)
                if isinstance(mask, Mapping)
                else check_polygons(mask, *size)
            )
        if problem is not None:
            raise InputError(f"{name}: {problem}")


def check_panoptic(
    annotations: Sequence[Any], sizes: Mapping[int, tuple[int, int]], category_ids: set[int]
) -> None:
    """Every annotation has its image, a PNG inside the folder, and segments with an id each.

    Raises:
        InputError: names the first that has not.
    """
    for annotation, name in _named(annotations):
        segments, file = annotation.get("segments_info"), annotation.get("file_name")
        if not isinstance(segments, list) or file is None:
            raise InputError(
                f"{name} has no segments_info and file_name; expected a COCO panoptic json"
            )
        if not is_inside(file):
            raise InputError(f"{name}: {shown(file)} is not a path inside the folder of labels")
        problem = _image_problem(annotation, sizes)
        if problem is not None:
            raise InputError(f"{name}: {problem}")
        for segment, which in _named(segments, "segment"):
            if not 0 <= segment.get("id", -1) <= _MOST_ID:
                raise InputError(f"{name}: {which}: expected an id of 0 to {_MOST_ID}")
            problem = _category_problem(segment, category_ids)
            if problem is not None:
                raise InputError(f"{name}: {which}: {problem}")


def _named(
    items: Sequence[Any], what: str = "annotation"
) -> Iterator[tuple[Mapping[str, Any], str]]:
    for item in items:
        if not isinstance(item, Mapping) or not is_id(item.get("id", 0)):
            raise InputError(f"{what} {shown(item)}: expected an object, its id a number from 0")
        yield item, f"{what} {item.get('id')}"


def _image_problem(
    annotation: Mapping[str, Any], sizes: Mapping[int, tuple[int, int]]
) -> str | None:
    image_id = annotation.get("image_id")
    known = type(image_id) is int and image_id in sizes
    return None if known else f"unknown image id {shown(image_id)}"


def _category_problem(annotation: Mapping[str, Any], category_ids: set[int]) -> str | None:
    if not _is_known(annotation.get("category_id"), category_ids):
        return f"unknown category id {shown(annotation.get('category_id'))}"
    if annotation.get("iscrowd", 0) not in (0, 1):
        return f"iscrowd is {shown(annotation['iscrowd'])}, expected 0 or 1"
    return None


def _is_known(category_id: object, category_ids: set[int]) -> bool:
    return type(category_id) is int and category_id in category_ids
