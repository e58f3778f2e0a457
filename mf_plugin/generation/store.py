"""The dataset folder (shared design, contract 2): groups in, crash-safe, resumable, finalised.

A group is done when its record ``groups/<index>.json`` exists; the record is renamed into place
after the group's images are. ``finalise`` builds every other file from the records, in plan order,
``dataset.json`` last: a folder that has it is complete. So a process may die anywhere, and the next
one goes on and ends with the same bytes.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from mf_plugin.errors import InputError
from mf_plugin.generation.config import differences
from mf_plugin.generation.gallery import render_gallery
from mf_plugin.generation.panoptic import PANOPTIC, to_panoptic
from mf_plugin.generation.quality import quality_report
from mf_plugin.generation.readable import to_readable_json
from mf_plugin.generation.record_checks import is_group
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
from mf_plugin.generation.storage import LOCK, Storage, open_storage
from mf_plugin.jsonfile import parse_json

logger = logging.getLogger(__name__)

DATASET = "dataset.json"
_STAGING = "groups"
_IDENTITY = f"{_STAGING}/identity.json"
_FILES = (DATASET, "annotations.json", PANOPTIC, "manifest.jsonl", "gallery.html", "run.json")


def check_destination(out: str | Path | Storage) -> None:
    """See that a dataset can be written to ``out``, without writing anything.

    Raises:
        InputError: it lies below something that is not a folder, is not writable, or holds files
            that no run of generation has left.
    """
    storage = open_storage(out)
    storage.check_writable()
    if not any(storage.exists(name) for name in (LOCK, DATASET, _IDENTITY)):
        foreign = sorted(storage.names())
        if foreign:
            raise InputError(
                f"{storage} holds other files ({foreign[0]}); expected a new or empty folder, or "
                "one that an earlier run of generation left"
            )


def check_resumable(out: str | Path | Storage, identity: dict[str, Any]) -> bool:
    """See that what an earlier run left in ``out``, if anything, is of the same settings.

    Args:
        identity: what the content depends on, JSON values; other keys are not compared.

    Returns:
        Whether the dataset is complete.

    Raises:
        InputError: names each setting that differs, old -> new; or the folder is damaged.
    """
    storage = open_storage(out)
    for name in (DATASET, _IDENTITY):
        if not storage.exists(name):
            continue
        try:
            old = parse_json(storage.read(name), f"{storage}/{name}")
            old = {key: old.get(key) for key in identity if key != "config_hash"}
        except (InputError, AttributeError) as error:
            raise InputError(f"{storage}/{name} is damaged ({error}); remove {storage}") from error
        found = differences(old, {key: identity[key] for key in old})
        if found:
            raise InputError(
                f"{storage} was begun with other settings ({'; '.join(found)}); "
                "choose another folder or remove this one"
            )
        return name == DATASET
    return False


class DatasetStore:
    """One dataset folder, held under a lock while the context lasts.

    Args:
        out: where the dataset goes, a folder or URL; made if it is not there.
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
        out: str | Path | Storage,
        *,
        identity: dict[str, Any],
        environment: dict[str, Any],
        categories: list[Record],
    ) -> None:
        self.storage = open_storage(out)
        self.identity = identity
        self.environment = environment
        self.categories = categories
        self._held = ExitStack()

    def __enter__(self) -> DatasetStore:
        check_destination(self.storage)
        with ExitStack() as held:
            held.enter_context(self.storage.hold())
            self._open()
            self._held = held.pop_all()
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        with self._held:
            if error is not None and not self.complete and not self._has_groups():
                remove_dataset(self.storage)

    @property
    def complete(self) -> bool:
        """Whether the dataset is finished."""
        return self.storage.exists(DATASET)

    def outcomes(self, group: int) -> Counter[str] | None:
        """Objects of a group by outcome ("accepted" or the reason); None if it is not done."""
        records = self.records(group)
        return None if records is None else count_objects(records)

    def records(self, group: int) -> list[Record] | None:
        """The canvases of a group; None if it is not done."""
        return next(self.records_of([group]))

    def records_of(self, groups: Iterable[int]) -> Iterator[list[Record] | None]:
        """``records`` of many groups, in their order."""
        numbers = list(groups)
        contents = self.storage.read_each(_path(group) for group in numbers)
        for group, raw in zip(numbers, contents, strict=True):
            content = self._decode(group, raw)
            canvases: list[Record] = [] if content is None else content["canvases"]
            accepted = [r for r in canvases if r["outcome"] == ACCEPTED]
            files = [r[key] for r in accepted for key in ("file_name", "label_file") if key in r]
            whole = content is not None and all(self.storage.exists(name) for name in files)
            yield canvases if whole else None

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
        self.storage.write({name: f for _, files in canvases for name, f in files.items()})
        records = [record for record, _ in canvases]
        group_record = {
            "canvases": records,
            "environment": environment or self.environment,
            "seconds": seconds,
        }
        self.storage.write_json(_path(group), group_record)
        return count_objects(records)

    def finalise(
        self, num_groups: int, run: dict[str, Any], facts: dict[str, Any] | None = None
    ) -> Path | str:
        """Assemble the dataset out of groups 0 to ``num_groups`` - 1 and return its folder or URL.

        Args:
            run: facts for run.json, which may differ from run to run.
            facts: further facts for dataset.json, which may not.

        Raises:
            ValueError: a group is not done.
        """
        if self.complete:
            return self.storage.root
        records: list[Record] = []
        environments: list[dict[str, Any]] = []
        seconds = 0.0
        contents = self.storage.read_each(_path(group) for group in range(num_groups))
        for group, raw in enumerate(contents):
            content = self._decode(group, raw)
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
        storage = self.storage
        storage.write_json("annotations.json", annotations)
        if any("segments_info" in record for record in records):
            panoptic = to_panoptic(records, self.categories, self.identity["things"])
            storage.write_json(PANOPTIC, panoptic)
        storage.write({"manifest.jsonl": manifest.encode()})
        storage.write({"gallery.html": gallery.encode()})
        storage.write_json("run.json", {**run, "group_seconds": round(seconds, 3)}, indent=1)
        storage.write({DATASET: f"{to_readable_json(dataset)}\n".encode()})
        remove_staging(storage)
        return storage.root

    def _has_groups(self) -> bool:
        return any(name[0].isdigit() for name in self.storage.names(_STAGING))

    def _open(self) -> None:
        if check_resumable(self.storage, self.identity):
            remove_staging(self.storage)
            return
        self.storage.prepare(("images", _STAGING))
        if not self.storage.exists(_IDENTITY):
            self.storage.write_json(_IDENTITY, self.identity)

    def _decode(self, group: int, raw: bytes | None) -> dict[str, Any] | None:
        if raw is None:
            return None
        name = f"{self.storage}/{_path(group)}"
        try:
            content: dict[str, Any] | None = parse_json(raw, name)
        except InputError:
            content = None
        if not is_group(content):
            logger.warning("%s is damaged: the group is made again", name)
            return None
        return content


def _path(group: int) -> str:
    return f"{_STAGING}/{group:08d}.json"


def remove_staging(out: str | Path | Storage) -> None:
    """Remove the groups of a complete dataset; a process may die before it has done so."""
    open_storage(out).remove([_STAGING])


def remove_dataset(out: str | Path | Storage) -> None:
    """Remove what a store writes and nothing else; the folder too, if nothing else is in it."""
    open_storage(out).remove([*_FILES, "images", LABELS, _STAGING])
