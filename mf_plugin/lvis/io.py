"""LVIS v1 json files: read, check, write.

A dataset that passes `validate_lvis` is accepted by lvis-api, by mmdet's LVISV1Dataset and by
detectron2's load_lvis_json. All three find an image by the path in its ``coco_url``, below the
root of the dataset; LVIS v1 itself has no ``file_name``.
"""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mf_plugin.errors import InputError
from mf_plugin.jsonfile import collection_paused, parse_json, read_json
from mf_plugin.lvis.paths import image_path
from mf_plugin.lvis.validate import (
    MIN_POLYGON_NUMBERS,
    check_categories,
    check_top_level,
    validate_lvis,
)

__all__ = [
    "MIN_POLYGON_NUMBERS",
    "collection_paused",
    "image_path",
    "read_categories",
    "read_lvis",
    "validate_lvis",
    "write_bytes_atomic",
    "write_json_atomic",
]

CATEGORIES = b'"categories"'
FIRST_CHUNK = 1 << 20  # bytes decoded at first; LVIS's categories are about 400 kB


def read_lvis(path: str | Path) -> dict[str, Any]:
    """Read an LVIS annotation json; `validate_lvis` checks what is in it.

    Raises:
        InputError: the file is missing, truncated, or lacks images, annotations or categories.
    """
    data: dict[str, Any] = read_json(path, "an LVIS annotation json")
    try:
        check_top_level(data)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return data


def read_categories(path: str | Path) -> list[dict[str, Any]]:
    """The ``categories`` of an annotation json; of LVIS's gigabyte a few hundred kB are parsed.

    Where the word stands in the file more than once, all of it is.

    Raises:
        InputError: the file is missing or holds no list of categories with ids and names.
    """
    found = _find_categories(path)
    if found is None:
        found = read_lvis(path)["categories"]
    try:
        check_categories(found)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return found


def _find_categories(path: str | Path) -> list[dict[str, Any]] | None:
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            start = text.find(CATEGORIES)
            if start >= 0 and start == text.rfind(CATEGORIES):
                return _decode_list(text, start + len(CATEGORIES))
    except (FileNotFoundError, IsADirectoryError, ValueError, RecursionError):
        pass  # read_lvis says what is wrong
    return None


def _decode_list(text: mmap.mmap, start: int) -> list[dict[str, Any]] | None:
    """The list that follows a key; None where there is none."""
    size = FIRST_CHUNK
    while True:
        chunk = text[start : start + size].decode("utf-8", errors="ignore").lstrip(": \t\r\n")
        if not chunk.startswith("["):
            return None
        try:
            end = json.JSONDecoder().raw_decode(chunk)[1]
            found = parse_json(chunk[:end], "categories")
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
        InputError: the data holds NaN, infinity or half a character, which json does not have, or
            is nested too deep.
    """
    try:
        text = json.dumps(data, ensure_ascii=False, allow_nan=False, indent=indent)
        content = f"{text}\n".encode()
    except RecursionError:
        raise InputError(f"cannot write {path}: the data is nested too deep") from None
    except ValueError as error:
        raise InputError(f"cannot write {path}: {error}") from None
    write_bytes_atomic(path, content)


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
