"""A finished dataset written again without some of its objects, or with marks on them.

The new folder has the form of every other; its dataset.json says what it was made from and how.
Images are linked where the file system can. What is dropped costs its object alone: the picture
still shows it, so its category is noted as not exhaustively labelled there.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from PIL import Image

from mf_plugin.errors import InputError, shown
from mf_plugin.generation.finished import FinishedDataset
from mf_plugin.generation.gallery import render_gallery
from mf_plugin.generation.panoptic import PANOPTIC, decode_panoptic
from mf_plugin.generation.quality import quality_report
from mf_plugin.generation.readable import to_readable_json
from mf_plugin.generation.records import (
    ACCEPTED,
    CONSISTENT,
    REJECT_SIDE,
    REJECTED,
    LabelMap,
    Record,
    summarise,
    to_annotations,
    to_manifest_line,
    to_png,
    to_thumbnail,
)
from mf_plugin.generation.storage import LOCK
from mf_plugin.generation.store import DATASET, check_destination
from mf_plugin.lvis.io import read_lvis, write_bytes_atomic, write_json_atomic
from mf_plugin.lvis.validate import is_id

_FILE_KEYS = ("file_name", "sha256", "height", "width", "thumbnail", "conditioning")
_LABEL_KEYS = ("label_file", "label_sha256")


@dataclass(frozen=True)
class Verdict:
    """What is said of one annotation.

    Args:
        keep: whether it agrees.
        measures: numbers that are kept with the object.
    """

    keep: bool
    measures: Mapping[str, float]


def write_derived(
    finished: FinishedDataset,
    out: str | Path,
    verdicts: Mapping[int, Verdict],
    *,
    reason: str,
    facts: Record,
    mark: bool = False,
) -> Path:
    """Write the dataset again.

    Args:
        finished: of ``read_finished``.
        out: a new folder, or one that a run of this function left unfinished.
        verdicts: annotation id -> verdict, of every annotation.
        reason: of the dropped objects.
        facts: for dataset.json, under "derived".
        mark: keep all objects; those that do not agree have ``"consistent": 0`` in
            annotations.json, and their category is not exhaustively labelled in their image.

    Returns:
        The folder.

    Raises:
        InputError: ``out`` is not new, lies in the dataset itself, or a file of it is missing or
            damaged.
    """
    out = Path(out)
    check_destination(out)
    if (out / DATASET).is_file() or out.resolve() == finished.folder.resolve():
        raise InputError(f"{out} holds a dataset already; expected a new folder")
    records = apply_verdicts(finished.records, verdicts, reason, mark)
    out.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(out / LOCK)
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(f"another process is writing {out}") from None
    with lock:
        _write_files(finished, records, out, reason)
        dataset = {
            **finished.dataset,
            **summarise(records, finished.categories),
            "derived": {"reason": reason, "mark": mark, **facts},
        }
        dataset["quality"] = quality_report(records, finished.categories)
        lines = (json.dumps(to_manifest_line(r), ensure_ascii=False) + "\n" for r in records)
        page = render_gallery(records, finished.categories, dataset)
        annotations = to_annotations(records, finished.categories)
        write_json_atomic(out / "annotations.json", annotations)
        write_bytes_atomic(out / "manifest.jsonl", "".join(lines).encode())
        write_bytes_atomic(out / "gallery.html", page.encode())
        write_bytes_atomic(out / DATASET, f"{to_readable_json(dataset)}\n".encode())
    return out


def apply_verdicts(
    records: list[Record], verdicts: Mapping[int, Verdict], reason: str, mark: bool
) -> list[Record]:
    """The records with rejected or marked objects; a canvas without any is rejected.

    Annotation ids count the accepted objects through, from 1, as ``to_annotations`` does.
    """
    records = copy.deepcopy(records)
    number = 0
    for record in records:
        for obj in record["objects"]:
            if obj["reason"]:
                continue
            number += 1
            verdict = verdicts[number]
            if verdict.measures:
                obj["measures"] = {**obj.get("measures", {}), **verdict.measures}
            if verdict.keep:
                continue
            if mark:
                obj[CONSISTENT] = 0
                noted = {*record.get("not_exhaustive", ()), obj["category_id"]}
                record["not_exhaustive"] = sorted(noted)
            else:
                obj["reason"] = reason
        accepted = record["outcome"] == ACCEPTED
        if accepted and all(obj["reason"] for obj in record["objects"]):
            record["outcome"] = REJECTED
    return records


def _write_files(finished: FinishedDataset, records: list[Record], out: Path, reason: str) -> None:
    """Images and label maps; then records of rejected objects lose what only accepted ones have."""
    path = finished.folder / PANOPTIC
    panoptic = _read_panoptic(path) if path.is_file() else None
    infos = {a["image_id"]: a["segments_info"] for a in panoptic["annotations"]} if panoptic else {}
    places = {category["id"]: k for k, category in enumerate(finished.categories, start=1)}
    for record, before in zip(records, finished.records, strict=True):
        if before["outcome"] != ACCEPTED:
            continue
        pairs = zip(record["objects"], before["objects"], strict=True)
        kept = [obj for obj, old in pairs if not old["reason"]]
        dropped = [obj["reason"] == reason and "segmentation" in obj for obj in kept]
        if record["outcome"] == ACCEPTED:
            _link(finished.folder / record["file_name"], out / record["file_name"])
        if record["outcome"] == ACCEPTED and "label_file" in record:
            drop: Callable[[LabelMap], LabelMap]
            if panoptic is None:
                gone_objects = [obj for obj, gone in zip(kept, dropped, strict=True) if gone]
                drop = _ignore_values([places[obj["category_id"]] for obj in gone_objects])
            else:
                segments = infos.get(record["image_id"], [])
                if len(segments) != len(kept):
                    raise InputError(
                        f"{path} has {len(segments)} segments of image {record['image_id']}: "
                        f"expected {len(kept)}, as many as objects of annotations.json"
                    )
                gone_ids = [s["id"] for s, gone in zip(segments, dropped, strict=True) if gone]
                drop = _clear_segments(gone_ids)
                infos[record["image_id"]] = [s for s in segments if s["id"] not in gone_ids]
            _copy_labels(finished.folder, out, record, any(dropped), drop)
        if any(dropped):
            _picture_dropped(finished.folder / before["file_name"], kept, dropped)
        for obj in record["objects"]:
            if obj["reason"]:
                for key in ("segmentation", "area", "bbox"):
                    obj.pop(key, None)
        if record["outcome"] != ACCEPTED:
            infos.pop(record["image_id"], None)
            for key in (*_FILE_KEYS, *_LABEL_KEYS):
                record.pop(key, None)
    if panoptic is not None:
        images = [image for image in panoptic["images"] if image["id"] in infos]
        entries = [
            {**entry, "segments_info": infos[entry["image_id"]]}
            for entry in panoptic["annotations"]
            if entry["image_id"] in infos
        ]
        write_json_atomic(out / PANOPTIC, {**panoptic, "images": images, "annotations": entries})


def _read_panoptic(path: Path) -> Record:
    data = read_lvis(path)
    if not all(isinstance(image, dict) and is_id(image.get("id")) for image in data["images"]):
        raise InputError(f"{path} has an image without an id: expected a COCO panoptic json")
    for entry in data["annotations"]:
        if not _is_entry(entry):
            raise InputError(
                f"{path}: annotation {shown(entry)}: expected an image_id and segments_info with "
                "ids, as a COCO panoptic json has them"
            )
    return data


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict) or not is_id(entry.get("image_id")):
        return False
    infos = entry.get("segments_info")
    return isinstance(infos, list) and all(
        isinstance(info, dict) and is_id(info.get("id")) for info in infos
    )


def _ignore_values(values: list[int]) -> Callable[[LabelMap], LabelMap]:
    def change(labels: LabelMap) -> LabelMap:
        return np.where(np.isin(labels, values), np.iinfo(labels.dtype).max, labels)

    return change


def _clear_segments(ids: list[int]) -> Callable[[LabelMap], LabelMap]:
    def change(pixels: LabelMap) -> LabelMap:
        gone = np.isin(decode_panoptic(pixels), ids)
        return np.where(gone[..., None], np.uint8(0), pixels)

    return change


def _copy_labels(
    folder: Path, out: Path, record: Record, changed: bool, change: Callable[[LabelMap], LabelMap]
) -> None:
    source, target = folder / record["label_file"], out / record["label_file"]
    if not changed:
        _link(source, target)
        return
    with Image.open(source) as file:
        labels = np.asarray(file)
    png = to_png(change(labels).astype(labels.dtype))
    target.parent.mkdir(exist_ok=True)
    write_bytes_atomic(target, png)
    record["label_sha256"] = hashlib.sha256(png).hexdigest()


def _picture_dropped(image: Path, kept: list[Record], dropped: list[bool]) -> None:
    """A picture of each dropped object for the gallery."""
    with Image.open(image) as file:
        pixels = np.asarray(file.convert("RGB"))
    for obj, gone in zip(kept, dropped, strict=True):
        if gone:
            left, top, width, height = (int(value) for value in obj["bbox"])
            obj["thumbnail"] = to_thumbnail(
                pixels[top : top + height, left : left + width], REJECT_SIDE
            )


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise InputError(f"{source} is missing: expected a whole dataset") from None
    except OSError:
        shutil.copyfile(source, target)


def known_facts(finished: FinishedDataset) -> dict[str, Any]:
    """What identifies the dataset that another one is derived from."""
    keys = ("config_hash", "weights_sha256", "counts", "derived")
    return {key: finished.dataset[key] for key in keys if key in finished.dataset}
