"""How real data sets are read: their segments and categories.

Three formats: "instance" is an LVIS or COCO annotation json, "semantic" a folder of PNG label maps
(ADE20K's SceneParsing: 0 is unlabelled, v is the v-th class), "panoptic" COCO's panoptic json with
its PNGs. Annotations stand in memory; masks and label maps are made when they are asked for.

Shapes: a mask is bool[H, W] of its image.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as mask_api

from mf_plugin.errors import InputError
from mf_plugin.lvis.io import read_lvis
from mf_plugin.seggen.source import (
    Mask,
    Pixels,
    Source,
    SourceConfig,
    SourceImage,
    list_files,
    read_pixels,
)
from mf_plugin.seggen.source_checks import (
    check_images,
    check_objects,
    check_panoptic,
    file_name,
)
from mf_plugin.vocabulary import Vocabulary

_IMAGE_ENDINGS = (".jpg", ".jpeg", ".png")
_UNLABELLED = (0, 255, 65535)  # of a label map: nothing there, or not to be counted


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
        with _named(self._path):
            sizes = check_images(data["images"], known)
            check_objects(data["annotations"], sizes, known)
        self._objects: dict[int, list[dict[str, Any]]] = defaultdict(list)
        self._open: dict[int, set[int]] = defaultdict(set)
        for annotation in data["annotations"]:
            if annotation.get("iscrowd"):  # a region of many objects, none of them outlined
                self._open[annotation["image_id"]].add(annotation["category_id"])
            else:
                self._objects[annotation["image_id"]].append(annotation)
        for image in data["images"]:
            self._open[image["id"]].update(image.get("not_exhaustive_category_ids", ()))
        images = [
            SourceImage(image["id"], file_name(image), sizes[image["id"]])
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
        pictures = {Path(n).stem: n for n in list_files(root) if n.endswith(_IMAGE_ENDINGS)}
        stems = sorted(Path(n).stem for n in list_files(self._folder) if n.endswith(".png"))
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
        labels = read_pixels(path, "label map")
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
        with _named(self._path):
            sizes = check_images(data["images"], known)
            check_panoptic(data["annotations"], sizes, known)
        self._entries = {entry["image_id"]: entry for entry in data["annotations"]}
        images = [
            SourceImage(image["id"], file_name(image), sizes[image["id"]])
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
        pixels = read_pixels(path, "label map")
        if pixels.ndim != 3:
            raise InputError(f"{path} is not RGB; expected COCO panoptic's coded ids")
        if pixels.shape[:2] != self.by_id[image_id].size:
            raise InputError(
                f"{path} is {pixels.shape[:2]} (height, width); its image is "
                f"{self.by_id[image_id].size}"
            )
        red, green, blue = (pixels[..., k].astype(np.int64) for k in range(3))
        ids = red + 256 * green + 256 * 256 * blue
        found = [(info["category_id"], ids == info["id"]) for info in self._infos(image_id)]
        return [(category_id, mask) for category_id, mask in found if mask.any()]

    def not_exhaustive(self, image_id: int) -> tuple[int, ...]:
        infos = self._entries[image_id]["segments_info"]
        return tuple(sorted({info["category_id"] for info in infos if info.get("iscrowd")}))


def _vocabulary_of(categories: Iterable[Mapping[str, Any]], path: Path) -> Vocabulary:
    with _named(path):
        return Vocabulary.from_categories(categories)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Put the file before what is wrong in it."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


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


def _png_size(path: Path) -> tuple[int, int]:
    try:
        with Image.open(path) as file:
            return file.height, file.width
    except OSError as error:
        raise InputError(f"label map {path} cannot be read: {error}") from None


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
