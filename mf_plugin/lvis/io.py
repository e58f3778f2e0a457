"""LVIS v1 json files: read, check, write.

A dataset that passes `validate_lvis` is accepted by lvis-api, by mmdet's LVISV1Dataset and by
detectron2's load_lvis_json. All three find an image by the path in its ``coco_url``, below the
root of the dataset; LVIS v1 itself has no ``file_name``.
"""

from __future__ import annotations

import gc
import json
import math
import mmap
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mf_plugin.errors import InputError

REQUIRED_KEYS = ("images", "annotations", "categories")
MIN_POLYGON_NUMBERS = 6  # three points; pycocotools decodes a list of four numbers as a box
CATEGORIES = b'"categories"'
FIRST_CHUNK = 1 << 20  # bytes decoded at first; LVIS's categories are about 400 kB
BAR_FROM = 100_000  # items from which a pass over them may take seconds


def read_lvis(path: str | Path) -> dict[str, Any]:
    """Read an LVIS annotation json; `validate_lvis` checks what is in it.

    Raises:
        InputError: the file is missing, truncated, or lacks images, annotations or categories.
    """
    path = Path(path)
    try:
        with open(path, encoding="utf-8") as file:
            with collection_paused():
                data = json.load(file)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise InputError(f"{path} is not a file: expected an LVIS annotation json") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid json (truncated?): {error}") from None
    try:
        _check_top_level(data)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return data


@contextmanager
def collection_paused() -> Iterator[None]:
    """Without cyclic garbage collection: plain data holds no cycles, and looking for them costs a
    third of the time of reading it."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def read_categories(path: str | Path) -> list[dict]:
    """The ``categories`` of an annotation json; of LVIS's gigabyte a few hundred kB are parsed.

    Where the word stands in the file more than once, all of it is.

    Raises:
        InputError: the file is missing or holds no list of categories.
    """
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            start = text.find(CATEGORIES)
            if start >= 0 and start == text.rfind(CATEGORIES):
                found = _decode_list(text, start + len(CATEGORIES))
                if found is not None:
                    return found
    except (FileNotFoundError, IsADirectoryError, ValueError):
        pass  # read_lvis says what is wrong
    return read_lvis(path)["categories"]


def _decode_list(text: mmap.mmap, start: int) -> list[dict] | None:
    """The list that follows a key; None where there is none."""
    size = FIRST_CHUNK
    while True:
        chunk = text[start : start + size].decode("utf-8", errors="ignore").lstrip(": \t\r\n")
        if not chunk.startswith("["):
            return None
        try:
            found = json.JSONDecoder().raw_decode(chunk)[0]
            return found if _are_categories(found) else None
        except json.JSONDecodeError:
            if start + size >= len(text):
                return None
        size *= 2


def _are_categories(found: Sequence[Any]) -> bool:
    return all(isinstance(c, dict) and "id" in c and "name" in c for c in found)


def write_json_atomic(path: str | Path, data: Any, *, indent: int | None = None) -> None:
    """Write ``data`` as json, with ``write_bytes_atomic``.

    Raises:
        OSError: the folder cannot be written.
        ValueError: the data holds NaN or infinity, which json does not have.
    """
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, indent=indent)
    write_bytes_atomic(path, f"{text}\n".encode())


def write_bytes_atomic(path: str | Path, data: bytes) -> None:
    """Write a file so that it is whole or untouched, whenever the power fails.

    The temporary file has a fixed name beside ``path``, so that a run that was killed leaves
    nothing behind once it is repeated; one writer at a time.

    Raises:
        OSError: the folder cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def image_path(image: Mapping[str, Any]) -> str:
    """The image's path inside the root of its dataset, from ``coco_url``.

    ``http://images.cocodataset.org/train2017/1.jpg`` and ``train2017/1.jpg`` both give
    ``train2017/1.jpg``, as in detectron2 and mmdet.

    Raises:
        InputError: there is no ``coco_url``, or its path leaves the root.
    """
    url = image.get("coco_url")
    if not isinstance(url, str) or not url:
        raise InputError(f"image {image.get('id')!r}: expected a coco_url, got {url!r}")
    scheme, separator, rest = url.partition("://")
    path = rest.partition("/")[2] if separator else scheme
    parts = path.split("/")
    if not path or "\\" in path or "\0" in path or any(p in ("", ".", "..") for p in parts):
        raise InputError(
            f"image {image.get('id')!r}: coco_url {url!r} is not a path inside the dataset"
        )
    return path


def validate_lvis(
    data: Mapping[str, Any], image_root: str | Path | None = None, *, nested: bool = False
) -> None:
    """Check that all three loaders accept the dataset.

    Args:
        data: an LVIS annotation json with polygon masks.
        image_root: folder that the paths in ``coco_url`` start from; where given, every image
            must be there.
        nested: allow paths deeper than ``folder/file``. mmdet reads them; detectron2's own
            loader keeps the last two parts alone.

    Raises:
        InputError: the first problem found.
    """
    _check_top_level(data)
    category_ids = _check_categories(data["categories"])
    image_ids = _check_images(data["images"], category_ids, nested)
    _check_annotations(data["annotations"], image_ids, category_ids)
    if image_root is not None:
        _check_files(data["images"], Path(image_root))


def _check_top_level(data: Any) -> None:
    if not isinstance(data, Mapping):
        raise InputError(f"expected an LVIS annotation json, got a {type(data).__name__}")
    for key in REQUIRED_KEYS:
        if not isinstance(data.get(key), list):
            got = type(data[key]).__name__ if key in data else "nothing"
            raise InputError(f"expected a list under the key {key!r}, got {got}")


def _check_categories(categories: list[dict]) -> set[int]:
    if not categories:
        raise InputError("the list of categories is empty")
    ids: set[int] = set()
    names: set[str] = set()
    for category in categories:
        if not isinstance(category, Mapping):
            raise InputError(f"category {category!r}: expected an integer id and a name")
        if not isinstance(category.get("id"), int) or not isinstance(category.get("name"), str):
            raise InputError(f"category {category!r}: expected an integer id and a name")
        if category["id"] in ids:
            raise InputError(f"category id {category['id']} appears twice")
        if category["name"] in names:
            raise InputError(f"category name {category['name']!r} appears twice")
        if category.get("frequency", "r") not in ("r", "c", "f"):
            raise InputError(
                f"category {category['name']!r} has frequency {category['frequency']!r}: "
                "expected 'r', 'c' or 'f'"
            )
        ids.add(category["id"])
        names.add(category["name"])
    return ids


def _check_images(images: list[dict], category_ids: set[int], nested: bool) -> set[int]:
    ids: set[int] = set()
    for image in images:
        image_id = image.get("id") if isinstance(image, Mapping) else None
        if not isinstance(image_id, int):
            raise InputError(f"image {image!r}: expected an integer id")
        if image_id in ids:
            raise InputError(f"image id {image_id} appears twice")
        ids.add(image_id)
        path = image_path(image)
        depth = path.count("/") + 1
        if depth < 2 or (depth > 2 and not nested):
            raise InputError(
                f"image {image_id}: coco_url {image['coco_url']!r} has {depth} parts, expected "
                "folder/file (detectron2 reads the last two parts)"
            )
        for key in ("height", "width"):
            if not isinstance(image.get(key), int) or image[key] <= 0:
                raise InputError(
                    f"image {image_id}: expected {key} in pixels, got {image.get(key)!r}"
                )
        for key in ("neg_category_ids", "not_exhaustive_category_ids"):
            if not isinstance(image.get(key), list):
                raise InputError(
                    f"image {image_id}: expected a list under {key}, got {image.get(key)!r}"
                )
            if not category_ids.issuperset(image[key]):
                unknown = next(i for i in image[key] if i not in category_ids)
                raise InputError(f"image {image_id}: {key} has the unknown category id {unknown}")
    return ids


def _check_annotations(
    annotations: list[dict], image_ids: set[int], category_ids: set[int]
) -> None:
    seen: set[int] = set()
    is_finite = math.isfinite
    for annotation in _with_bar(annotations, "checking annotations"):
        try:
            annotation_id = annotation["id"]
            segmentation = annotation["segmentation"]
            bbox = annotation["bbox"]
            if annotation_id in seen:
                raise InputError(f"annotation id {annotation_id} appears twice")
            seen.add(annotation_id)
            if annotation["image_id"] not in image_ids:
                raise InputError(
                    f"annotation {annotation_id}: unknown image id {annotation['image_id']!r}"
                )
            if annotation["category_id"] not in category_ids:
                raise InputError(
                    f"annotation {annotation_id}: "
                    f"unknown category id {annotation['category_id']!r}"
                )
            if not (annotation["area"] > 0 and is_finite(annotation["area"])):
                raise InputError(
                    f"annotation {annotation_id}: expected area > 0, got {annotation['area']!r}"
                )
            if len(bbox) != 4 or not all(map(is_finite, bbox)) or bbox[2] <= 0 or bbox[3] <= 0:
                raise InputError(
                    f"annotation {annotation_id}: expected bbox [x, y, width > 0, height > 0], "
                    f"got {bbox!r}"
                )
            if not isinstance(segmentation, list) or not segmentation:
                raise InputError(
                    f"annotation {annotation_id}: expected segmentation as a list of polygons, "
                    f"got {_shorten(segmentation)} (detectron2 reads no RLE here)"
                )
            for polygon in segmentation:
                numbers = len(polygon)
                if numbers < MIN_POLYGON_NUMBERS or numbers % 2:
                    raise InputError(
                        f"annotation {annotation_id}: polygon of {numbers} numbers, "
                        f"expected an even count of at least {MIN_POLYGON_NUMBERS}"
                    )
                if not all(map(is_finite, polygon)):
                    raise InputError(f"annotation {annotation_id}: polygon with NaN or infinity")
        except KeyError as error:
            raise InputError(
                f"annotation {_shorten(annotation)}: the key {error} is missing"
            ) from None
        except TypeError as error:
            raise InputError(
                f"annotation {_shorten(annotation)}: a value has the wrong type ({error})"
            ) from None


def _check_files(images: list[dict], root: Path) -> None:
    """Every image is a file below ``root``; a folder is listed once, not asked per image."""
    wanted: dict[str, list[str]] = defaultdict(list)
    for image in images:
        folder, _, name = image_path(image).rpartition("/")
        wanted[folder].append(name)
    for folder, names in wanted.items():
        try:
            with os.scandir(root / folder) as entries:
                there = {entry.name for entry in entries if entry.is_file()}
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(
                f"image folder {root / folder} does not exist: it should hold {len(names)} images"
            ) from None
        missing = [name for name in names if name not in there]
        if missing:
            raise InputError(
                f"image {root / folder / missing[0]} is missing on disk "
                f"({len(missing)} of {len(names)} images of this folder are)"
            )


def _with_bar(items: list, text: str) -> Iterable:
    return tqdm(items, desc=text, unit="", disable=len(items) < BAR_FROM)


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _sync_folder(folder: Path) -> None:
    """Make a rename durable; on systems where a folder cannot be opened there is nothing to do."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)
