"""What an autoencoder leaves of masks that go through it as colour maps.

An instance is kept where a decoded segment of its category has an IoU of 0.75 and more with it.
Only instances whose bounding box has 16 pixels and more a side count; they are drawn ``scale``
times as large, as a model paints them that works at a larger size than the dataset has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as mask_api

from mf_plugin.errors import InputError
from mf_plugin.evaluation.rare import GroundTruth
from mf_plugin.evaluation.valid_instances import to_rle
from mf_plugin.seggen.calibration import Reconstruct
from mf_plugin.seggen.colormap import BORDER_WIDTH, MIN_AREA, REACH, decode, encode
from mf_plugin.seggen.joining import JOIN
from mf_plugin.seggen.palette import Palette

Mask = npt.NDArray[np.bool_]
Segments = list[tuple[int, Mask]]

MIN_SIDE = 16  # pixels of a bounding box
MIN_IOU = 0.75


def deal_out(ids: Sequence[int], count: int, seed: int = 0) -> dict[int, int]:
    """Let ``count`` of a dataset's categories stand for all, so that no object is left out.

    Returns:
        {category id: the one that stands for it}; those drawn stand for themselves.

    Raises:
        InputError: count is not from 1 to the number of ids.
    """
    if not 0 < count <= len(ids):
        raise InputError(f"{count} categories: expected 1 to {len(ids)}")
    rng = np.random.default_rng(seed)
    drawn = rng.choice(ids, count, replace=False).tolist()
    return {i: i if i in drawn else drawn[int(rng.integers(count))] for i in ids}


def read_segments(dataset: GroundTruth, stands_for: Mapping[int, int]) -> Iterator[Segments]:
    """(category id, bool[H, W]) of each image that has instances; ids of `deal_out`."""
    sizes = {i["id"]: (i["height"], i["width"]) for i in dataset.data["images"]}
    found: dict[int, list[dict[str, Any]]] = {}
    for annotation in dataset.data["annotations"]:
        found.setdefault(annotation["image_id"], []).append(annotation)
    for image_id, instances in found.items():
        rles = [to_rle(a["segmentation"], sizes[image_id]) for a in instances]
        masks = [mask_api.decode(rle).astype(bool) for rle in rles]
        ids = [stands_for[a["category_id"]] for a in instances]
        yield list(zip(ids, masks, strict=True))


def measure_round_trip(
    images: Iterable[Segments],
    palette: Palette,
    reconstruct: Reconstruct,
    *,
    scale: int = 1,
    reach: int = REACH,
) -> dict[str, Any]:
    """Encode, reconstruct, decode.

    Args:
        images: of `read_segments`.
        palette: calibrated or not.
        reconstruct: uint8[N, H, W, 3] -> the same through an autoencoder.
        scale: of the colour map to the masks.
        reach: of `colormap.decode`.

    Returns:
        JSON: "instances" that count, "kept", their share; "segments" decoded, and "extra", those
        that are no instance of any size.

    Raises:
        InputError: no instance counts.
    """
    instances = kept = segments = extra = 0
    for image in images:
        large = [(c, mask.repeat(scale, 0).repeat(scale, 1)) for c, mask in image]
        height, width = large[0][1].shape
        drawn = encode(
            large,
            (height, width),
            palette,
            "instance",
            border_width=BORDER_WIDTH * scale,
            join=JOIN * scale,
        )
        found = decode(
            reconstruct(drawn[None])[0],
            palette,
            "instance",
            min_area=MIN_AREA * scale**2,
            reach=reach,
            join=JOIN * scale,
        )
        ious = np.zeros((len(large), len(found)))
        for row, (category_id, mask) in enumerate(large):
            for column, segment in enumerate(found):
                if segment.category_id == category_id:
                    ious[row, column] = _iou(mask, segment.mask)
        counts = np.array([_counts(mask) for _, mask in image])
        kept_here = (ious >= MIN_IOU).any(1)
        instances += int(counts.sum())
        kept += int((kept_here & counts).sum())
        segments += len(found)
        extra += int((ious < MIN_IOU).all(0).sum())
    if not instances:
        raise InputError(f"no instance of {MIN_SIDE} x {MIN_SIDE} pixels: expected some to measure")
    share = round(kept / instances, 4)
    return dict(
        instances=instances, kept=kept, share=share, segments=segments, extra=extra, scale=scale
    )


def _counts(mask: Mask) -> bool:
    sides: Sequence[npt.NDArray[np.intp]] = [np.flatnonzero(mask.any(axis)) for axis in (0, 1)]
    return all(len(side) > 0 and side[-1] - side[0] + 1 >= MIN_SIDE for side in sides)


def _iou(first: Mask, second: Mask) -> float:
    union = np.count_nonzero(first | second)
    return np.count_nonzero(first & second) / union if union else 0.0
