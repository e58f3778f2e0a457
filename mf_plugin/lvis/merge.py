"""One LVIS json out of two: the real training set and a synthetic one.

The ids of the synthetic part are moved past the real ones, since detectron2 and lvis-api keep
images and annotations in dicts by id. Images are not copied; where the two sets lie in different
folders, the paths of both are written relative to a common root.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mf_plugin.errors import InputError
from mf_plugin.lvis.io import image_path

_COMPARED_KEYS = ("id", "name")


def merge_lvis(
    real: Mapping[str, Any],
    synthetic: Mapping[str, Any],
    *,
    real_root: str | Path | None = None,
    synthetic_root: str | Path | None = None,
) -> dict[str, Any]:
    """Join two LVIS jsons; neither input is changed.

    Categories are taken from ``real``, with ``image_count`` and ``instance_count`` recomputed
    over the union; their frequency groups stay those of the real training set, since APr is
    defined by them. Every other key of ``real`` (info, licenses) is kept.

    Args:
        real: LVIS json; its ids stay as they are.
        synthetic: LVIS json of the same categories in the same order.
        real_root: folder that the paths of ``real`` start from.
        synthetic_root: the same for ``synthetic``. With both roots, coco_url and file_name of
            every image become relative to `common_root`; with neither, they stay.

    Returns:
        An LVIS json. With roots its paths may be deeper than folder/file, which mmdet reads and
        detectron2's own loader does not.

    Raises:
        InputError: the categories differ (the first difference is named), only one root is
            given, or both sets have an image of one path.
    """
    _check_same_categories(real["categories"], synthetic["categories"])
    if (real_root is None) != (synthetic_root is None):
        raise InputError("merging two image roots expects both of them, got only one")

    image_offset = _largest_id(real["images"]) - _smallest_id(synthetic["images"]) + 1
    annotation_offset = (
        _largest_id(real["annotations"]) - _smallest_id(synthetic["annotations"]) + 1
    )
    # Ids that are past the real ones already (MosaicFusion counts from 1,000,000) stay readable.
    image_offset, annotation_offset = max(0, image_offset), max(0, annotation_offset)

    images = [dict(image) for image in real["images"]]
    moved = [{**image, "id": image["id"] + image_offset} for image in synthetic["images"]]
    if real_root is not None and synthetic_root is not None:
        root = common_root(real_root, synthetic_root)
        _rewrite_paths(images, _relative(real_root, root))
        _rewrite_paths(moved, _relative(synthetic_root, root))
    _check_distinct_paths(images, moved)

    annotations = [dict(annotation) for annotation in real["annotations"]]
    annotations += [
        {
            **annotation,
            "id": annotation["id"] + annotation_offset,
            "image_id": annotation["image_id"] + image_offset,
        }
        for annotation in synthetic["annotations"]
    ]
    return {
        **real,
        "images": images + moved,
        "annotations": annotations,
        "categories": recount(real["categories"], annotations),
    }


def common_root(real_root: str | Path, synthetic_root: str | Path) -> Path:
    """The deepest folder that holds both roots: where the paths of the merged json start."""
    roots = [os.path.abspath(real_root), os.path.abspath(synthetic_root)]
    try:
        return Path(os.path.commonpath(roots))
    except ValueError:
        raise InputError(f"{roots[0]} and {roots[1]} have no folder in common") from None


def recount(
    categories: list[dict[str, Any]], annotations: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Copies of the categories with image_count and instance_count of these annotations."""
    instances = Counter(annotation["category_id"] for annotation in annotations)
    pairs = {(annotation["category_id"], annotation["image_id"]) for annotation in annotations}
    images = Counter(category_id for category_id, _ in pairs)
    return [
        {**c, "image_count": images[c["id"]], "instance_count": instances[c["id"]]}
        for c in categories
    ]


def _check_same_categories(real: list[dict[str, Any]], synthetic: list[dict[str, Any]]) -> None:
    for position, (ours, theirs) in enumerate(zip(real, synthetic, strict=False)):
        for key in _COMPARED_KEYS:
            if ours.get(key) != theirs.get(key):
                raise InputError(
                    f"categories differ at position {position}: {key} is {ours.get(key)!r} in the "
                    f"real json ({ours.get('name')!r}) and {theirs.get(key)!r} in the synthetic "
                    f"one ({theirs.get('name')!r}); mmdet derives labels from this order"
                )
    if len(real) != len(synthetic):
        longer, name = (real, "real") if len(real) > len(synthetic) else (synthetic, "synthetic")
        extra = longer[min(len(real), len(synthetic))]
        raise InputError(
            f"categories differ: {len(real)} in the real json and {len(synthetic)} in the "
            f"synthetic one; the first that only the {name} one has is {extra.get('name')!r}"
        )


def _largest_id(records: list[dict[str, Any]]) -> int:
    return max((record["id"] for record in records), default=0)


def _smallest_id(records: list[dict[str, Any]]) -> int:
    return min((record["id"] for record in records), default=1)


def _relative(root: str | Path, base: Path) -> str:
    """``root`` seen from ``base`` with forward slashes; empty where they are the same."""
    relative = Path(os.path.abspath(root)).relative_to(base).as_posix()
    return "" if relative == "." else relative + "/"


def _rewrite_paths(images: list[dict[str, Any]], prefix: str) -> None:
    for image in images:
        path = prefix + image_path(image)
        image["coco_url"] = path
        image["file_name"] = path


def _check_distinct_paths(real: list[dict[str, Any]], synthetic: list[dict[str, Any]]) -> None:
    shared = {image_path(image) for image in real} & {image_path(image) for image in synthetic}
    if shared:
        raise InputError(
            f"both sets have an image {min(shared)!r} ({len(shared)} paths in common): "
            "pass real_root and synthetic_root"
        )
