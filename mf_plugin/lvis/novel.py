"""Training data that does not know some categories: the open-vocabulary setting of LVIS.

Rare categories are novel: all their annotations go, the images and the list of categories stay,
so labels, images and the evaluation are those of the whole vocabulary. An object of a novel
category is then part of the background, as in the public open-vocabulary studies (Detic's
lvis_v1_train_norare.json, made from the training json by dropping the annotations of the rare
categories and nothing else).

Here the federated lists of an image forget the novel categories too. `neg_category_ids` is what
somebody looked for and did not find, which is knowledge of a novel category as much as a box is;
and `not_exhaustive_category_ids` is about objects that are annotated, which none are now. So a
novel category is neither present nor absent in any image: unknown in all of them.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from mf_plugin.errors import InputError
from mf_plugin.lvis.io import image_path, read_lvis, validate_lvis, write_json_atomic
from mf_plugin.lvis.minilvis_files import VERSION, build_once, write_provenance
from mf_plugin.lvis.paths import image_file

GENERATOR = "mini-LVIS novel"
KIND = "novel"


def without_annotations(data: Mapping[str, Any], category_ids: Collection[int]) -> dict[str, Any]:
    """An LVIS json less all that it says of some categories in its images.

    Images, other annotations and the list of categories stay, with their ids and their order. The
    categories' image_count and instance_count become 0: FederatedLoss then never draws them as
    negatives, unless a synthetic image shows them.

    Args:
        data: an LVIS json; it is left as it is.
        category_ids: of the categories.

    Raises:
        InputError: a category id that the json does not have.
    """
    removed = set(category_ids)
    known = {category["id"] for category in data["categories"]}
    if removed - known:
        raise InputError(
            f"category id {min(removed - known)} is not one of the {len(known)} of the json"
        )
    return {
        **data,
        "images": [_forget(image, removed) for image in data["images"]],
        "annotations": [a for a in data["annotations"] if a["category_id"] not in removed],
        "categories": [
            {**c, "image_count": 0, "instance_count": 0} if c["id"] in removed else dict(c)
            for c in data["categories"]
        ],
    }


def _forget(image: Mapping[str, Any], removed: Collection[int]) -> dict[str, Any]:
    lists = ("neg_category_ids", "not_exhaustive_category_ids")
    return {
        **image,
        **{key: [c for c in image[key] if c not in removed] for key in lists if key in image},
    }


def build_novel(out: str | Path, train: str | Path, group: str = "r") -> Path:
    """Builds a dataset folder without annotations of a frequency group, images shared.

    Args:
        out: the folder; it appears when it is complete, or is kept if it is there already.
        train: the folder to start from, with annotations.json. Its images are hard-linked, or
            copied where that does not work.
        group: r, c or f.

    Raises:
        InputError: `train` is missing or has no category of the group, or `out` holds something
            else.
    """
    train = Path(train)
    data = read_lvis(train / "annotations.json")
    try:
        validate_lvis(data, nested=True)
    except InputError as error:
        raise InputError(f"{train}: {error}") from None
    removed = sorted(c["id"] for c in data["categories"] if c.get("frequency") == group)
    if not removed:
        raise InputError(f"{train}: expected categories of the group {group!r}, found none")
    source = hashlib.sha256((train / "annotations.json").read_bytes()).hexdigest()
    parameters = {"version": VERSION, "group": group, "source_sha256": source}

    def build(folder: Path) -> None:
        kept = without_annotations(data, removed)
        for image in kept["images"]:
            name = image_path(image)
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            _link(image_file(train, image), folder / name)
        write_json_atomic(folder / "annotations.json", kept)
        counts = {
            "images": len(kept["images"]),
            "images_without_annotations": len(kept["images"])
            - len({a["image_id"] for a in kept["annotations"]}),
            "annotations": len(kept["annotations"]),
            "annotations_removed": len(data["annotations"]) - len(kept["annotations"]),
        }
        facts = {"kind": KIND, "removed_category_ids": removed, "counts": counts}
        write_provenance(folder, GENERATOR, parameters, facts)

    return build_once(out, GENERATOR, parameters, build)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise InputError(f"image {source} is missing: build the training split again") from None
    except OSError:  # another file system, or one without hard links
        shutil.copy2(source, target)
