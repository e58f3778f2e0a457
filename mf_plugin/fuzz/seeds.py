"""Sound input, of which the hostile is made: as small as it can be with everything in it."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np

from mf_plugin.generation.gallery import render_gallery
from mf_plugin.generation.quality import quality_report
from mf_plugin.generation.records import (
    CanvasResult,
    ObjectResult,
    encode_canvas,
    summarise,
    to_annotations,
    to_manifest_line,
)
from mf_plugin.seggen.palette import make_palette
from mf_plugin.seggen.record import ModelRecord

SIDES = (16, 24)  # height, width
FREQUENCIES = ("r", "c", "f")


def lvis() -> dict[str, Any]:
    """Two images, two instances, three categories."""
    return {
        "info": {"description": "a seed"},
        "licenses": [],
        "categories": [
            {
                "id": number,
                "name": name,
                "synset": f"{name}.n.01",
                "synonyms": [name, f"{name}s"],
                "def": "a thing",
                "frequency": frequency,
                "image_count": 1,
                "instance_count": 1,
            }
            for number, (name, frequency) in enumerate(
                zip(("cup", "bow_(weapon)", "anvil"), FREQUENCIES, strict=True), 1
            )
        ],
        "images": [
            {
                "id": number,
                "height": SIDES[0],
                "width": SIDES[1],
                "coco_url": url,
                "file_name": f"images/{number}.jpg",
                "neg_category_ids": [3],
                "not_exhaustive_category_ids": [1],
            }
            for number, url in ((1, "images/1.jpg"), (2, "http://host/images/2.jpg"))
        ],
        "annotations": [
            {
                "id": number,
                "image_id": number,
                "category_id": number,
                "area": 50.0,
                "bbox": [2.0, 3, 10.0, 5.0],
                "segmentation": [[2.0, 3.0, 12.0, 3.0, 12.0, 8.0, 2.0, 8]],
                "iscrowd": 0,
            }
            for number in (1, 2)
        ],
    }


def results() -> list[dict[str, Any]]:
    """Detections of `lvis`, with masks of each of COCO's three forms."""
    height, width = SIDES
    masks: list[Any] = [
        {"size": [height, width], "counts": "P3"},
        {"size": [height, width], "counts": [20, 10, height * width - 30]},
        [[2.0, 3.0, 12.0, 3.0, 12.0, 8.0]],
    ]
    return [
        {
            "image_id": 1 + number % 2,
            "category_id": 1 + number % 3,
            "bbox": [2, 3.0, 10, 5],
            "score": 0.9 - 0.1 * number,
            "segmentation": masks[number % 3] if number else masks[0],
        }
        for number in range(5)
    ]


def panoptic() -> dict[str, Any]:
    """The images and categories of `lvis` in COCO's panoptic form; its PNGs are of `labels`."""
    data = lvis()
    for image in data["images"]:
        del image["neg_category_ids"], image["not_exhaustive_category_ids"]
    data["annotations"] = [
        {
            "image_id": number,
            "file_name": f"{number}.png",
            "segments_info": [
                {"id": 1, "category_id": number, "area": 50, "iscrowd": 0},
                {"id": 2, "category_id": 3, "area": 9, "iscrowd": 1},
            ],
        }
        for number in (1, 2)
    ]
    return data


def captions() -> dict[str, Any]:
    """What people say of the images of `lvis`, in COCO's form."""
    said = ((1, "Two cups and a bow."), (2, " A cup\n beside 3 anvils. "), (1, "9 anvils, a room"))
    return {
        "info": {"description": "a seed"},
        "images": [{"id": 1, "file_name": "1.jpg"}, {"id": 2, "file_name": "2.jpg"}],
        "annotations": [
            {"id": number, "image_id": image_id, "caption": text}
            for number, (image_id, text) in enumerate(said, start=1)
        ],
    }


def seggen_record() -> dict[str, Any]:
    """The seggen.json of a model."""
    record = ModelRecord(
        what="text2mask",
        base="mf_plugin/assets/tiny_sd",
        base_sha256="0" * 64,
        palette=make_palette([1, 2, 3]),
        kind="instance",
        size=SIDES,
        training={"config": {"steps": 4, "size": [16, 24]}, "versions": {"torch": "2"}},
    )
    return record.to_json()


def masksyn_manifest() -> list[dict[str, Any]]:
    """Lines of the manifest.jsonl of a MaskSyn folder, of `lvis`'s categories."""
    said = (
        ("a cup and an anvil", (1, 2, 3), ("", "not_in_caption", "missing")),
        ("two bows", (2, 2), ("", "too_small")),
        ("", (), ()),
    )
    return [
        {"index": index, "caption": text, "category_ids": list(ids), "reasons": list(reasons)}
        for index, (text, ids, reasons) in enumerate(said)
    ]


def finished() -> dict[str, Any]:
    """The files of a finished dataset, by name; those of json as values, lines as a list."""
    height, width = SIDES
    image = np.zeros((height, width, 3), np.uint8)
    mask = np.zeros((height, width), bool)
    mask[2:8, 3:13] = True
    cup = ObjectResult(1, "a cup", mask, measures={"stability": 0.9})
    no_bow = ObjectResult(2, "a bow", None, "too_small", image[:8, :8])
    categories = lvis()["categories"]
    layout = {"height": height, "width": width}
    regions = [[0, 0, height, width // 2], [0, width // 2, height, width // 2]]
    records = []
    for index, objects in enumerate([(cup, no_bow), (no_bow,)]):
        planned = {
            "index": index,
            "group": index,
            "seed": index,
            "layout": {**layout, "regions": regions[: len(objects)]},
            "main_region": 0,
            "prompts": [{"category_id": o.category_id, "text": o.prompt} for o in objects],
        }
        records.append(encode_canvas(CanvasResult(planned, image, objects), 95)[0])
    dataset = {
        "config": {"model": "m", "steps": 2, "canvas": [16, 24], "seed": 0},
        "config_hash": "cafe",
        "device": "cpu",
        "versions": {"numpy": "2"},
        **summarise(records, categories),
        "quality": quality_report(records, categories),
    }
    return {
        "annotations.json": to_annotations(records, categories),
        "manifest.jsonl": [to_manifest_line(record) for record in records],
        "dataset.json": dataset,
        "gallery.html": render_gallery(records, categories, dataset),
    }


def image_folder(root: Path) -> Path:
    """A dataset's folder with two images, a link out of it, and a folder that is one."""
    outside = root.parent / "outside"
    for folder in (root / "images", outside):
        folder.mkdir(parents=True)
    pixel = base64.b64decode("R0lGODlhAQABAAAAACwAAAAAAQABAAA=")
    for path in (root / "images/1.jpg", root / "images/2.jpg", outside / "1.jpg"):
        path.write_bytes(pixel)
    (root / "images/link.jpg").symlink_to(outside / "1.jpg")
    (root / "linked").symlink_to(outside)
    return root
