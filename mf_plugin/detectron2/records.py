"""An LVIS-format json as detectron2's standard dataset dicts, for any vocabulary.

For LVIS v1 the records are those of detectron2's ``load_lvis_json``; that loader knows LVIS's own
categories alone and takes category_id - 1 for the label of any other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from mf_plugin.data.draws import Sources
from mf_plugin.data.image_categories import ImageCategories
from mf_plugin.errors import InputError
from mf_plugin.lvis.io import MIN_POLYGON_NUMBERS, image_path

XYWH_ABS = 1  # detectron2.structures.BoxMode.XYWH_ABS
# Keys of a record: its image was generated; the folder that it is in; what it was made of.
SYNTHETIC, FOLDER, SOURCE = "synthetic", "synthetic_folder", "source_image_id"


def lvis_records(
    data: Mapping[str, Any],
    image_root: str | Path,
    label_of: Mapping[int, int],
    *,
    synthetic: bool = False,
) -> list[dict[str, Any]]:
    """One record an image, by ascending image id.

    Args:
        data: an LVIS annotation json. Masks are polygons, or RLE, which detectron2 reads with
            ``INPUT.MASK_FORMAT: bitmask`` alone.
        image_root: folder that the paths in ``coco_url`` start from.
        label_of: category id -> label.
        synthetic: marks the records under the key ``synthetic``, with their folder and the real
            image that each was made of, where the json names it.

    Raises:
        InputError: an annotation has an unknown image, category or a broken polygon.
    """
    objects: dict[int, list[dict]] = defaultdict(list)
    for annotation in data["annotations"]:
        objects[annotation["image_id"]].append(_object(annotation, label_of))
    images = sorted(data["images"], key=lambda image: image["id"])
    unknown = objects.keys() - {image["id"] for image in images}
    if unknown:
        raise InputError(
            f"{len(unknown)} image ids of annotations are no image's, the first {min(unknown)}: "
            f"expected the id of one of the {len(images)} images"
        )
    root = str(image_root).rstrip("/")
    records = []
    for image in images:
        record = {
            "file_name": f"{root}/{image_path(image)}",
            "height": image["height"],
            "width": image["width"],
            "not_exhaustive_category_ids": image.get("not_exhaustive_category_ids", []),
            "neg_category_ids": image.get("neg_category_ids", []),
            "image_id": image["id"],
            "annotations": objects.get(image["id"], []),
        }
        if synthetic:
            record.update({SYNTHETIC: True, FOLDER: root})
            if SOURCE in image:
                record[SOURCE] = image[SOURCE]
        records.append(record)
    return records


def image_categories(records: Sequence[Mapping[str, Any]]) -> ImageCategories:
    """The labels in each of N dataset dicts, of our loader or any other."""
    objects = [record.get("annotations", ()) for record in records]
    lengths = np.fromiter(map(len, objects), np.int64, len(objects))
    found = (instance["category_id"] for instance in chain.from_iterable(objects))
    labels = np.fromiter(found, np.int64, int(lengths.sum()))
    index = np.repeat(np.arange(len(objects)), lengths)
    return ImageCategories.from_instances(index, labels, len(objects))


def synthetic_folders(records: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """int64[N]: -1 for a real image, else the number of its synthetic folder, in their order."""
    numbers: dict[str, int] = {}
    found = (
        numbers.setdefault(record.get(FOLDER, ""), len(numbers)) if record.get(SYNTHETIC) else -1
        for record in records
    )
    return np.fromiter(found, np.int64, len(records))


def image_sources(records: Sequence[Mapping[str, Any]]) -> Sources:
    """The N images' own ids, and of synthetic ones those of the real images behind them."""
    return [r.get("image_id") for r in records], [r.get(SOURCE) for r in records]


def _object(annotation: Mapping[str, Any], label_of: Mapping[int, int]) -> dict[str, Any]:
    label = label_of.get(annotation["category_id"])
    if label is None:
        raise InputError(
            f"annotation {annotation['id']}: category id {annotation['category_id']!r} is none of "
            f"the {len(label_of)} known ones"
        )
    mask = annotation["segmentation"]
    if isinstance(mask, list):
        lengths = [len(polygon) for polygon in mask]
        if not mask or any(n < MIN_POLYGON_NUMBERS or n % 2 for n in lengths):
            raise InputError(
                f"annotation {annotation['id']}: polygons of {lengths} numbers, expected one or "
                f"more with an even count of at least {MIN_POLYGON_NUMBERS}"
            )
    record = {
        "bbox": annotation["bbox"],
        "bbox_mode": XYWH_ABS,
        "category_id": label,
        "segmentation": mask,
    }
    if annotation.get("iscrowd"):
        record["iscrowd"] = 1
    return record
