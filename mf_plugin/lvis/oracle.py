"""The oracle: real renderings in the place of a synthetic dataset, object for object.

It has as many images as the synthetic dataset, of the same sizes, with as many objects of each
category in each, composed as mini-LVIS composes and in its training styles alone, with exact
masks. Rare categories come in all the training styles that draw them: what the diffusion model has
seen of them. A detector that trains on the oracle shows the most that images of this number can be
worth; the synthetic dataset is to come near.

The folder is a synthetic dataset's: annotations.json, images/, dataset.json.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from mf_plugin.arrays import Pixels
from mf_plugin.errors import InputError
from mf_plugin.lvis.compose import DEFAULT_OPTIONS, Composition, compose_image
from mf_plugin.lvis.io import read_lvis, validate_lvis
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
from mf_plugin.lvis.sprites import TRAIN_STYLES, load_sprites, preset_categories

GENERATOR = "mini-LVIS oracle"
KIND = "oracle"
FIRST_IMAGE_ID = 300_001  # after those of train, minival and val
STREAM = 3  # of the random numbers; 0 to 2 are train, minival and val
ATTEMPTS = 60  # to compose an image in which every object can be seen
SMALL = dataclasses.replace(DEFAULT_OPTIONS, object_size=(0.14, 0.30))  # the later attempts


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What an image has to show.

    Args:
        size: height and width in pixels.
        category_ids: one an object, ascending.
    """

    size: tuple[int, int]
    category_ids: tuple[int, ...]


def wanted_images(data: Mapping[str, Any]) -> list[Wanted]:
    """What each image of an LVIS json holds, in the json's order."""
    objects: dict[int, list[int]] = {image["id"]: [] for image in data["images"]}
    for annotation in data["annotations"]:
        objects[annotation["image_id"]].append(annotation["category_id"])
    return [
        Wanted((image["height"], image["width"]), tuple(sorted(objects[image["id"]])))
        for image in data["images"]
    ]


def build_oracle(
    out: str | Path, synthetic: str | Path, preset: str = "demo", seed: int = 0
) -> Path:
    """Builds the oracle of a synthetic dataset, or keeps it if it is there already.

    Args:
        out: the folder; it appears when it is complete. One that is there is kept if it was built
            from the same parameters.
        synthetic: folder of the synthetic dataset; its annotations.json alone is read.
        preset: of mini-LVIS, with every category that the synthetic dataset shows.
        seed: the files follow from it byte by byte (same library versions).

    Raises:
        InputError: the synthetic dataset is missing or damaged, shows a category that the preset
            does not have, or crowds an image so that its objects cannot all be seen; or `out`
            holds something else.
    """
    if seed < 0:
        raise InputError(f"seed is {seed}: expected 0 or more")
    path = Path(synthetic) / "annotations.json"
    data = read_lvis(path)
    try:
        validate_lvis(data)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    wanted = wanted_images(data)
    if not wanted:
        raise InputError(f"{path} has no images: expected a synthetic dataset with some")
    categories = preset_categories(preset)
    sprites = _training_sprites(_check_categories(path, data, categories, preset))
    parameters = {
        "version": VERSION,
        "preset": preset,
        "seed": seed,
        "num_images": len(wanted),
        "wanted_sha256": _hash(wanted),
        "sprites_sha256": fingerprint(sprites),
    }
    return build_once(
        out,
        GENERATOR,
        parameters,
        lambda folder: _build(folder, parameters, wanted, categories, sprites),
    )


def _check_categories(
    path: Path, data: Mapping[str, Any], categories: Sequence[dict[str, Any]], preset: str
) -> list[int]:
    """The ids of the categories that are shown, ascending, each known to the preset."""
    names = {c["id"]: c["name"] for c in categories}
    theirs = {c["id"]: c["name"] for c in data["categories"]}
    shown = sorted({a["category_id"] for a in data["annotations"]})
    for category_id in shown:
        if names.get(category_id) != theirs[category_id]:
            raise InputError(
                f"{path} shows category {category_id} {theirs[category_id]!r}: expected the "
                f"{len(names)} categories of the preset {preset!r} of mini-LVIS"
            )
    return shown


def _training_sprites(category_ids: Sequence[int]) -> dict[int, dict[str, Pixels]]:
    """Category id -> style -> sprite, in every training style that draws the category."""
    sprites: dict[int, dict[str, Pixels]] = {c: {} for c in category_ids}
    for (category_id, style), sprite in load_sprites(TRAIN_STYLES, category_ids).items():
        sprites[category_id][style] = sprite
    for category_id, drawn in sprites.items():
        if not drawn:
            raise InputError(f"category id {category_id} has no picture in a training style")
    return sprites


def _hash(wanted: Sequence[Wanted]) -> str:
    text = json.dumps([[*w.size, *w.category_ids] for w in wanted])
    return hashlib.sha256(text.encode()).hexdigest()


def _build(
    folder: Path,
    parameters: dict[str, Any],
    wanted: Sequence[Wanted],
    categories: list[dict[str, Any]],
    sprites: Mapping[int, Mapping[str, Pixels]],
) -> None:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    styles: Counter[tuple[int, str]] = Counter()
    for index, one in enumerate(tqdm(wanted, desc=GENERATOR, unit="image")):
        key = [parameters["seed"], STREAM, 1, index]
        composition, drawn = compose_wanted(key, one, sprites)
        image_id = FIRST_IMAGE_ID + index
        record = write_image(folder, image_id, composition.image)
        images.append({**record, "neg_category_ids": [], "not_exhaustive_category_ids": []})
        for instance in composition.instances:
            annotations.append(annotation_of(len(annotations) + 1, image_id, instance))
        styles.update(drawn)

    write_annotations(folder, GENERATOR, images, annotations, with_counts(categories, annotations))
    write_provenance(
        folder,
        GENERATOR,
        parameters,
        {
            "kind": KIND,
            "styles": {
                str(c): {s: styles[c, s] for s in drawn} for c, drawn in sorted(sprites.items())
            },
            "counts": {"images": len(images), "annotations": len(annotations)},
        },
    )


def compose_wanted(
    key: Sequence[int], wanted: Wanted, sprites: Mapping[int, Mapping[str, Pixels]]
) -> tuple[Composition, list[tuple[int, str]]]:
    """An image in which every wanted object is annotated and there is no other.

    Where one is hidden the image is drawn again; the later half of the attempts takes smaller
    objects.

    Args:
        key: seeds the generator, together with the attempt.
        sprites: category id -> style -> uint8[h, w, 4]; an object's style is drawn uniformly.

    Returns:
        The image and (category id, style) of each object.

    Raises:
        InputError: no attempt shows all objects.
    """
    for attempt in range(ATTEMPTS):
        rng = np.random.default_rng([*key, attempt])
        drawn = []
        for position in rng.permutation(len(wanted.category_ids)):
            category_id = wanted.category_ids[position]
            names = list(sprites[category_id])
            drawn.append((category_id, names[int(rng.integers(len(names)))]))
        options = DEFAULT_OPTIONS if attempt < ATTEMPTS // 2 else SMALL
        objects = [(c, sprites[c][style]) for c, style in drawn]
        composition = compose_image(rng, objects, wanted.size, options)
        if len(composition.instances) == len(drawn):
            return composition, drawn
    raise InputError(
        f"{len(wanted.category_ids)} objects cannot all be seen in an image of "
        f"{wanted.size[0]}x{wanted.size[1]}: expected fewer objects or larger images"
    )
