"""Records: one small json for each training, from which tables are made without anything else."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from mf_plugin.benchmark.config import BenchmarkConfig
from mf_plugin.benchmark.plan import Training
from mf_plugin.benchmark.steps import DONE, Step, ordered
from mf_plugin.errors import InputError
from mf_plugin.lvis.io import write_json_atomic

VERSION = 1
MEASURED = ("metrics", "fixed", "per_category", "categories", "images", "bootstrap")
Key = tuple[str, str, int]  # detector, arm, seed


def write_records(
    config: BenchmarkConfig, trainings: Iterable[Training], out: Path, folder: Path
) -> list[Path]:
    """Write a record for each training that has been measured.

    The file of a cell of the table is replaced by the latest one; the hash in it tells which
    training it is, and OUT keeps them all.

    Args:
        config: what is compared.
        trainings: of its plan.
        out: folder of all results.
        folder: where records go, as PRESET_SPLIT_DETECTOR_ARM_seedN.json.

    Returns:
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for training in trainings:
        if not training.record.is_done(out):
            continue
        content = {
            "version": VERSION,
            "preset": config.preset,
            "split": config.split,
            "detector": training.detector,
            "arm": training.arm,
            "seed": training.seed,
            "hash": training.record.hash,
            **_read(training.record.result_file(out)),
            "steps": [_read(step.folder(out) / DONE) for step in ordered([training.record])],
        }
        content["synthetic"] = _counts(training.record, out)
        path = folder / record_name(config, training.detector, training.arm, training.seed)
        write_json_atomic(path, content)
        written.append(path)
    return written


def record_name(config: BenchmarkConfig, detector: str, arm: str, seed: int) -> str:
    """File name of a record."""
    return f"{config.preset}_{config.split}_{detector}_{arm}_seed{seed}.json"


def read_records(
    config: BenchmarkConfig, folder: Path, among: Collection[Path] | None = None
) -> dict[Key, dict[str, Any]]:
    """Those records of a folder that a benchmark asks for, by (detector, arm, seed).

    Args:
        config: what is compared.
        folder: of the records.
        among: these files alone; None: all that are there.

    Raises:
        InputError: there is none, one is damaged, or they were measured on different images or
            with different draws, so that they cannot be compared.
    """
    found: dict[Key, dict[str, Any]] = {}
    for detector in config.detectors:
        for arm in config.arms:
            for seed in config.seeds_of(arm):
                path = folder / record_name(config, detector.name, arm.name, seed)
                if path.is_file() if among is None else path in among:
                    found[detector.name, arm.name, seed] = _checked(_read(path), path)
    if not found:
        one = record_name(config, config.detectors[0].name, config.arms[0].name, config.seeds[0])
        raise InputError(f"{folder} holds no record of this benchmark; expected such as {one}")
    first_key, first = next(iter(found.items()))
    for key, record in found.items():
        for what in ("images", "categories", "draws", "seed"):
            if _basis(record)[what] != _basis(first)[what]:
                raise InputError(
                    f"records {first_key} and {key} of {folder} were measured with different "
                    f"{what}; run the benchmark again for one of them"
                )
    return found


def _basis(record: dict[str, Any]) -> dict[str, Any]:
    bootstrap = record["bootstrap"]
    basis = {key: record[key] for key in ("images", "categories")}
    return basis | {"draws": bootstrap["draws"], "seed": bootstrap["seed"]}


def _checked(record: dict[str, Any], path: Path) -> dict[str, Any]:
    missing = [key for key in MEASURED if key not in record]
    if missing or record.get("version") != VERSION:
        raise InputError(
            f"{path}: version {record.get('version')}, lacks {', '.join(missing) or 'nothing'}; "
            f"expected a record of version {VERSION}"
        )
    return record


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); expected a json") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: {type(content).__name__} at the top; expected a json object")
    return content


def _counts(record: Step, out: Path) -> dict[str, int] | None:
    """Images and instances of the dataset that was made for the training; None if none was."""
    # The last one: a detector may go on from the weights of another training (Detector.start).
    *_, train = (step for step in ordered([record]) if step.kind == "train")
    for step in train.needs:
        if step.kind in ("generate", "oracle"):
            data = _read(step.folder(out) / "dataset" / "annotations.json")
            return {"images": len(data["images"]), "instances": len(data["annotations"])}
    return None
