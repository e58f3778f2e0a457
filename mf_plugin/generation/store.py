"""The dataset folder (shared design, contract 2): groups in, crash-safe, resumable, finalised.

A group is done when its record ``groups/<index>.json`` exists; the record is renamed into place
after the group's images are. ``finalise`` builds every other file from the records, in plan order,
``dataset.json`` last: a folder that has it is complete. So a process may die anywhere, and the next
one goes on and ends with the same bytes.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mf_plugin.errors import InputError
from mf_plugin.generation.config import differences
from mf_plugin.generation.gallery import render_gallery
from mf_plugin.generation.panoptic import PANOPTIC, to_panoptic
from mf_plugin.generation.quality import quality_report
from mf_plugin.generation.readable import to_readable_json
from mf_plugin.generation.records import (
    ACCEPTED,
    LABELS,
    EncodedCanvas,
    Record,
    count_objects,
    summarise,
    to_annotations,
    to_manifest_line,
)
from mf_plugin.lvis.io import write_bytes_atomic, write_json_atomic

logger = logging.getLogger(__name__)

DATASET = "dataset.json"
LOCK = ".generate.lock"
_STAGING = "groups"
_IDENTITY = "identity.json"
_FILES = (DATASET, "annotations.json", PANOPTIC, "manifest.jsonl", "gallery.html", "run.json")


def check_destination(folder: Path) -> None:
    """See that a dataset can be written to ``folder``, without writing anything.

    Raises:
        InputError: it lies below something that is not a folder, is not writable, or holds files
            that no run of generation has left.
    """
    parent = folder
    while not parent.exists() and not parent.is_symlink():
        parent = parent.parent
    if not parent.is_dir():
        raise InputError(f"cannot write {folder}: {parent} is not a folder")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise InputError(f"cannot write {folder}: no permission to write in {parent}")
    if parent == folder and not (folder / LOCK).is_file() and not (folder / DATASET).is_file():
        foreign = sorted(path.name for path in folder.iterdir())
        if foreign:
            raise InputError(
                f"{folder} holds other files ({foreign[0]}); expected a new or empty folder, or "
                "one that an earlier run of generation left"
            )


def check_resumable(folder: Path, identity: dict[str, Any]) -> bool:
    """See that what an earlier run left in ``folder``, if anything, is of the same settings.

    Args:
        identity: what the content depends on, JSON values; other keys are not compared.

    Returns:
        Whether the dataset is complete.

    Raises:
        InputError: names each setting that differs, old -> new; or the folder is damaged.
    """
    for path in (folder / DATASET, folder / _STAGING / _IDENTITY):
        if not path.is_file():
            continue
        try:
            old = json.loads(path.read_text(encoding="utf-8"))
            old = {key: old.get(key) for key in identity if key != "config_hash"}
        except (ValueError, AttributeError) as error:
            raise InputError(f"{path} is damaged ({error}); remove {folder}") from error
        found = differences(old, {key: identity[key] for key in old})
        if found:
            raise InputError(
                f"{folder} was begun with other settings ({'; '.join(found)}); "
                "choose another folder or remove this one"
            )
        return path.name == DATASET
    return False


class DatasetStore:
    """One dataset folder, held under a lock while the context lasts.

    Args:
        folder: where the dataset goes; made if it is not there.
        identity: what the content depends on besides the index: config, vocabulary, model. JSON
            values; they open dataset.json.
        environment: device and versions, JSON values. Noted with each group; where it changes on
            the way, dataset.json says so.
        categories: LVIS category dicts of the vocabulary, in its order.

    Raises (on entering):
        InputError: another process holds the folder, or it was begun with another identity.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        identity: dict[str, Any],
        environment: dict[str, Any],
        categories: list[Record],
    ) -> None:
        self.folder = Path(folder)
        self.identity = identity
        self.environment = environment
        self.categories = categories
        self._staging = self.folder / _STAGING
        self._lock = FileLock(self.folder / LOCK)

    def __enter__(self) -> DatasetStore:
        check_destination(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise InputError(f"another process is writing {self.folder}") from None
        try:
            self._open()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if error is not None and not self.complete and not any(self._staging.glob("[0-9]*.json")):
            remove_dataset(self.folder)
        self._lock.release()

    @property
    def complete(self) -> bool:
        """Whether the dataset is finished."""
        return (self.folder / DATASET).is_file()

    def outcomes(self, group: int) -> Counter[str] | None:
        """Objects of a group by outcome ("accepted" or the reason); None if it is not done."""
        records = self.records(group)
        return None if records is None else count_objects(records)

    def records(self, group: int) -> list[Record] | None:
        """The canvases of a group; None if it is not done."""
        content = self._read(group)
        if content is None:
            return None
        accepted = [r for r in content["canvases"] if r["outcome"] == ACCEPTED]
        files = [r[key] for r in accepted for key in ("file_name", "label_file") if key in r]
        if not all((self.folder / name).is_file() for name in files):
            return None
        return content["canvases"]

    def add(
        self,
        group: int,
        canvases: Sequence[EncodedCanvas],
        seconds: float = 0.0,
        environment: dict[str, Any] | None = None,
    ) -> Counter[str]:
        """Write a group, which is done when this returns, and return its objects by outcome.

        Args:
            environment: of who made it, if that is not the store's own.
        """
        records = []
        for record, files in canvases:
            for name, content in files.items():
                path = self.folder / name
                path.parent.mkdir(exist_ok=True)
                write_bytes_atomic(path, content)
            records.append(record)
        group_record = {
            "canvases": records,
            "environment": environment or self.environment,
            "seconds": seconds,
        }
        write_json_atomic(self._path(group), group_record)
        return count_objects(records)

    def finalise(
        self, num_groups: int, run: dict[str, Any], facts: dict[str, Any] | None = None
    ) -> Path:
        """Assemble the dataset out of groups 0 to ``num_groups`` - 1 and return its folder.

        Args:
            run: facts for run.json, which may differ from run to run.
            facts: further facts for dataset.json, which may not.

        Raises:
            ValueError: a group is not done.
        """
        if self.complete:
            return self.folder
        records: list[Record] = []
        environments: list[dict[str, Any]] = []
        seconds = 0.0
        for group in range(num_groups):
            content = self._read(group)
            if content is None:
                raise ValueError(f"group {group} of {num_groups} is not done")
            records += content["canvases"]
            seconds += content["seconds"]
            if content["environment"] not in environments:
                environments.append(content["environment"])
        first, *later = environments
        counts = summarise(records, self.categories)
        dataset = {**self.identity, **first, **(facts or {}), **counts}
        if later:
            dataset["later_environments"] = later
        dataset["quality"] = quality_report(records, self.categories)
        manifest = "".join(
            json.dumps(to_manifest_line(record), ensure_ascii=False) + "\n" for record in records
        )
        gallery = render_gallery(records, self.categories, dataset)
        annotations = to_annotations(records, self.categories)
        write_json_atomic(self.folder / "annotations.json", annotations)
        if any("segments_info" in record for record in records):
            panoptic = to_panoptic(records, self.categories, self.identity["things"])
            write_json_atomic(self.folder / PANOPTIC, panoptic)
        write_bytes_atomic(self.folder / "manifest.jsonl", manifest.encode())
        write_bytes_atomic(self.folder / "gallery.html", gallery.encode())
        run = {**run, "group_seconds": round(seconds, 3)}
        write_json_atomic(self.folder / "run.json", run, indent=1)
        write_bytes_atomic(self.folder / DATASET, f"{to_readable_json(dataset)}\n".encode())
        remove_staging(self.folder)
        return self.folder

    def _open(self) -> None:
        if check_resumable(self.folder, self.identity):
            remove_staging(self.folder)
            return
        folders = (self.folder, self.folder / "images", self._staging)
        for folder in folders:
            folder.mkdir(exist_ok=True)
        for folder in (*folders, self.folder / LABELS):
            for leftover in folder.glob(".*.tmp"):
                leftover.unlink()
        if not (self._staging / _IDENTITY).is_file():
            write_json_atomic(self._staging / _IDENTITY, self.identity)

    def _path(self, group: int) -> Path:
        return self._staging / f"{group:08d}.json"

    def _read(self, group: int) -> dict[str, Any] | None:
        try:
            return json.loads(self._path(group).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError:
            logger.warning("%s is damaged: the group is made again", self._path(group))
            return None


def remove_staging(folder: Path) -> None:
    """Remove the groups of a complete dataset; a process may die before it has done so."""
    shutil.rmtree(folder / _STAGING, ignore_errors=True)


def remove_dataset(folder: Path) -> None:
    """Remove what a store writes and nothing else; the folder too, if nothing else is in it."""
    if not folder.is_dir():
        return
    for name in (*_FILES, *(f".{name}.tmp" for name in _FILES)):
        (folder / name).unlink(missing_ok=True)
    for name in ("images", LABELS, _STAGING):
        shutil.rmtree(folder / name, ignore_errors=True)
    if [path.name for path in folder.iterdir()] in ([], [LOCK]):
        (folder / LOCK).unlink(missing_ok=True)
        folder.rmdir()
