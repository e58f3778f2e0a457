"""A finished dataset folder read back, and its report written again.

The records come from manifest.jsonl and annotations.json, the thumbnails from gallery.html, which
alone has them. So the report can be made again, with a judge's scores or without, long after the
groups' own records are gone; the images and annotations are not touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from mf_plugin.errors import InputError
from mf_plugin.generation.gallery import read_thumbnails, render_gallery
from mf_plugin.generation.quality import JudgeScores, quality_report
from mf_plugin.generation.readable import to_readable_json
from mf_plugin.generation.record_checks import check_dataset
from mf_plugin.generation.records import Record, from_files
from mf_plugin.generation.storage import LOCK
from mf_plugin.generation.store import DATASET
from mf_plugin.jsonfile import MOST_LEVELS, parse_json, read_json
from mf_plugin.lvis.io import read_lvis, validate_lvis, write_bytes_atomic


@dataclass(frozen=True)
class FinishedDataset:
    """A complete dataset folder.

    Args:
        folder: where it lies.
        records: as in records.py, in plan order.
        categories: LVIS category dicts of the vocabulary.
        dataset: the content of dataset.json.
    """

    folder: Path
    records: list[Record]
    categories: list[Record]
    dataset: Record


def read_finished(folder: str | Path) -> FinishedDataset:
    """Read a complete dataset folder.

    Raises:
        InputError: it is not complete, or its files do not belong together.
    """
    folder = Path(folder)
    if not (folder / DATASET).is_file():
        raise InputError(f"{folder} has no {DATASET}: expected a finished dataset folder")
    annotations = read_lvis(folder / "annotations.json")
    try:
        validate_lvis(annotations)
    except InputError as error:
        raise InputError(f"{folder / 'annotations.json'}: {error}") from None
    dataset = read_json(folder / DATASET, "a finished dataset", levels=MOST_LEVELS)
    try:
        check_dataset(dataset)
        records = from_files(_read_manifest(folder / "manifest.jsonl"), annotations)
    except InputError as error:
        raise InputError(f"{folder}: manifest.jsonl or {DATASET} is damaged ({error})") from None
    _add_thumbnails(folder / "gallery.html", records)
    return FinishedDataset(folder, records, annotations["categories"], dataset)


def rewrite_report(
    folder: str | Path,
    judge: Callable[[FinishedDataset], JudgeScores] | None = None,
) -> Record:
    """Make the quality report of a finished dataset again and write dataset.json and gallery.html.

    Each file is replaced whole. A process that dies between the two leaves a page that is newer
    than dataset.json; the same call again mends it.

    Args:
        judge: scores the accepted objects; without one the report has no scores.

    Returns:
        The report.

    Raises:
        InputError: the folder is no finished dataset, or another process writes it.
    """
    folder = Path(folder)
    if not (folder / DATASET).is_file():
        raise InputError(f"{folder} has no {DATASET}: expected a finished dataset folder")
    with ExitStack() as held:
        try:
            held.enter_context(FileLock(folder / LOCK, timeout=0))
        except Timeout:
            raise InputError(f"another process is writing {folder}") from None
        finished = read_finished(folder)
        scores = judge(finished) if judge is not None else None
        quality = quality_report(finished.records, finished.categories, scores)
        dataset = {**finished.dataset, "quality": quality}
        page = render_gallery(finished.records, finished.categories, dataset, scores)
        write_bytes_atomic(folder / "gallery.html", page.encode())
        write_bytes_atomic(folder / DATASET, f"{to_readable_json(dataset)}\n".encode())
    return quality


def _read_manifest(path: Path) -> Iterator[Record]:
    if not path.is_file():
        raise InputError(f"{path} is missing: expected a finished dataset")
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            name = f"{path.name} line {number}"
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise InputError(f"{name} is no UTF-8 ({error})") from None
            yield parse_json(text, name, levels=MOST_LEVELS)


def _add_thumbnails(page: Path, records: list[Record]) -> None:
    if not page.is_file():
        return
    try:
        found = read_thumbnails(page.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{page} is damaged ({error}): remove it, it is made again") from None
    for record in records:
        for position, holder in ((None, record), *enumerate(record["objects"])):
            thumbnail = found.get((record["index"], position))
            if thumbnail is not None:
                holder["thumbnail"] = thumbnail
        if (record["index"], "conditioning") in found:
            record["conditioning"] = found[record["index"], "conditioning"]
