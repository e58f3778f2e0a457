"""COCO's panoptic json for a dataset whose label maps hold panoptic ids.

The PNGs are COCO's: a pixel's segment id is R + 256 G + 65536 B, and 0 is no segment. Images and
PNGs have bare file names, as in COCO: they lie in ``images/`` and ``labels/``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import PurePosixPath

import numpy as np

from mf_plugin.arrays import IntArray, Mask, Pixels
from mf_plugin.generation.records import ACCEPTED, LabelMap, Record

PANOPTIC = "panoptic.json"


def to_panoptic(
    records: Iterable[Record], categories: Sequence[Record], things: Collection[int]
) -> Record:
    """The json.

    Args:
        records: the store's, in plan order.
        categories: LVIS category dicts of the vocabulary.
        things: ids of the categories whose objects are counted.
    """
    images: list[Record] = []
    annotations: list[Record] = []
    for record in records:
        if record["outcome"] != ACCEPTED:
            continue
        images.append(
            {
                "id": record["image_id"],
                "file_name": PurePosixPath(record["file_name"]).name,
                "height": record["height"],
                "width": record["width"],
                **{k: record[k] for k in ("source_image_id", "source_file_name") if k in record},
            }
        )
        annotations.append(
            {
                "image_id": record["image_id"],
                "file_name": PurePosixPath(record["label_file"]).name,
                "segments_info": record["segments_info"],
            }
        )
    kinds = [{**category, "isthing": int(category["id"] in things)} for category in categories]
    return {
        "info": {"description": "made by mf_plugin; dataset.json says how"},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": kinds,
    }


def encode_panoptic(
    segments: Sequence[tuple[int, Mask]], size: tuple[int, int]
) -> tuple[Pixels, tuple[Record, ...]]:
    """The PNG's pixels and its segments, numbered from 1.

    Args:
        segments: (category id, mask bool[H, W]); no two share a pixel, none is empty.
        size: (H, W).

    Returns:
        uint8[H, W, 3], and COCO's segments_info.
    """
    ids = np.zeros(size, np.int64)
    infos = []
    for number, (category_id, mask) in enumerate(segments, start=1):
        ids[mask] = number
        rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
        top, left = int(rows[0]), int(columns[0])
        infos.append(
            {
                "id": number,
                "category_id": category_id,
                "area": int(mask.sum()),
                "bbox": [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top],
                "iscrowd": 0,
            }
        )
    coded = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)
    return coded, tuple(infos)


def decode_panoptic(pixels: LabelMap) -> IntArray:
    """Segment ids int64[H, W] of a PNG's pixels uint8[H, W, 3]."""
    weights = np.array([1, 256, 65536], np.int64)
    ids: IntArray = pixels.astype(np.int64) @ weights
    return ids
