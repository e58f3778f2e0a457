"""One record for each canvas, and what a dataset's files are made of: pure functions on records.

A generator hands over `CanvasResult`; the store keeps its record, JSON values, and its files: a
JPEG, and a PNG of labels where there are any. From all records in plan order come annotations.json
(LVIS v1), manifest.jsonl and the counts. Nothing here knows how images are made.

Shapes: an image is uint8[H, W, 3] RGB; an object's mask is bool[H, W] on its canvas.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from mf_plugin.arrays import Mask, Pixels
from mf_plugin.errors import InputError, shown
from mf_plugin.generation.record_checks import check_line, prompts_of
from mf_plugin.lvis.paths import image_path
from mf_plugin.lvis.polygons import mask_to_polygons

Record = dict[str, Any]
# A record, and its files by their path in the folder; none where the canvas is rejected.
EncodedCanvas = tuple[Record, dict[str, bytes]]
LabelMap = npt.NDArray[np.unsignedinteger]  # uint8[H, W], uint16[H, W] or uint8[H, W, 3]

ACCEPTED, REJECTED = "accepted", "rejected"
STABILITY = "stability"  # a measure of each accepted object: mosaic.masks.mask_stability
LABELS = "labels"  # the folder of label maps
CANVAS_SIDE, REJECT_SIDE = 160, 128  # pixels of a thumbnail's longer side
_THUMBNAIL_QUALITY = 75
_MEASURE_DIGITS = 4
_NOT_IN_MANIFEST = (  # other files have them
    "objects",
    "height",
    "width",
    "thumbnail",
    "conditioning",
    "segments_info",
)
# Of an accepted object; CONSISTENT stands where a filter has marked (derive.py).
CONSISTENT = "consistent"
_SHAPE = ("segmentation", "area", "bbox", CONSISTENT)
_SOURCE = ("source_image_id", "source_file_name")  # of the real image that a canvas comes from


@dataclass(frozen=True)
class ObjectResult:
    """One object of a canvas.

    Args:
        category_id: what it was meant to be.
        prompt: the text it was made from.
        mask: bool[H, W], or None if it was rejected.
        reason: why it was rejected, "" if it was not.
        thumbnail: uint8[h, w, 3] of a rejected object, for the gallery; shrunk to REJECT_SIDE.
        measures: what was measured of it, by name; kept with 4 digits. They only describe.
    """

    category_id: int
    prompt: str
    mask: Mask | None
    reason: str = ""
    thumbnail: Pixels | None = None
    measures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class CanvasResult:
    """One planned canvas after generation.

    Args:
        planned: its facts for the manifest, JSON values; "index" is its place in the plan. Two of
            them also go to annotations.json: "source_image_id" and "source_file_name" of the real
            image that the canvas comes from, and "not_exhaustive", the ids of further categories
            that the image may hold without a label.
        image: uint8[H, W, 3], or None where all objects are rejected.
        objects: one for each that was planned.
        labels: a label map uint8[H, W] or uint16[H, W], or COCO's panoptic ids uint8[H, W, 3].
        segments_info: COCO's, of a panoptic label map.
        conditioning: uint8[H, W, 3], what the image was painted over, for the gallery.
        reason: why there is no image where that is not for an object's sake.
    """

    planned: Record
    image: Pixels | None
    objects: tuple[ObjectResult, ...]
    labels: LabelMap | None = None
    segments_info: tuple[Record, ...] = ()
    conditioning: Pixels | None = None
    reason: str = ""


def encode_canvas(canvas: CanvasResult, jpeg_quality: int) -> EncodedCanvas:
    """The record of a canvas, and its files if it is accepted.

    A canvas is accepted if one of its objects is. Its image id is its index + 1, so that no id is 0
    (COCO's evaluation takes 0 for "no match").
    """
    image_id = canvas.planned["index"] + 1
    objects = [_encode_object(obj) for obj in canvas.objects]
    accepted = any(not obj["reason"] for obj in objects)
    if accepted and canvas.image is None:
        raise ValueError(f"canvas {image_id - 1} has no image; expected a reason for each object")
    record = {
        **canvas.planned,
        "image_id": image_id,
        "outcome": ACCEPTED if accepted else REJECTED,
        "objects": objects,
    }
    if canvas.reason:
        record["reason"] = canvas.reason
    if not accepted:
        return record, {}
    assert canvas.image is not None
    jpeg = _to_jpeg(canvas.image, jpeg_quality)
    record["file_name"] = f"images/{image_id:012d}.jpg"
    record["sha256"] = hashlib.sha256(jpeg).hexdigest()
    record["height"], record["width"] = canvas.image.shape[:2]
    record["thumbnail"] = to_thumbnail(canvas.image, CANVAS_SIDE)
    files = {record["file_name"]: jpeg}
    if canvas.labels is not None:
        record["label_file"] = f"{LABELS}/{image_id:012d}.png"
        files[record["label_file"]] = png = to_png(canvas.labels)
        record["label_sha256"] = hashlib.sha256(png).hexdigest()
    if canvas.segments_info:
        record["segments_info"] = list(canvas.segments_info)
    if canvas.conditioning is not None:
        record["conditioning"] = to_thumbnail(canvas.conditioning, CANVAS_SIDE)
    return record, files


def to_annotations(records: Iterable[Record], categories: Sequence[Record]) -> Record:
    """LVIS v1 json of the accepted canvases, annotations counted through from 1.

    Args:
        records: in plan order.
        categories: LVIS category dicts, all of them kept in this order; their ``image_count`` and
            ``instance_count`` become those of this dataset.
    """
    images: list[Record] = []
    annotations: list[Record] = []
    image_counts: Counter[int] = Counter()
    instance_counts: Counter[int] = Counter()
    for record in records:
        if record["outcome"] != ACCEPTED:
            continue
        kept = [obj for obj in record["objects"] if not obj["reason"]]
        rejected = {obj["category_id"] for obj in record["objects"] if obj["reason"]}
        rejected.update(record.get("not_exhaustive", ()))
        images.append(
            {
                "id": record["image_id"],
                "file_name": record["file_name"],
                "coco_url": record["file_name"],
                "height": record["height"],
                "width": record["width"],
                "neg_category_ids": [],
                "not_exhaustive_category_ids": sorted(rejected),
                **{key: record[key] for key in _SOURCE if key in record},
            }
        )
        for obj in kept:
            shape = {key: obj[key] for key in ("category_id", *_SHAPE) if key in obj}
            numbers = {"id": len(annotations) + 1, "image_id": record["image_id"]}
            annotations.append({**numbers, **shape})
        instance_counts.update(obj["category_id"] for obj in kept)
        image_counts.update({obj["category_id"] for obj in kept})
    counted = [
        {
            **category,
            "image_count": image_counts[category["id"]],
            "instance_count": instance_counts[category["id"]],
        }
        for category in categories
    ]
    return {
        "info": {"description": "made by mf_plugin; dataset.json says how"},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": counted,
    }


def to_manifest_line(record: Record) -> Record:
    """The planned facts, the outcome, the file with its hash; a reason ("" or why not) and the
    measures of each object."""
    line = {key: value for key, value in record.items() if key not in _NOT_IN_MANIFEST}
    return {
        **line,
        "reasons": [obj["reason"] for obj in record["objects"]],
        "measures": [obj.get("measures", {}) for obj in record["objects"]],
    }


def from_files(manifest: Iterable[Record], annotations: Record) -> list[Record]:
    """The records again, out of a finished dataset's lines and annotations.

    They lack the thumbnails, which gallery.html alone has.

    Args:
        manifest: lines of ``to_manifest_line``; one of an earlier version has no measures. The
            planned facts hold "prompts", a {"category_id", "text"} for each object, or "caption" of
            all objects and "category_ids", one for each.
        annotations: of ``to_annotations``.

    Raises:
        InputError: the two do not belong together.
    """
    images = {image["id"]: image for image in annotations["images"]}
    shapes: dict[int, list[Record]] = {}
    for annotation in annotations["annotations"]:
        shapes.setdefault(annotation["image_id"], []).append(annotation)
    category_ids = {category["id"] for category in annotations["categories"]}
    seen: set[int] = set()
    records = []
    for line in manifest:
        check_line(line, category_ids)
        if line["index"] in seen:
            raise InputError(f"manifest line {line['index']} appears twice")
        seen.add(line["index"])
        record = {key: v for key, v in line.items() if key not in ("reasons", "measures")}
        reasons, prompts = line["reasons"], prompts_of(line)
        measures = line.get("measures") or [{}] * len(reasons)
        kept = iter(shapes.pop(line["image_id"], []))
        if len({len(reasons), len(prompts), len(measures)}) > 1:
            raise InputError(
                f"manifest line {line['index']}: {len(prompts)} prompts, {len(reasons)} reasons, "
                f"{len(measures)} measures; expected one of each for an object"
            )
        objects = []
        for prompt, reason, measured in zip(prompts, reasons, measures, strict=True):
            obj = {"category_id": prompt["category_id"], "prompt": prompt["text"], "reason": reason}
            if measured:
                obj["measures"] = measured
            if not reason:
                shape = next(kept, {"category_id": "no annotation"})
                if shape["category_id"] != obj["category_id"]:
                    raise InputError(
                        f"manifest line {line['index']} has an object of category "
                        f"{obj['category_id']}, annotations.json {shape['category_id']}"
                    )
                obj |= {key: shape[key] for key in _SHAPE if key in shape}
            objects.append(obj)
        if next(kept, None):
            raise InputError(f"manifest line {line['index']}: annotations.json has more objects")
        if line["outcome"] == ACCEPTED:
            image = images.get(line["image_id"])
            if image is None:
                raise InputError(f"manifest line {line['index']}: annotations.json lacks its image")
            if image_path(image) != line["file_name"]:
                raise InputError(
                    f"manifest line {line['index']} has the file {shown(line['file_name'])}, "
                    f"annotations.json {shown(image_path(image))}"
                )
            record |= {"height": image["height"], "width": image["width"]}
        records.append({**record, "objects": objects})
    if shapes:
        raise InputError(f"annotations.json has images {sorted(shapes)[:3]} that no line names")
    return records


def count_objects(records: Iterable[Record]) -> Counter[str]:
    """Number of objects by outcome: "accepted", or the reason."""
    return Counter(obj["reason"] or ACCEPTED for record in records for obj in record["objects"])


def summarise(records: Sequence[Record], categories: Sequence[Record]) -> Record:
    """Counts and rejection counts, in all and for each category that was asked for.

    "canvas_rejections", the canvases without an image by their own reason, is there if one is.
    """
    outcomes = count_objects(records)
    without = Counter(record["reason"] for record in records if record.get("reason"))
    by_category: dict[int, Counter[str]] = {}
    for record in records:
        for obj in record["objects"]:
            counter = by_category.setdefault(obj["category_id"], Counter())
            counter[obj["reason"] or ACCEPTED] += 1
    return {
        "counts": {
            "canvases": len(records),
            "images": sum(record["outcome"] == ACCEPTED for record in records),
            "objects": sum(outcomes.values()),
            "annotations": outcomes[ACCEPTED],
        },
        "rejections": {key: outcomes[key] for key in sorted(outcomes) if key != ACCEPTED},
        **({"canvas_rejections": dict(sorted(without.items()))} if without else {}),
        "categories": {
            category["name"]: dict(sorted(by_category[category["id"]].items()))
            for category in categories
            if category["id"] in by_category
        },
    }


def _encode_object(obj: ObjectResult) -> Record:
    encoded: Record = {
        "category_id": obj.category_id,
        "prompt": obj.prompt,
        "reason": obj.reason,
    }
    if obj.measures:
        encoded["measures"] = {
            name: round(float(value), _MEASURE_DIGITS) for name, value in obj.measures.items()
        }
    if obj.reason:
        if obj.thumbnail is not None:
            encoded["thumbnail"] = to_thumbnail(obj.thumbnail, REJECT_SIDE)
        return encoded
    if obj.mask is None or not obj.mask.any():
        raise ValueError(f"{obj.prompt!r} has no mask; expected one, or a reason")
    rows, columns = (np.flatnonzero(obj.mask.any(axis=axis)) for axis in (1, 0))
    top, left, bottom, right = rows[0], columns[0], rows[-1] + 1, columns[-1] + 1
    return {
        **encoded,
        "segmentation": mask_to_polygons(obj.mask),
        "area": float(obj.mask.sum()),
        "bbox": [float(left), float(top), float(right - left), float(bottom - top)],
    }


def to_thumbnail(image: Pixels, side: int) -> str:
    """The image as JPEG in base64, its longer side at most ``side``."""
    scale = side / max(image.shape[:2])
    if scale < 1:
        height, width = (max(1, round(length * scale)) for length in image.shape[:2])
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return base64.b64encode(_to_jpeg(image, _THUMBNAIL_QUALITY)).decode()


def to_png(labels: LabelMap) -> bytes:
    """A label map as PNG: uint8[H, W], uint16[H, W] or uint8[H, W, 3]."""
    buffer = io.BytesIO()
    Image.fromarray(labels).save(buffer, "PNG")
    return buffer.getvalue()


def _to_jpeg(image: Pixels, quality: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
