"""What an LVIS json must hold so that no loader fails on it, and no mask fills the memory.

Types are checked before values are compared: a json may hold anything anywhere. True is no number
here, although Python takes it for 1.
"""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

from tqdm import tqdm

from mf_plugin.errors import InputError, shown
from mf_plugin.lvis.paths import check_link, folder_inside, image_path

REQUIRED_KEYS = ("images", "annotations", "categories")
MIN_POLYGON_NUMBERS = 6  # three points; pycocotools decodes a list of four numbers as a box
LARGEST_ID = (1 << 53) - 1  # every reader of json has it exact; numpy's int64 holds it
MAX_SIDE = 65_535  # pixels, JPEG's limit
MAX_PIXELS = 1 << 28  # of an image; a mask of more is 256 MiB and no image of a detector
MOST_LETTERS = 1000  # of a name
BAR_FROM = 100_000  # items from which a pass over them may take seconds
_GROUPS = ("r", "c", "f")
_NUMBERS = frozenset((int, float))
_TEXTS = ("synset", "def")
_COUNTS = ("image_count", "instance_count")


def validate_lvis(
    data: Mapping[str, Any],
    image_root: str | Path | None = None,
    *,
    nested: bool = False,
    linked: bool = False,
) -> None:
    """Check that all three loaders accept the dataset.

    Args:
        data: an LVIS annotation json with polygon masks.
        image_root: folder that the paths in ``coco_url`` start from; where given, every image
            must be there.
        nested: allow paths deeper than ``folder/file``. mmdet reads them; detectron2's own
            loader keeps the last two parts alone.
        linked: allow folders of images that are links to elsewhere, in a dataset that the user
            laid out.

    Raises:
        InputError: the first problem found.
    """
    check_top_level(data)
    category_ids = check_categories(data["categories"])
    sizes = _check_images(data["images"], category_ids, nested)
    _check_annotations(data["annotations"], sizes, category_ids)
    if image_root is not None:
        _check_files(data["images"], Path(image_root), linked)


def check_top_level(data: Any) -> None:
    """The three lists are there; what is in them is not looked at."""
    if not isinstance(data, Mapping):
        raise InputError(f"expected an LVIS annotation json, got a {type(data).__name__}")
    for key in REQUIRED_KEYS:
        if not isinstance(data.get(key), list):
            got = type(data[key]).__name__ if key in data else "nothing"
            raise InputError(f"expected a list under the key {key!r}, got {got}")


def check_categories(categories: Sequence[Any]) -> set[int]:
    """The ids of a list of LVIS categories.

    Raises:
        InputError: it is empty, a category has no integer id or no name, two have the same, or
            another field of LVIS's is of a wrong type.
    """
    if not categories:
        raise InputError("the list of categories is []: expected one category or more")
    ids: set[int] = set()
    names: set[str] = set()
    for category in categories:
        if not isinstance(category, Mapping):
            raise InputError(f"category {shown(category)}: expected an integer id and a name")
        category_id, name = category.get("id"), category.get("name")
        if not is_id(category_id) or not _is_name(name):
            raise InputError(f"category {shown(category)}: expected an integer id and a name")
        if category_id in ids:
            raise InputError(f"category id {category_id} appears twice")
        if name in names:
            raise InputError(f"category name {shown(name)} appears twice")
        check_category_fields(category)
        ids.add(category_id)
        names.add(name)
    return ids


def check_category_fields(category: Mapping[str, Any]) -> None:
    """What a category may have beside its id and its name; None counts as absent.

    Raises:
        InputError: a field is of a wrong type.
    """
    frequency, synonyms = category.get("frequency"), category.get("synonyms")
    problem = None
    if frequency not in (None, *_GROUPS):
        problem = f"has frequency {shown(frequency)}: expected 'r', 'c' or 'f'"
    elif synonyms is not None and not _are_texts(synonyms):
        problem = f"has synonyms {shown(synonyms)}: expected a list of words"
    for key in _TEXTS:
        if not isinstance(category.get(key), (str, type(None))):
            problem = f"has {key} {shown(category[key])}: expected text"
    for key in _COUNTS:
        if category.get(key) is not None and not is_id(category[key]):
            problem = f"has {key} {shown(category[key])}: expected a number from 0"
    if problem is not None:
        raise InputError(f"category {shown(category.get('name'))} {problem}")


def is_id(value: object) -> TypeGuard[int]:
    """Whether a value can be the id of an image, annotation or category, or a count."""
    return type(value) is int and 0 <= value <= LARGEST_ID


def check_image_id(image: Any, known: Container[int]) -> int:
    """The id of an image.

    Raises:
        InputError: it is no object with an id, or another image has the same.
    """
    image_id = image.get("id") if isinstance(image, Mapping) else None
    if not is_id(image_id):
        raise InputError(f"image {shown(image)}: expected an integer id")
    if image_id in known:
        raise InputError(f"image id {image_id} appears twice")
    return image_id


def check_size(image: Mapping[str, Any]) -> tuple[int, int]:
    """Height and width of an image.

    Raises:
        InputError: they are not there, or no image is of that size.
    """
    for key in ("height", "width"):
        side = image.get(key)
        if type(side) is not int or not 0 < side <= MAX_SIDE:
            raise InputError(
                f"image {shown(image.get('id'))}: expected {key} in pixels, got {shown(side)}"
            )
    height, width = image["height"], image["width"]
    if height * width > MAX_PIXELS:
        raise InputError(
            f"image {shown(image.get('id'))} is of {height} x {width} pixels: expected at most "
            f"{MAX_PIXELS} in all"
        )
    return height, width


def check_id_lists(image: Mapping[str, Any], category_ids: Iterable[int]) -> None:
    """LVIS's two lists of category ids of an image.

    Raises:
        InputError: one is missing or holds anything but known ids.
    """
    for key in ("neg_category_ids", "not_exhaustive_category_ids"):
        listed = image.get(key)
        if not isinstance(listed, list):
            raise InputError(
                f"image {image['id']}: expected a list under {key}, got {shown(listed)}"
            )
        for category_id in listed:
            if type(category_id) is not int or category_id not in category_ids:
                raise InputError(
                    f"image {image['id']}: {key} has the unknown category id {shown(category_id)}"
                )


def check_polygons(polygons: Any, height: int, width: int) -> str | None:
    """What is wrong with the polygons of a mask; None where nothing is.

    A coordinate may lie outside of the image by its longer side: what rasterises a polygon takes
    memory for its length.
    """
    if not isinstance(polygons, list) or not polygons:
        return f"expected segmentation as a list of polygons, got {shown(polygons)}"
    side = max(height, width)
    for polygon in polygons:
        if not isinstance(polygon, list):
            return f"polygon {shown(polygon)}, expected a list of numbers"
        numbers = len(polygon)
        if numbers < MIN_POLYGON_NUMBERS or numbers % 2:
            return (
                f"polygon of {numbers} numbers, expected an even count of at least "
                f"{MIN_POLYGON_NUMBERS}"
            )
        if _are_within(polygon, -side, 2 * side):
            continue
        if not are_numbers(polygon):
            return f"polygon {shown(polygon)}, a value has the wrong type: expected numbers"
        if not all(map(math.isfinite, polygon)):
            return "polygon with NaN or infinity"
        return f"polygon {shown(polygon)} far outside of its image of {height} x {width}"
    return None


def are_numbers(values: Sequence[Any]) -> bool:
    """Whether all are json numbers that a float can hold, NaN and infinity among them."""
    kinds = set(map(type, values))
    if not kinds <= _NUMBERS:
        return False
    if int not in kinds:
        return True
    return all(-LARGEST_ID <= v <= LARGEST_ID for v in values if type(v) is int)


def _are_within(values: Sequence[Any], low: int, high: int) -> bool:
    """Whether all are numbers of a range. A sum is finite where no NaN hides from min and max."""
    return (
        set(map(type, values)) <= _NUMBERS
        and low <= min(values)
        and max(values) <= high
        and math.isfinite(sum(values))
    )


def _check_images(
    images: Sequence[Any], category_ids: set[int], nested: bool
) -> dict[int, tuple[int, int]]:
    """(height, width) by image id."""
    sizes: dict[int, tuple[int, int]] = {}
    for image in images:
        image_id = check_image_id(image, sizes)
        path = image_path(image)
        depth = path.count("/") + 1
        if depth < 2 or (depth > 2 and not nested):
            raise InputError(
                f"image {image_id}: coco_url {shown(image['coco_url'])} has {depth} parts, "
                "expected folder/file (detectron2 reads the last two parts)"
            )
        sizes[image_id] = check_size(image)
        check_id_lists(image, category_ids)
    return sizes


def _check_annotations(
    annotations: Sequence[Any], sizes: Mapping[int, tuple[int, int]], category_ids: set[int]
) -> None:
    seen: set[int] = set()
    for annotation in tqdm(
        annotations, desc="checking annotations", unit="", disable=len(annotations) < BAR_FROM
    ):
        try:
            annotation_id = annotation["id"]
            if not is_id(annotation_id):
                raise InputError(f"annotation {shown(annotation)}: expected an integer id")
            if annotation_id in seen:
                raise InputError(f"annotation id {annotation_id} appears twice")
            seen.add(annotation_id)
            problem = _annotation_problem(annotation, sizes, category_ids)
        except KeyError as error:
            raise InputError(
                f"annotation {shown(annotation)}: the key {error} is missing"
            ) from None
        except TypeError as error:
            raise InputError(
                f"annotation {shown(annotation)}: a value has the wrong type ({error})"
            ) from None
        if problem is not None:
            raise InputError(f"annotation {annotation_id}: {problem}")


def _annotation_problem(
    annotation: Mapping[str, Any], sizes: Mapping[int, tuple[int, int]], category_ids: set[int]
) -> str | None:
    area, bbox = annotation["area"], annotation["bbox"]
    image_id, category_id = annotation["image_id"], annotation["category_id"]
    if type(image_id) is not int or image_id not in sizes:
        return f"unknown image id {shown(image_id)}"
    if type(category_id) is not int or category_id not in category_ids:
        return f"unknown category id {shown(category_id)}"
    if type(area) not in _NUMBERS:
        return f"area {shown(area)}: a value has the wrong type, expected a number"
    if not 0 < area <= LARGEST_ID:
        return f"expected area > 0, got {shown(area)}"
    if (
        not isinstance(bbox, list)
        or len(bbox) != 4
        or not _are_within(bbox, -LARGEST_ID, LARGEST_ID)
        or bbox[2] <= 0
        or bbox[3] <= 0
    ):
        return f"expected bbox [x, y, width > 0, height > 0], got {shown(bbox)}"
    if annotation.get("iscrowd", 0) not in (0, 1):
        return f"iscrowd is {shown(annotation['iscrowd'])}, expected 0 or 1"
    segmentation = annotation["segmentation"]
    if isinstance(segmentation, Mapping):
        return "expected segmentation as a list of polygons, got RLE (detectron2 reads no RLE here)"
    return check_polygons(segmentation, *sizes[image_id])


def _check_files(images: Sequence[Mapping[str, Any]], root: Path, linked: bool) -> None:
    """Every image is a file below ``root``; a folder is listed once, not asked per image."""
    wanted: dict[str, list[str]] = defaultdict(list)
    for image in images:
        folder, _, name = image_path(image).rpartition("/")
        wanted[folder].append(name)
    for folder, names in wanted.items():
        place = folder_inside(root, folder, linked=linked)
        try:
            with os.scandir(place) as entries:
                there = {entry.name: entry for entry in entries if entry.is_file()}
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(
                f"image folder {place} does not exist: it should hold {len(names)} images"
            ) from None
        missing = [name for name in names if name not in there]
        if missing:
            raise InputError(
                f"image {place / missing[0]} is missing on disk "
                f"({len(missing)} of {len(names)} images of this folder are)"
            )
        for name in names:
            check_link(there[name], place)


def _is_name(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and bool(value.strip()) and len(value) <= MOST_LETTERS


def _are_texts(values: object) -> bool:
    return isinstance(values, (list, tuple)) and all(isinstance(v, str) for v in values)
