"""A real, labelled data set that SegGen learns from and starts from: where it lies, what it gives.

Shapes: a mask is bool[H, W] of its image.
"""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from mf_plugin.errors import InputError
from mf_plugin.fields import check_fields
from mf_plugin.vocabulary import Vocabulary

Mask = npt.NDArray[np.bool_]
Pixels = npt.NDArray[np.integer]

FORMATS = ("instance", "semantic", "panoptic")
_FIELDS = {
    "instance": ("annotations",),
    "semantic": ("labels", "classes", "images"),
    "panoptic": ("annotations", "labels"),
}


@dataclass(frozen=True)
class SourceConfig:
    """Where a real data set lies.

    Args:
        format: "instance", "semantic" or "panoptic".
        images: folder that the paths of the images start from; None where no image is read.
        annotations: the json, of "instance" and "panoptic".
        labels: folder of PNGs, of "semantic" and "panoptic".
        classes: of "semantic": the class names in the order of their values from 1, or a text file
            with one name a line.

    Raises:
        InputError: a value of another type, an unknown format, or one that lacks a field.
    """

    format: str
    images: str | Path | None = None
    annotations: str | Path | None = None
    labels: str | Path | None = None
    classes: tuple[str, ...] | str | Path | None = None

    def __post_init__(self) -> None:
        check_fields(self, "source ")
        if self.format not in FORMATS:
            raise InputError(f"source format is {self.format!r}; expected one of {FORMATS}")
        lacking = [name for name in _FIELDS[self.format] if getattr(self, name) is None]
        if lacking:
            raise InputError(f"source of format {self.format!r}: {lacking[0]} is missing")


@dataclass(frozen=True)
class SourceImage:
    """One real image.

    Args:
        id: of the data set; of "semantic", its place among the sorted file names, from 1.
        file_name: its path below the image root.
        size: (height, width) in pixels.
    """

    id: int
    file_name: str
    size: tuple[int, int]


class Source(ABC):
    """A real data set, read.

    Args:
        images: in the order of their ids.
        vocabulary: its categories, in its order.
        things: ids of the categories that are counted; the others ("stuff") have one segment an
            image.
        image_root: what their paths start from.

    Attributes:
        indexed: whether ``categories`` is answered without reading a file.
    """

    indexed = True
    _path: Path

    def __init__(
        self,
        images: Iterable[SourceImage],
        vocabulary: Vocabulary,
        things: Iterable[int],
        image_root: str | Path | None,
    ) -> None:
        self.images = tuple(sorted(images, key=lambda image: image.id))
        self.vocabulary = vocabulary
        self.things = frozenset(things)
        self.image_root = None if image_root is None else Path(image_root)
        if not self.images:
            raise InputError("the source has no image: expected at least one")

    @cached_property
    def by_id(self) -> dict[int, SourceImage]:
        """The images by id."""
        return {image.id: image for image in self.images}

    @abstractmethod
    def categories(self, image_id: int) -> tuple[int, ...]:
        """Category ids of an image's segments, one for each segment."""

    @abstractmethod
    def segments(self, image_id: int) -> list[tuple[int, Mask]]:
        """(category id, bool[H, W]) of an image's segments, at the image's own size.

        They may overlap, in formats that have overlaps; empty masks are left out.

        Raises:
            KeyError: no image has this id.
            InputError: a label map is missing or damaged.
        """

    def fingerprint(self) -> str:
        """SHA-256 of what the segments come from."""
        with open(self._path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def not_exhaustive(self, image_id: int) -> tuple[int, ...]:
        """Categories of which the image may hold unlabelled objects."""
        return ()

    def image_file(self, image_id: int) -> Path:
        """Where an image lies.

        Raises:
            InputError: there is no image root.
        """
        if self.image_root is None:
            raise InputError("the source has no folder of images: give `images`")
        return self.image_root / self.by_id[image_id].file_name

    def read_image(self, image_id: int) -> npt.NDArray[np.uint8]:
        """uint8[H, W, 3] RGB.

        Raises:
            InputError: there is no such file, or it is no image of the size that the annotations
                say.
        """
        path, size = self.image_file(image_id), self.by_id[image_id].size
        image = read_pixels(path, "source image", "RGB").astype(np.uint8, copy=False)
        if image.shape[:2] != size:
            raise InputError(
                f"source image {path} is {image.shape[:2]} (height, width); its labels are {size}"
            )
        return image

    def check_images(self, image_ids: Iterable[int]) -> None:
        """See that the images are there, a folder listed once.

        Raises:
            InputError: names the first that is missing.
        """
        listed: dict[Path, set[str]] = {}
        for image_id in image_ids:
            path = self.image_file(image_id)
            if path.parent not in listed:
                listed[path.parent] = list_files(path.parent)
            if path.name not in listed[path.parent]:
                raise InputError(f"source image {path} (id {image_id}) is missing on disk")


def list_files(folder: Path) -> set[str]:
    """Names of the files in a folder; InputError where there is none."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.is_file()}
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"source folder {folder} does not exist") from None


def read_pixels(path: Path, what: str, mode: str | None = None) -> Pixels:
    """An image file as an array, in ``mode`` of Pillow or as it is; InputError where it is none."""
    try:
        with Image.open(path) as file:
            return np.asarray(file if mode is None else file.convert(mode))
    except OSError as error:
        raise InputError(f"{what} {path} cannot be read: {error}") from None
