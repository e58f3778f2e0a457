"""What the judge detector learns from: plentiful real renderings in every style.

The judge measures synthetic datasets (`evaluation.valid_instances`) and never filters, ranks or
selects: it has seen the styles of minival and val, and detectors that are compared must not learn
from these images. dataset.json says so: its kind is "judge".

    train          categories drawn uniformly, so that rare ones are as frequent as any
    calibration    fresh ones of the same kind, on which the judge's score threshold is set

The judge is to find objects, whatever the canvas looks like. So half of the images are composed as
mini-LVIS is, and half as a mosaic: cells with a background and an object each. And half of either
are soft, as a diffusion model's pictures are: through its autoencoder, or, without a model, halved
in size, enlarged again, and compressed as a JPEG. For images that were painted over parts of scenes
(`seggen.views`), the scenes of a set can be parts as well.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from mf_plugin.arrays import Pixels
from mf_plugin.benchmark.judge_controls import through_vae
from mf_plugin.errors import InputError
from mf_plugin.lvis.compose import Instance, compose_single
from mf_plugin.lvis.minilvis_files import (
    VERSION,
    annotation_of,
    build_once,
    fingerprint,
    with_counts,
    write_annotations,
    write_image,
    write_provenance,
)
from mf_plugin.lvis.oracle import Wanted, compose_wanted
from mf_plugin.lvis.sprites import STYLES, load_sprites, preset_categories
from mf_plugin.mosaic.pipeline import MosaicPipeline
from mf_plugin.seggen.colormap import MIN_AREA
from mf_plugin.seggen.views import MOST_ZOOM, draw_view

GENERATOR = "mini-LVIS judge"
KIND = "judge"
NUM_IMAGES = {"train": 4000, "calibration": 400}
FIRST_IMAGE_ID = {"train": 400_001, "calibration": 500_001}  # after the oracle's
SIZE = (128, 128)  # a canvas of the demo's generation config: both are enlarged alike
OBJECTS = (3, 5)  # an image, both included; a mosaic has one a cell
MOSAIC_SHARE = 0.5
GRIDS = (2, 3)  # cells of a mosaic along either axis; three make it half as large again
SHIFT = 0.25  # of a cell, by which the lines between cells move at most
STREAM = 4  # of the random numbers; 0 to 3 are mini-LVIS's splits and the oracle
SOFT_SHARE = 0.5
SOFT_QUALITY = (70, 95)  # JPEG


def build_judge_split(
    out: str | Path,
    split: str,
    preset: str = "demo",
    seed: int = 0,
    num_images: int | None = None,
    size: tuple[int, int] = SIZE,
    model: str | Path | None = None,
    zoom: float = 1.0,
) -> Path:
    """Builds the judge's "train" or "calibration" set, or keeps it if it is there already.

    Args:
        out: the folder; it appears when it is complete.
        preset: of mini-LVIS.
        seed: the files follow from it byte by byte (same library versions).
        num_images: None takes ``NUM_IMAGES``.
        size: height and width in pixels.
        model: diffusers folder or hub id, whose autoencoder softens images.
        zoom: scenes are parts of themselves, scaled by 1 to it (`seggen.views.draw_view`).

    Raises:
        InputError: unknown split, preset or model, no images, too small, a zoom that views do not
            have, or `out` holds something else.
    """
    if split not in NUM_IMAGES:
        raise InputError(f"unknown split {split!r}: expected one of {', '.join(NUM_IMAGES)}")
    if seed < 0:
        raise InputError(f"seed is {seed}: expected 0 or more")
    num_images = NUM_IMAGES[split] if num_images is None else num_images
    if num_images < 1:
        raise InputError(f"num_images is {num_images}: expected 1 or more")
    if not 1 <= zoom <= MOST_ZOOM:
        raise InputError(f"zoom is {zoom}; expected 1 to {MOST_ZOOM:g}")
    categories = preset_categories(preset)
    sprites = _all_sprites(categories)
    pipeline = None if model is None else MosaicPipeline.from_pretrained(model)
    parameters = {
        "version": VERSION,
        "split": split,
        "preset": preset,
        "seed": seed,
        "num_images": num_images,
        "size": list(size),
        "zoom": zoom,
        "sprites_sha256": fingerprint(sprites),
        "weights_sha256": pipeline.model_hash() if pipeline else None,
    }
    return build_once(
        out,
        GENERATOR,
        parameters,
        lambda folder: _build(folder, parameters, categories, sprites, pipeline),
    )


def compose_mosaic(
    rng: np.random.Generator,
    category_ids: Sequence[int],
    sprites: Mapping[int, Mapping[str, Pixels]],
    size: tuple[int, int],
) -> tuple[Pixels, list[Instance]]:
    """As many cells along either axis, an object in each, from the top left row by row.

    Args:
        category_ids: one a cell: 4 or 9.
        sprites: category id -> style -> uint8[h, w, 4]; an object's style is drawn uniformly.
        size: (H, W) of the image.

    Returns:
        uint8[H, W, 3] and the objects.
    """
    grid = math.isqrt(len(category_ids))
    rows, columns = (_draw_parts(rng, side, grid) for side in size)
    image = np.zeros((*size, 3), np.uint8)
    instances = []
    cells = [(y, x) for y in rows for x in columns]
    for cell, category_id in zip(cells, category_ids, strict=True):
        styles = list(sprites[category_id])
        sprite = sprites[category_id][styles[int(rng.integers(len(styles)))]]
        height, width = image[cell].shape[:2]
        image[cell], alpha, _ = compose_single(rng, sprite, (height, width))
        mask = np.zeros(size, bool)
        mask[cell] = alpha > 0.5
        instances.append(Instance(category_id, mask, int(mask.sum())))
    return image, instances


def cut_part(
    rng: np.random.Generator, image: Pixels, instances: Sequence[Instance], zoom: float
) -> tuple[Pixels, list[Instance]]:
    """A part of a scene at the scene's size, mirrored or not, and the objects in sight.

    An object of which less than ``MIN_AREA`` pixels are in sight is not annotated.
    """
    size = (image.shape[0], image.shape[1])
    view = draw_view(size, size, rng, zoom=zoom, mirror=True)
    seen = []
    for instance in instances:
        mask = view.mask(instance.mask)
        if mask.sum() >= MIN_AREA:
            seen.append(Instance(instance.category_id, mask, int(mask.sum())))
    return view.image(image), seen


def _draw_parts(rng: np.random.Generator, length: int, parts: int) -> list[slice]:
    """An axis in parts; the lines between them are moved by up to ``SHIFT`` of a part."""
    moves = rng.uniform(-SHIFT, SHIFT, parts - 1)
    lines = [round((k + 1 + move) * length / parts) for k, move in enumerate(moves)]
    return [slice(first, last) for first, last in itertools.pairwise([0, *lines, length])]


def soften(rng: np.random.Generator, image: Pixels) -> Pixels:
    """uint8[H, W, 3] at half the resolution, enlarged again, after a JPEG of a drawn quality."""
    height, width = image.shape[:2]
    half = cv2.resize(image, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    soft = cv2.resize(half, (width, height), interpolation=cv2.INTER_LINEAR)
    quality = int(rng.integers(SOFT_QUALITY[0], SOFT_QUALITY[1] + 1))
    _, data = cv2.imencode(".jpg", soft[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    read: Pixels | None = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert read is not None
    return read[:, :, ::-1]


def _all_sprites(categories: list[dict[str, Any]]) -> dict[int, dict[str, Pixels]]:
    """Category id -> style -> sprite, in every style that draws the category."""
    sprites: dict[int, dict[str, Pixels]] = {c["id"]: {} for c in categories}
    for (category_id, style), sprite in load_sprites(STYLES, list(sprites)).items():
        sprites[category_id][style] = sprite
    return {category_id: drawn for category_id, drawn in sprites.items() if drawn}


def _build(
    folder: Path,
    parameters: dict[str, Any],
    categories: list[dict[str, Any]],
    sprites: Mapping[int, Mapping[str, Pixels]],
    pipeline: MosaicPipeline | None,
) -> None:
    split, size = parameters["split"], tuple(parameters["size"])
    number = list(NUM_IMAGES).index(split)
    ids = sorted(sprites)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    num_mosaics = num_soft = 0
    for index in tqdm(range(parameters["num_images"]), f"{GENERATOR} {split}", unit="image"):
        key = [parameters["seed"], STREAM, number, index]
        rng = np.random.default_rng(key)
        count = int(rng.integers(OBJECTS[0], OBJECTS[1] + 1))
        if rng.random() < MOSAIC_SHARE:
            grid = int(rng.choice(GRIDS))
            drawn = [int(c) for c in rng.choice(ids, grid * grid)]
            whole = (grid * size[0] // GRIDS[0], grid * size[1] // GRIDS[0])
            image, instances = compose_mosaic(rng, drawn, sprites, whole)
            num_mosaics += 1
        else:
            wanted = Wanted(size, tuple(sorted(int(c) for c in rng.choice(ids, count))))
            composition, _ = compose_wanted(key, wanted, sprites)
            image, instances = composition.image, list(composition.instances)
            if parameters["zoom"] != 1:
                image, instances = cut_part(rng, image, instances, parameters["zoom"])
        if rng.random() < SOFT_SHARE:
            image = through_vae(pipeline, image) if pipeline else soften(rng, image)
            num_soft += 1

        image_id = FIRST_IMAGE_ID[split] + index
        record = write_image(folder, image_id, image)
        images.append({**record, "neg_category_ids": [], "not_exhaustive_category_ids": []})
        for instance in instances:
            annotations.append(annotation_of(len(annotations) + 1, image_id, instance))

    write_annotations(
        folder, f"{GENERATOR} {split}", images, annotations, with_counts(categories, annotations)
    )
    counts = {
        "images": len(images),
        "annotations": len(annotations),
        "mosaics": num_mosaics,
        "soft_images": num_soft,
    }
    styles = {str(category_id): list(drawn) for category_id, drawn in sorted(sprites.items())}
    write_provenance(
        folder, GENERATOR, parameters, {"kind": KIND, "styles": styles, "counts": counts}
    )
