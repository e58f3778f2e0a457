"""Where an image lies: the one place where a path from a json becomes a file.

Whatever a json says, the file is below the dataset's folder: a path is plain names with "/" between
them, and no link on the way leads out.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mf_plugin.errors import InputError, shown

_LONGEST_NAME, _LONGEST_PATH = 255, 4096  # bytes, of Linux's file systems
_PLACES = ("", ".", "..")  # parts that are no names


def image_path(image: Mapping[str, Any]) -> str:
    """The image's path inside the root of its dataset, from ``coco_url``.

    ``http://images.cocodataset.org/train2017/1.jpg`` and ``train2017/1.jpg`` both give
    ``train2017/1.jpg``, as in detectron2 and mmdet.

    Raises:
        InputError: there is no ``coco_url``, or its path leaves the root.
    """
    url = image.get("coco_url")
    if not isinstance(url, str) or not url:
        raise InputError(f"image {shown(image.get('id'))}: expected a coco_url, got {shown(url)}")
    scheme, separator, rest = url.partition("://")
    path = rest.partition("/")[2] if separator else scheme
    if not is_inside(path):
        raise InputError(
            f"image {shown(image.get('id'))}: coco_url {shown(url)} is not a path inside the "
            "dataset"
        )
    return path


def is_inside(path: object) -> bool:
    """Whether text is a path that stays below where it starts, on any system: ``folder/name``.

    No absolute path, no drive or scheme, no "..", no backslash, no NUL; nothing that a file
    system cannot hold.
    """
    if not isinstance(path, str) or "\\" in path or "\0" in path:
        return False
    parts = path.split("/")
    if any(part in _PLACES for part in parts) or ":" in parts[0]:
        return False
    try:
        names = [len(part.encode()) for part in parts]
    except UnicodeEncodeError:
        return False
    return max(names) <= _LONGEST_NAME and sum(names) + len(names) <= _LONGEST_PATH


def image_file(root: str | Path, image: Mapping[str, Any]) -> Path:
    """The file of an image below the root of its dataset.

    Raises:
        InputError: its path leaves the root, by itself or over a link.
    """
    return file_inside(root, image_path(image))


def file_inside(root: str | Path, path: object) -> Path:
    """``path`` below ``root``; neither has to exist.

    Raises:
        InputError: it is no path, or leaves the root, by itself or over a link.
    """
    if not is_inside(path):
        raise InputError(f"{shown(path)} is not a path inside {root}")
    found = Path(root, str(path))
    if not _leads_inside(found, root):
        raise InputError(f"{found} is a link that leads out of {root}")
    return found


def folder_inside(root: str | Path, folder: str, *, linked: bool = False) -> Path:
    """A folder of images below ``root``.

    Args:
        root: of the dataset.
        folder: as `image_path` has it, without the name; "" is the root itself.
        linked: allow a folder that is a link to elsewhere, as users lay out COCO's images.

    Raises:
        InputError: it leads out.
    """
    found = Path(root, folder)
    if not linked and not _leads_inside(found, root):
        raise InputError(f"{found} is a link that leads out of {root}")
    return found


def check_link(entry: os.DirEntry[str], folder: str | Path) -> None:
    """A file of ``folder`` that is a link leads to a place in it, or below.

    Raises:
        InputError: it leads out.
    """
    if entry.is_symlink() and not _leads_inside(Path(entry.path), folder):
        raise InputError(f"{entry.path} is a link that leads out of {folder}")


def _leads_inside(path: Path, root: str | Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))
