"""What every folder of mini-LVIS has in common: built whole or not at all, records, counts.

A folder says in dataset.json which generator made it and from what parameters. Where it is there
with the same ones it is kept; with others it is never overwritten.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from filelock import FileLock
from pycocotools import mask as mask_utils

from mf_plugin.arrays import Pixels
from mf_plugin.errors import InputError
from mf_plugin.lvis.compose import Instance
from mf_plugin.lvis.io import write_json_atomic
from mf_plugin.lvis.polygons import mask_to_polygons

logger = logging.getLogger(__name__)

VERSION = 1  # of the rules of composition; another version is another data set
JPEG_QUALITY = 92


def build_once(
    out: str | Path,
    generator: str,
    parameters: Mapping[str, Any],
    build: Callable[[Path], None],
) -> Path:
    """Builds a folder, or keeps it if it is there with the same parameters.

    Args:
        out: the folder; it appears when it is complete.
        generator: as `build` writes it to dataset.json, next to the parameters.
        parameters: json values that the content follows from.
        build: fills an empty folder with an empty images/ in it.

    Returns:
        The folder, absolute.

    Raises:
        InputError: `out` holds something else.
    """
    out = Path(out).absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(out.with_name(f".{out.name}.lock")):
        if _is_built(out, generator, parameters):
            logger.info("%s: %s is there already", out, generator)
            return out
        partial = out.with_name(f".{out.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)  # images this small lose more to waiting than they gain
        try:
            (partial / "images").mkdir(parents=True)
            build(partial)
            os.replace(partial, out)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        finally:
            cv2.setNumThreads(threads)
    return out


def _is_built(out: Path, generator: str, parameters: Mapping[str, Any]) -> bool:
    if not out.exists():
        return False
    if not out.is_dir():
        raise InputError(f"{out} is a file: expected a folder to build in")
    try:
        found = json.loads((out / "dataset.json").read_text(encoding="utf-8"))
        known = found["parameters"] if found["generator"] == generator else None
    except (OSError, ValueError, KeyError, TypeError):
        known = None
    if known is None:
        if any(out.iterdir()):
            raise InputError(
                f"{out} is not empty and no {generator}: expected a new or empty folder"
            )
        return False
    for key, value in parameters.items():
        if known.get(key) != value:
            raise InputError(
                f"{out} holds {generator} with {key} {known.get(key)}, asked for {value}: "
                "take another folder or delete this one"
            )
    return True


def fingerprint(sprites: Mapping[int, Mapping[str, Pixels]]) -> str:
    """Hash of the pictures {category id: {style: sprite}}."""
    digest = hashlib.sha256()
    for category_id in sorted(sprites):
        for style in sorted(sprites[category_id]):
            sprite = sprites[category_id][style]
            digest.update(f"{category_id} {style} {sprite.shape}".encode())
            digest.update(sprite.tobytes())
    return digest.hexdigest()


def write_image(folder: Path, image_id: int, image: Pixels) -> dict[str, Any]:
    """Writes uint8[H, W, 3] RGB as a JPEG; returns its LVIS record, less its category lists."""
    name = f"images/{image_id:012d}.jpg"
    (folder / name).write_bytes(jpeg(image))
    height, width = image.shape[:2]
    return {
        "id": image_id,
        "file_name": name,
        "coco_url": name,
        "height": height,
        "width": width,
    }


def jpeg(image: Pixels) -> bytes:
    """The JPEG of uint8[H, W, 3] RGB."""
    done, data = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise RuntimeError(f"OpenCV could not write a JPEG of {image.shape}")
    content: bytes = data.tobytes()
    return content


def annotation_of(annotation_id: int, image_id: int, instance: Instance) -> dict[str, Any]:
    """The LVIS annotation of an object: its polygons, and the box and area that they decode to."""
    rows = np.flatnonzero(instance.mask.any(axis=1))
    columns = np.flatnonzero(instance.mask.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    polygons = mask_to_polygons(instance.mask)
    filled = mask_utils.merge(mask_utils.frPyObjects(polygons, *instance.mask.shape))
    return {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": instance.category_id,
        "bbox": [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top],
        "area": int(mask_utils.area(filled)),
        "segmentation": polygons,
    }


def with_counts(
    categories: Sequence[dict[str, Any]], annotations: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Categories with the counts of these annotations; `frequency` stays LVIS's."""
    objects = Counter(a["category_id"] for a in annotations)
    pairs = Counter(c for _, c in {(a["image_id"], a["category_id"]) for a in annotations})
    return [
        {**c, "image_count": pairs[c["id"]], "instance_count": objects[c["id"]]} for c in categories
    ]


def write_annotations(
    folder: Path,
    description: str,
    images: list[dict[str, Any]],
    annotations: list[dict[str, Any]],
    categories: list[dict[str, Any]],
) -> None:
    """Writes annotations.json."""
    write_json_atomic(
        folder / "annotations.json",
        {
            "info": {"description": description, "version": f"v{VERSION}"},
            "licenses": [],
            "images": images,
            "annotations": annotations,
            "categories": categories,
        },
    )


def write_provenance(
    folder: Path, generator: str, parameters: Mapping[str, Any], facts: Mapping[str, Any]
) -> None:
    """Writes dataset.json: the generator, its parameters, further facts and the libraries."""
    write_json_atomic(
        folder / "dataset.json",
        {
            "generator": generator,
            "parameters": parameters,
            **facts,
            "libraries": {"numpy": np.__version__, "opencv": cv2.__version__},
        },
        indent=1,
    )
