"""Real, labelled images that SegGen learns from and starts from: their segments and categories.

Three formats: "instance" is an LVIS or COCO annotation json, "semantic" a folder of PNG label maps
(ADE20K's SceneParsing: 0 is unlabelled, v is the v-th class), "panoptic" COCO's panoptic json with
its PNGs. Annotations stand in memory; masks and label maps are made when they are asked for.

Shapes: a mask is bool[H, W] of its image.
"""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pycocotools import mask as mask_api

from mf_plugin.errors import InputError
from mf_plugin.fields import check_fields
from mf_plugin.lvis.io import image_path, read_lvis
from mf_plugin.vocabulary import Vocabulary

Mask = npt.NDArray[np.bool_]
Pixels = npt.NDArray[np.integer]

FORMATS = ("instance", "semantic", "panoptic")
_IMAGE_ENDINGS = (".jpg", ".jpeg", ".png")
_UNLABELLED = (0, 255, 65535)  # of a label map: nothing there, or not to be counted
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
        image = _read_pixels(path, "source image", "RGB").astype(np.uint8, copy=False)
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
                listed[path.parent] = _list_files(path.parent)
            if path.name not in listed[path.parent]:
                raise InputError(f"source image {path} (id {image_id}) is missing on disk")


def read_source(config: SourceConfig) -> Source:
    """Read a real data set.

    Raises:
        InputError: a file or folder is missing or damaged.
    """
    if config.format == "instance":
        return _Instances(config)
    return _LabelMaps(config) if config.format == "semantic" else _Panoptic(config)


class _Instances(Source):
    def __init__(self, config: SourceConfig) -> None:
        assert config.annotations is not None
        self._path = Path(config.annotations)
        data = read_lvis(self._path)
        vocabulary = _vocabulary_of(data["categories"], self._path)
        known = {category.id for category in vocabulary}
        self._objects: dict[int, list[dict[str, Any]]] = defaultdict(list)
        self._open: dict[int, set[int]] = defaultdict(set)
        for annotation in data["annotations"]:
            _check_category(annotation, known, self._path)
            if annotation.get("iscrowd"):  # a region of many objects, none of them outlined
                self._open[annotation["image_id"]].add(annotation["category_id"])
            else:
                self._objects[annotation["image_id"]].append(annotation)
        for image in data["images"]:
            self._open[image["id"]].update(image.get("not_exhaustive_category_ids", ()))
        images = [
            SourceImage(image["id"], _file_name(image), (image["height"], image["width"]))
            for image in data["images"]
        ]
        super().__init__(images, vocabulary, known, config.images)

    def categories(self, image_id: int) -> tuple[int, ...]:
        return tuple(obj["category_id"] for obj in self._objects.get(image_id, ()))

    def segments(self, image_id: int) -> list[tuple[int, Mask]]:
        size = self.by_id[image_id].size
        found = [
            (obj["category_id"], _decode(obj["segmentation"], size))
            for obj in self._objects.get(image_id, ())
        ]
        return [(category_id, mask) for category_id, mask in found if mask.any()]

    def not_exhaustive(self, image_id: int) -> tuple[int, ...]:
        return tuple(sorted(self._open.get(image_id, ())))


class _LabelMaps(Source):
    indexed = False

    def __init__(self, config: SourceConfig) -> None:
        assert config.labels is not None and config.images is not None
        self._folder = Path(config.labels)
        root = Path(config.images)
        vocabulary = Vocabulary.from_names(_class_names(config.classes))
        pictures = {Path(n).stem: n for n in _list_files(root) if n.endswith(_IMAGE_ENDINGS)}
        stems = sorted(Path(n).stem for n in _list_files(self._folder) if n.endswith(".png"))
        if not stems:
            raise InputError(f"{self._folder} holds no PNG: expected label maps")
        for stem in stems:
            if stem not in pictures:
                raise InputError(f"label map {self._folder / stem}.png has no image in {root}")
        self._files = {number: f"{stem}.png" for number, stem in enumerate(stems, start=1)}
        images = [
            SourceImage(number, pictures[stem], _png_size(self._folder / f"{stem}.png"))
            for number, stem in enumerate(stems, start=1)
        ]
        self._cached: dict[int, tuple[int, ...]] = {}
        super().__init__(images, vocabulary, (), root)

    def categories(self, image_id: int) -> tuple[int, ...]:
        if image_id not in self._cached:
            values = np.unique(self._read(image_id)).tolist()
            self._cached[image_id] = tuple(v for v in values if v not in _UNLABELLED)
        return self._cached[image_id]

    def segments(self, image_id: int) -> list[tuple[int, Mask]]:
        labels = self._read(image_id)
        return [(value, labels == value) for value in self.categories(image_id)]

    def _read(self, image_id: int) -> Pixels:
        path = self._folder / self._files[image_id]
        labels = _read_pixels(path, "label map")
        if labels.ndim != 2:
            raise InputError(f"{path} has {labels.ndim} dimensions; expected a map of class values")
        values = np.unique(labels)
        unknown = [v for v in values.tolist() if v > len(self.vocabulary) and v not in _UNLABELLED]
        if unknown:
            raise InputError(f"{path} has value {unknown[0]}; expected 0 to {len(self.vocabulary)}")
        return labels

    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for name in self._files.values():
            digest.update(name.encode())
            digest.update((self._folder / name).read_bytes())
        return digest.hexdigest()


class _Panoptic(Source):
    def __init__(self, config: SourceConfig) -> None:
        assert config.annotations is not None and config.labels is not None
        self._path, self._folder = Path(config.annotations), Path(config.labels)
        data = read_lvis(self._path)
        vocabulary = _vocabulary_of(data["categories"], self._path)
        known = {category.id for category in vocabulary}
        self._entries: dict[int, dict[str, Any]] = {}
        for entry in data["annotations"]:
            if not isinstance(entry.get("segments_info"), list) or "file_name" not in entry:
                raise InputError(
                    f"{self._path} has an annotation without segments_info and file_name; expected "
                    "a COCO panoptic json"
                )
            for segment in entry["segments_info"]:
                _check_category(segment, known, self._path)
            self._entries[entry["image_id"]] = entry
        images = [
            SourceImage(image["id"], _file_name(image), (image["height"], image["width"]))
            for image in data["images"]
            if image["id"] in self._entries
        ]
        things = {c["id"] for c in data["categories"] if c.get("isthing", 1)}
        super().__init__(images, vocabulary, things, config.images)

    def _infos(self, image_id: int) -> list[dict[str, Any]]:
        infos = self._entries[image_id]["segments_info"]
        return [info for info in infos if not info.get("iscrowd")]

    def categories(self, image_id: int) -> tuple[int, ...]:
        return tuple(info["category_id"] for info in self._infos(image_id))

    def segments(self, image_id: int) -> list[tuple[int, Mask]]:
        path = self._folder / self._entries[image_id]["file_name"]
        pixels = _read_pixels(path, "label map")
        if pixels.ndim != 3:
            raise InputError(f"{path} is not RGB; expected COCO panoptic's coded ids")
        red, green, blue = (pixels[..., k].astype(np.int64) for k in range(3))
        ids = red + 256 * green + 256 * 256 * blue
        found = [(info["category_id"], ids == info["id"]) for info in self._infos(image_id)]
        return [(category_id, mask) for category_id, mask in found if mask.any()]

    def not_exhaustive(self, image_id: int) -> tuple[int, ...]:
        infos = self._entries[image_id]["segments_info"]
        return tuple(sorted({info["category_id"] for info in infos if info.get("iscrowd")}))


def _vocabulary_of(categories: Iterable[Mapping[str, Any]], path: Path) -> Vocabulary:
    try:
        return Vocabulary.from_categories(categories)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _check_category(annotation: Mapping[str, Any], known: set[int], path: Path) -> None:
    if annotation.get("category_id") not in known:
        raise InputError(
            f"{path}: annotation {annotation.get('id')!r} has the unknown category id "
            f"{annotation.get('category_id')!r}"
        )


def _file_name(image: Mapping[str, Any]) -> str:
    """COCO's ``file_name`` is relative to the split's folder; LVIS has the path in ``coco_url``."""
    return image["file_name"] if image.get("file_name") else image_path(image)


def _class_names(classes: tuple[str, ...] | str | Path | None) -> Sequence[str]:
    if isinstance(classes, tuple):
        return classes
    path = Path(str(classes))
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        raise InputError(f"classes {path}: no such file; expected a class name a line") from None
    except UnicodeDecodeError as error:
        raise InputError(f"classes {path} is no UTF-8 ({error})") from None
    return [line.strip() for line in lines if line.strip()]


def _list_files(folder: Path) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.is_file()}
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"source folder {folder} does not exist") from None


def _png_size(path: Path) -> tuple[int, int]:
    try:
        with Image.open(path) as file:
            return file.height, file.width
    except OSError as error:
        raise InputError(f"label map {path} cannot be read: {error}") from None


def _read_pixels(path: Path, what: str, mode: str | None = None) -> Pixels:
    try:
        with Image.open(path) as file:
            return np.asarray(file if mode is None else file.convert(mode))
    except OSError as error:
        raise InputError(f"{what} {path} cannot be read: {error}") from None


def _decode(segmentation: Any, size: tuple[int, int]) -> Mask:
    """Polygons, an RLE or a compressed RLE as bool[H, W]."""
    height, width = size
    if isinstance(segmentation, list):
        rle = mask_api.merge(mask_api.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation["counts"], list):
        rle = mask_api.frPyObjects(segmentation, height, width)
    else:
        rle = segmentation
    mask: Mask = mask_api.decode(rle).astype(np.bool_)
    return mask
