"""A stand-in for LVIS v1's training set, of its size and shape, and a synthetic dataset beside it.

What loading costs depends on how much text there is and how many objects it makes: images,
annotations, the length of their polygons. Those are LVIS's; the polygons themselves are drawn from
a small pool, the pictures are one tiny file under many names.

    OUT/lvis/lvis_v1_train.json, OUT/coco/train2017/   where detectron2 looks for LVIS below OUT
    OUT/coco/annotations.json                          the same json, as an LVIS-format folder
    OUT/synthetic/                                     annotations.json, dataset.json, images/
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from mf_plugin.arrays import IntArray

Names = npt.NDArray[np.str_]

LVIS_IMAGES, LVIS_INSTANCES = 100_170, 1_270_141  # of lvis_v1_train.json
LVIS_GROUPS = {"r": 337, "c": 461, "f": 405}  # categories
IMAGE_COUNTS = {"r": (1, 10), "c": (11, 100), "f": (101, 4_000)}  # training images of a category
SYNTHETIC_IMAGES, SYNTHETIC_INSTANCES = 33_700, 4  # 100 images a rare category; instances an image
HEIGHT, WIDTH = 480, 640
POLYGON_NUMBERS = 90  # on average: makes 1.1 GB of text, as LVIS's json is
POOL = 4_096  # different polygons
LINKS = 10_000  # names of one file; file systems allow some 65,000


@dataclass(frozen=True)
class Standin:
    """Where a stand-in lies and how large it is."""

    root: Path
    images: int
    instances: int
    synthetic_images: int

    @property
    def json_file(self) -> Path:
        return self.root / "lvis/lvis_v1_train.json"

    @property
    def image_root(self) -> Path:
        return self.root / "coco"

    @property
    def synthetic(self) -> Path:
        return self.root / "synthetic"


def write_standin(
    root: Path, names: Sequence[str], images: int = LVIS_IMAGES, seed: int = 0
) -> Standin:
    """Write the two datasets, or take those that are there; a marker file comes last.

    Args:
        root: an empty folder, or one that this wrote for as many images.
        names: of the 1,203 categories, by ascending id from 1.
        images: real images; everything else scales with them.
        seed: of all draws.
    """
    scale = images / LVIS_IMAGES
    standin = Standin(
        root, images, round(LVIS_INSTANCES * scale), max(1, round(SYNTHETIC_IMAGES * scale))
    )
    marker = root / "standin.json"
    wanted = {"images": images, "seed": seed, "categories": len(names)}
    wanted["synthetic_images"] = standin.synthetic_images
    if marker.is_file() and json.loads(marker.read_text()) == wanted:
        return standin
    rng = np.random.default_rng(seed)
    polygons = list(_polygon_texts(rng))
    groups = rng.permutation([g for g, count in LVIS_GROUPS.items() for _ in range(count)])
    groups = groups[: len(names)]

    image_index, category = _instances(groups, images, standin.instances, scale, rng)
    json_file = standin.json_file
    paths = [f"train2017/{i:012d}.jpg" for i in range(1, images + 1)]
    _write_json(json_file, paths, image_index, category, names, groups, polygons, 1, rng)
    _write_pictures(standin.image_root, paths)
    _link(json_file, standin.image_root / "annotations.json")

    rare = np.flatnonzero(groups == "r") + 1
    count = standin.synthetic_images
    image_index = np.repeat(np.arange(count), SYNTHETIC_INSTANCES)
    category = np.resize(np.repeat(rare, SYNTHETIC_INSTANCES), len(image_index))
    json_file = standin.synthetic / "annotations.json"
    paths = [f"images/{i:012d}.jpg" for i in range(1_000_000, 1_000_000 + count)]
    _write_json(json_file, paths, image_index, category, names, groups, polygons, 2_000_000, rng)
    _write_pictures(standin.synthetic, paths)
    (standin.synthetic / "dataset.json").write_text(json.dumps({"config": {}, "config_hash": ""}))
    marker.write_text(json.dumps(wanted))
    return standin


def _instances(
    groups: Names, images: int, instances: int, scale: float, rng: np.random.Generator
) -> tuple[IntArray, IntArray]:
    """Image index and category id of each instance, by ascending image.

    A category lies in as many images as its group says, evenly spread in logarithm; the rest of
    the instances are further ones of categories that an image has already.
    """
    low, high = np.array([IMAGE_COUNTS[g] for g in groups], dtype=float).T
    counts = np.exp(rng.uniform(np.log(low), np.log(high)))
    counts = np.clip(np.round(counts * scale), 1, images).astype(int)
    chosen = [rng.choice(images, count, replace=False) for count in counts]
    image_index = np.concatenate(chosen)
    category = np.repeat(np.arange(1, len(groups) + 1), counts)
    further = rng.integers(0, len(category), max(0, instances - len(category)))
    image_index = np.concatenate([image_index, image_index[further]])
    category = np.concatenate([category, category[further]])
    order = np.argsort(image_index, kind="stable")
    return image_index[order], category[order]


def _polygon_texts(rng: np.random.Generator) -> Iterator[tuple[str, str, float]]:
    """(polygons, bbox, area) as they stand in the json, numbers with two decimals as LVIS's."""
    for _ in range(POOL):
        points = max(3, int(rng.lognormal(np.log(POLYGON_NUMBERS / 2) - 0.32, 0.8)))
        angles = np.sort(rng.uniform(0, 2 * np.pi, points))
        x, y = rng.uniform(120, WIDTH - 120), rng.uniform(120, HEIGHT - 120)
        radii = rng.uniform(10, 100) * rng.uniform(0.8, 1, points)
        xs, ys = x + radii * np.cos(angles), y + radii * np.sin(angles)
        numbers = np.stack([xs, ys], 1).round(2).ravel().tolist()
        box = [xs.min(), ys.min(), xs.max() - xs.min() + 1, ys.max() - ys.min() + 1]
        area = float(box[2] * box[3] / 2)
        yield json.dumps([numbers]), json.dumps([round(float(v), 2) for v in box]), round(area, 2)


def _write_json(
    path: Path,
    paths: Sequence[str],
    image_index: IntArray,
    category: IntArray,
    names: Sequence[str],
    groups: Names,
    polygons: Sequence[tuple[str, str, float]],
    first_id: int,
    rng: np.random.Generator,
) -> None:
    """The json, written piece by piece: the whole would not fit twice into memory."""
    first_image = int(Path(paths[0]).stem)
    pairs = np.unique(np.stack([image_index, category]), axis=1)
    image_counts = np.bincount(pairs[1], minlength=len(names) + 1)
    instance_counts = np.bincount(category, minlength=len(names) + 1)
    drawn = rng.integers(0, len(polygons), len(category))
    objects = zip(drawn.tolist(), image_index.tolist(), category.tolist(), strict=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write('{"info": {}, "licenses": [], "annotations": [')
        _write_joined(
            file,
            (
                f'{{"area": {area}, "id": {number}, "segmentation": {polygon}, '
                f'"image_id": {first_image + image}, "bbox": {box}, "category_id": {label}}}'
                for number, (which, image, label) in enumerate(objects, first_id)
                for polygon, box, area in (polygons[which],)
            ),
            len(category),
            path.name,
        )
        file.write('], "images": [')
        _write_joined(file, (json.dumps(_image(p)) for p in paths), len(paths), "images")
        categories = [
            {
                "id": i,
                "name": name,
                "synset": f"{name}.n.01",
                "synonyms": [name],
                "def": "",
                "frequency": group,
                "image_count": int(image_counts[i]),
                "instance_count": int(instance_counts[i]),
            }
            for i, (name, group) in enumerate(zip(names, groups.tolist(), strict=True), 1)
        ]
        file.write('], "categories": ' + json.dumps(categories) + "}")


def _image(path: str) -> dict[str, Any]:
    """Every image has a few negative categories, as LVIS's have."""
    number = int(Path(path).stem)
    url = path if path.startswith("images/") else f"http://images.cocodataset.org/{path}"
    return {
        "id": number,
        "height": HEIGHT,
        "width": WIDTH,
        "license": 3,
        "date_captured": "2013-11-14 17:02:52",
        "flickr_url": f"http://farm9.staticflickr.com/8186/{number}_z.jpg",
        "coco_url": url,
        "not_exhaustive_category_ids": [],
        "neg_category_ids": [1 + (number + k) % 100 for k in range(4)],
    }


def _write_joined(file: IO[str], texts: Iterable[str], total: int, what: str) -> None:
    separator = ""
    for text in tqdm(texts, desc=f"writing {what}", total=total, disable=total < 100_000):
        file.write(separator + text)
        separator = ", "


def _write_pictures(root: Path, paths: Sequence[str]) -> None:
    pixels = cv2.imencode(".jpg", np.full((8, 8, 3), 90, np.uint8))[1].tobytes()
    (root / paths[0]).parent.mkdir(parents=True, exist_ok=True)
    for number, path in enumerate(paths):
        if number % LINKS == 0:
            source = root / path
            source.write_bytes(pixels)
        else:
            _link(source, root / path)


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    os.link(source, target)
