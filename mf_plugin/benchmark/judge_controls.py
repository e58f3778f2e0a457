"""Datasets of which it is known what a judge of valid instances must find.

    labels    each instance has another's label, of its image: no instance is valid any more
    masks     each mask is moved by an eighth of the image's height and width, a quarter of a region
              where four make a canvas, and comes in again at the other side: none is valid
    vae       each image is what a diffusion model's autoencoder makes of it: labels and masks are
              as good as they were. If an oracle's share falls, the judge punishes softness
    real      of an ImgSyn folder: each image gives way to the part of the real one over whose masks
              it was painted. What the judge reads there is the most that it can

In the first two the images stay as they are, so what a judge sees in the source serves for them.
"""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as mask_api
from tqdm import tqdm

from mf_plugin.arrays import Float32Array, Pixels
from mf_plugin.benchmark.real_views import RealView, cut_real, read_views
from mf_plugin.errors import InputError
from mf_plugin.evaluation.valid_instances import to_rle
from mf_plugin.extras import require
from mf_plugin.lvis.compose import Instance
from mf_plugin.lvis.io import image_path, read_lvis, validate_lvis
from mf_plugin.lvis.minilvis_files import (
    VERSION,
    annotation_of,
    build_once,
    jpeg,
    write_annotations,
    write_provenance,
)
from mf_plugin.lvis.paths import image_file
from mf_plugin.mosaic.pipeline import MosaicPipeline

GENERATOR = "judge control"
KIND = "judge control"
CONTROLS = ("labels", "masks", "vae", "real")
_DRAWN = ("vae", "real")  # controls whose images are others
SHIFT = 1 / 8  # of the image's height and width


def build_control(
    out: str | Path,
    source: str | Path,
    control: str,
    model: str | Path | None = None,
    real_images: str | Path | None = None,
) -> Path:
    """Builds a control of a dataset folder, or keeps it if it is there already.

    Args:
        out: the folder; it appears when it is complete.
        source: folder of a dataset with annotations.json and images.
        control: one of ``CONTROLS``.
        model: diffusers folder or hub id, for "vae".
        real_images: folder of the real images, for "real".

    Raises:
        InputError: unknown control, "vae" without a model, "real" without images, the source is
            missing or damaged, or `out` holds something else.
    """
    if control not in CONTROLS:
        raise InputError(f"unknown control {control!r}: expected one of {', '.join(CONTROLS)}")
    if (control == "vae") != (model is not None):
        raise InputError(f"control {control!r} with model {model}: expected one for 'vae' alone")
    if (control == "real") != (real_images is not None):
        raise InputError(
            f"control {control!r} with real images {real_images}: expected some for 'real' alone"
        )
    source = Path(source)
    path = source / "annotations.json"
    data = read_lvis(path)
    try:
        validate_lvis(data, nested=True)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    pipeline = None if model is None else MosaicPipeline.from_pretrained(model)
    views = read_views(source) if control == "real" else {}
    parameters = {
        "version": VERSION,
        "control": control,
        "source_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "weights_sha256": pipeline.model_hash() if pipeline else None,
    }

    def draw(image: Mapping[str, Any]) -> Pixels:
        if pipeline is not None:
            return through_vae(pipeline, _read_image(source, image))
        assert real_images is not None
        return cut_real(_find_view(views, image, source), real_images)

    def build(folder: Path) -> None:
        _write_images(folder, source, data, draw if control in _DRAWN else None)
        annotations = {"labels": exchange_labels, "masks": move_masks}.get(control, _same)(data)
        write_annotations(
            folder, f"{GENERATOR} {control}", data["images"], annotations, data["categories"]
        )
        write_provenance(folder, GENERATOR, parameters, {"kind": KIND})

    return build_once(out, GENERATOR, parameters, build)


def exchange_labels(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The annotations, each with the category of another of its image.

    In the order of their categories the labels go on by as many places as the most frequent
    category has instances: no instance keeps its own, unless one category has more than half.
    """
    images: dict[int, list[dict[str, Any]]] = {}
    for annotation in data["annotations"]:
        images.setdefault(annotation["image_id"], []).append(annotation)
    exchanged = {}
    for unsorted in images.values():
        instances = sorted(unsorted, key=lambda a: a["category_id"])
        labels = [a["category_id"] for a in instances]
        places = max(Counter(labels).values())
        for annotation, label in zip(instances, labels[places:] + labels[:places], strict=True):
            exchanged[annotation["id"]] = {**annotation, "category_id": label}
    return [exchanged[a["id"]] for a in data["annotations"]]


def move_masks(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The annotations, each mask moved down and right; what leaves the image comes in again."""
    sizes = {image["id"]: (image["height"], image["width"]) for image in data["images"]}
    moved = []
    for annotation in data["annotations"]:
        size = sizes[annotation["image_id"]]
        mask = mask_api.decode(to_rle(annotation["segmentation"], size)).astype(bool)
        steps = [round(SHIFT * side) for side in size]
        instance = Instance(
            annotation["category_id"], np.roll(mask, steps, axis=(0, 1)), int(mask.sum())
        )
        moved.append(annotation_of(annotation["id"], annotation["image_id"], instance))
    return moved


def through_vae(pipeline: MosaicPipeline, image: Pixels) -> Pixels:
    """uint8[H, W, 3], encoded and decoded whole, as a canvas is decoded.

    Raises:
        InputError: H or W is no multiple of the autoencoder's factor.
    """
    factor = pipeline.vae_factor
    if image.shape[0] % factor or image.shape[1] % factor:
        raise InputError(
            f"image of {image.shape[0]}x{image.shape[1]}: expected multiples of {factor}"
        )
    torch = require("torch", "diffusion")
    pixels = torch.from_numpy(image.astype(np.float32) / 255).permute(2, 0, 1)[None]
    with torch.no_grad():
        decoded = pipeline.decode(pipeline.backbone.encode_pixels(pixels))[0]
    pixels_again: Float32Array = decoded * 255
    return pixels_again.astype(np.uint8)  # truncated, as generated images are


def _find_view(views: Mapping[str, RealView], image: Mapping[str, Any], source: Path) -> RealView:
    try:
        return views[image_path(image)]
    except KeyError:
        raise InputError(
            f"{source}: the manifest lacks {image_path(image)}; expected its part of a real image"
        ) from None


def _write_images(
    folder: Path,
    source: Path,
    data: Mapping[str, Any],
    draw: Callable[[Mapping[str, Any]], Pixels] | None,
) -> None:
    """What ``draw`` makes of each image; without it, the images as they are."""
    for image in tqdm(data["images"], GENERATOR, unit="image"):
        target = folder / image_path(image)
        target.parent.mkdir(parents=True, exist_ok=True)
        if draw is not None:
            target.write_bytes(jpeg(draw(image)))
            continue
        try:
            shutil.copyfile(image_file(source, image), target)
        except OSError as error:
            raise _unreadable(source, image, error) from error


def _read_image(source: Path, image: Mapping[str, Any]) -> Pixels:
    try:
        return np.asarray(Image.open(image_file(source, image)).convert("RGB"))
    except OSError as error:
        raise _unreadable(source, image, error) from error


def _unreadable(source: Path, image: Mapping[str, Any], error: OSError) -> InputError:
    return InputError(f"image {source / image_path(image)} cannot be read: {error}")


def _same(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    annotations: list[dict[str, Any]] = data["annotations"]
    return annotations
