"""mini-LVIS: real LVIS categories drawn by icon styles, as an LVIS v1 folder on disk.

    annotations.json   LVIS v1, polygons, all categories of the preset in LVIS-id order
    images/            JPEG; coco_url and file_name are both "images/<12 digits>.jpg"
    dataset.json       what it was built from, and counts

A split reads the sprites of its own styles alone: train the training styles, minival and val one
held-out style each. Rare categories stand in the training split in a single style.

Annotations are federated as in LVIS. An object too hidden to be annotated makes its category
`not_exhaustive` in that image if another object of it is annotated; if none is, the category is
neither positive nor negative there. Negatives are a few absent categories in train, and
HELD_OUT_NEGATIVES of the absent ones in minival and val: with balanced positives each category is
then evaluated on about 45 % of the images.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from mf_plugin.arrays import Pixels
from mf_plugin.errors import InputError
from mf_plugin.lvis import minilvis_plan
from mf_plugin.lvis.compose import (
    ComposeOptions,
    Composition,
    Instance,
    compose_image,
    compose_single,
)
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
from mf_plugin.lvis.sprites import (
    MINIVAL_STYLES,
    TRAIN_STYLES,
    VAL_STYLES,
    load_sprites,
    preset_categories,
    styles_of,
)

__all__ = [
    "SPLITS",
    "ComposeOptions",
    "Composition",
    "Instance",
    "build_split",
    "compose_image",
    "compose_single",
]

logger = logging.getLogger(__name__)

SPLITS: dict[str, tuple[str, ...]] = {
    "train": TRAIN_STYLES,
    "minival": MINIVAL_STYLES,
    "val": VAL_STYLES,
}
NUM_IMAGES = {
    "demo": {"train": 560, "minival": 200, "val": 200},
    "all": {"train": 5000, "minival": 1000, "val": 1000},
}
FIRST_IMAGE_ID = {"train": 1, "minival": 100_001, "val": 200_001}
TRAIN_NEGATIVES = (2, 6)  # categories an image
HELD_OUT_NEGATIVES = 0.4  # of the absent categories
MAX_OBJECTS = 8
TWIN = 0.22  # probability of a second object of a category, and of a third given a second
ATTEMPTS = 40  # to compose an image in which every planned category can be seen
GENERATOR = "mini-LVIS"


def build_split(
    out: str | Path,
    split: str,
    preset: str = "demo",
    seed: int = 0,
    num_images: int | None = None,
    size: tuple[int, int] = (160, 160),
) -> Path:
    """Builds one split in the folder `out`, or keeps it if it is there with the same parameters.

    Args:
        out: the folder; it appears when it is complete.
        split: "train", "minival" or "val".
        preset: "demo" (30 categories) or "all".
        seed: the files follow from it byte by byte (same library versions).
        num_images: None takes the preset's. Far fewer leave no room for LVIS's groups, which is
            logged; categories keep their LVIS group as `frequency`.
        size: height and width in pixels.

    Raises:
        InputError: unknown split or preset, too few images, or `out` holds something else.
    """
    if split not in SPLITS:
        raise InputError(f"unknown split {split!r}: expected one of {', '.join(SPLITS)}")
    if seed < 0:
        raise InputError(f"seed is {seed}: expected 0 or more")
    if min(size) < 16:
        raise InputError(f"image size {size[0]}x{size[1]}: expected at least 16x16")
    categories = preset_categories(preset)
    num_images = NUM_IMAGES[preset][split] if num_images is None else num_images
    sprites = _split_sprites(split, categories, seed)
    parameters = {
        "version": VERSION,
        "split": split,
        "preset": preset,
        "seed": seed,
        "num_images": num_images,
        "size": list(size),
        "sprites_sha256": fingerprint(sprites),
    }
    return build_once(
        out, GENERATOR, parameters, lambda folder: _build(folder, parameters, categories, sprites)
    )


def _split_sprites(
    split: str, categories: list[dict[str, Any]], seed: int
) -> dict[int, dict[str, Pixels]]:
    """Category id -> style -> sprite, for what may stand in this split.

    In train a rare category has one style, by a hash of seed and id.
    """
    styles = SPLITS[split]
    loaded = load_sprites(styles, [c["id"] for c in categories])
    sprites: dict[int, dict[str, Pixels]] = {}
    for category in categories:
        category_id = category["id"]
        drawn = [s for s in styles if s in styles_of(category_id)]
        if split == "train" and category["frequency"] == "r" and drawn:
            digest = hashlib.sha256(f"{seed}:{category_id}".encode()).digest()
            drawn = [drawn[int.from_bytes(digest[:8], "big") % len(drawn)]]
        if drawn:
            sprites[category_id] = {s: loaded[category_id, s] for s in drawn}
    return sprites


def _build(
    folder: Path,
    parameters: dict[str, Any],
    categories: list[dict[str, Any]],
    sprites: dict[int, dict[str, Pixels]],
) -> None:
    split, seed = parameters["split"], parameters["seed"]
    num_images, size = parameters["num_images"], tuple(parameters["size"])

    # 1. Which categories stand where.
    number = list(SPLITS).index(split)
    rng = np.random.default_rng([seed, number, 0])
    groups = {c["id"]: c["frequency"] for c in categories if c["id"] in sprites}
    if split == "train":
        targets = minilvis_plan.long_tailed_targets(rng, groups, num_images)
    else:
        targets = minilvis_plan.balanced_targets(list(groups), num_images)
    plan = minilvis_plan.assign_images(rng, targets, num_images)

    # 2. The images, each from a generator of its own.
    all_ids = [c["id"] for c in categories]
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index, planned in enumerate(tqdm(plan, desc=f"mini-LVIS {split}", unit="image")):
        key = [seed, number, 1, index]
        composition, placed, rng = _compose_planned(key, planned, sprites, size)
        image_id = FIRST_IMAGE_ID[split] + index
        record = write_image(folder, image_id, composition.image)
        shown = {i.category_id for i in composition.instances}
        images.append(
            {
                **record,
                "neg_category_ids": _negatives(rng, split, [c for c in all_ids if c not in placed]),
                "not_exhaustive_category_ids": sorted(shown & set(composition.unannotated)),
            }
        )
        for instance in composition.instances:
            annotation_id = len(annotations) + 1
            annotations.append(annotation_of(annotation_id, image_id, instance))

    # 3. Counts, and the files that say what this is.
    counted = with_counts(categories, annotations)
    agree = [
        c["id"]
        for c in counted
        if minilvis_plan.frequency_group(c["image_count"]) == c["frequency"]
    ]
    if split == "train" and len(agree) < len(sprites):
        logger.warning(
            "%d of %d categories have their LVIS group by the counts of these %d images",
            len(agree),
            len(sprites),
            num_images,
        )
    write_annotations(folder, f"mini-LVIS {split}", images, annotations, counted)
    write_provenance(
        folder,
        GENERATOR,
        parameters,
        {
            "styles": {str(c): list(drawn) for c, drawn in sorted(sprites.items())},
            "counts": {
                "images": len(images),
                "annotations": len(annotations),
                "categories": len(counted),
                "categories_in_their_group": len(agree) if split == "train" else None,
            },
        },
    )


def _compose_planned(
    key: list[int],
    planned: list[int],
    sprites: dict[int, dict[str, Pixels]],
    size: tuple[int, int],
) -> tuple[Composition, set[int], np.random.Generator]:
    """An image in which each planned category has an annotated object, and its generator.

    Where chance hides one, the image is drawn again, later without second objects; if that never
    helps (tiny images), the draw that shows most is taken.
    """
    most = -1
    for attempt in range(ATTEMPTS):
        rng = np.random.default_rng([*key, attempt])
        chosen = list(planned)
        for category_id in planned if attempt < ATTEMPTS // 2 else ():
            while len(chosen) < MAX_OBJECTS and rng.random() < TWIN:
                chosen.append(category_id)
                if chosen.count(category_id) == 3:
                    break
        objects = []
        for position in rng.permutation(len(chosen)):
            drawn = list(sprites[chosen[position]].values())
            objects.append((chosen[position], drawn[int(rng.integers(len(drawn)))]))
        composition = compose_image(rng, objects, size)
        shown = len({i.category_id for i in composition.instances})
        if shown > most:
            most, best = shown, (composition, set(chosen), rng)
        if shown == len(planned):
            break
    return best


def _negatives(rng: np.random.Generator, split: str, absent: list[int]) -> list[int]:
    if split == "train":
        count = int(rng.integers(TRAIN_NEGATIVES[0], TRAIN_NEGATIVES[1] + 1))
    else:
        count = round(HELD_OUT_NEGATIVES * len(absent))
    if not absent:
        return []
    drawn = rng.choice(absent, min(count, len(absent)), replace=False)
    return sorted(int(c) for c in drawn)
