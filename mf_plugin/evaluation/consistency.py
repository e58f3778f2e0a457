"""The consistency filter: does a detector see an instance where its mask says it is?

A generated image may not show what its mask says. A detector that has been trained on the real
training images segments the generated ones; an instance that no detection agrees with is dropped or
marked. What it is trained on matters: whatever selects training data must not have seen the data
that is tested on. The matching is that of `valid_instances`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mf_plugin.errors import InputError
from mf_plugin.evaluation.valid_instances import (
    MIN_IOU,
    NO_MASK,
    VALID,
    judge_instances,
    load_dataset,
    load_detections,
)
from mf_plugin.generation.derive import Verdict, known_facts, write_derived
from mf_plugin.generation.finished import FinishedDataset, read_finished

INCONSISTENT = "inconsistent"
AGREEMENT = "agreement"  # a measure of each object: IoU of its mask with the detection's
MATCHES = ("mask", "category")


@dataclass(frozen=True)
class ConsistencyConfig:
    """When an instance and the detections agree.

    Args:
        min_iou: of its mask with a detection's.
        min_score: from which detections count.
        match: "mask": a detection of any category agrees, since a detector that knows few examples
            of a rare category names it wrongly; "category": it has to name the instance's.
        mark: keep and mark, instead of drop.
    """

    min_iou: float = MIN_IOU
    min_score: float = 0.3
    match: str = "mask"
    mark: bool = False

    def __post_init__(self) -> None:
        for name in ("min_iou", "min_score"):
            if not 0 < getattr(self, name) <= 1:
                raise InputError(f"{name} is {getattr(self, name)}; expected above 0, up to 1")
        if self.match not in MATCHES:
            raise InputError(f"match is {self.match!r}; expected one of {MATCHES}")


def find_verdicts(
    dataset: str | Path | Mapping[str, Any],
    results: str | Path | list[Mapping[str, Any]],
    config: ConsistencyConfig,
) -> dict[int, Verdict]:
    """Annotation id -> whether a detection agrees, and how well.

    Args:
        dataset: folder, or the content of its annotations.json.
        results: json of a detector with masks, run on the folder's images.

    Raises:
        InputError: names the first bad entry.
    """
    truth = load_dataset(dataset)
    detections = load_detections(results, truth)
    verdicts = judge_instances(truth, detections, config.min_score, config.min_iou)
    agree = {VALID} if config.match == "category" else None
    return {
        verdict.annotation_id: Verdict(
            verdict.outcome in agree if agree else verdict.outcome != NO_MASK,
            {AGREEMENT: round(verdict.iou, 4)},
        )
        for verdict in verdicts
    }


def filter_consistency(
    dataset: str | Path, results: str | Path, out: str | Path, config: ConsistencyConfig
) -> Path:
    """Write a dataset folder without the instances that a detector does not see.

    Args:
        dataset: a finished dataset folder.
        results: json of a detector with masks, run on its images.
        out: the new folder.

    Raises:
        InputError: the folder is not finished, the results are not its, or ``out`` is not new.
    """
    finished = read_finished(dataset)
    verdicts = find_verdicts(dataset, results, config)
    facts = run_facts(finished, results, config)
    facts[INCONSISTENT] = sum(not verdict.keep for verdict in verdicts.values())
    return write_derived(
        finished, out, verdicts, reason=INCONSISTENT, facts=facts, mark=config.mark
    )


def run_facts(
    finished: FinishedDataset, results: str | Path, config: ConsistencyConfig
) -> dict[str, Any]:
    """What a detector's choice depends on, for dataset.json; JSON values."""
    with open(results, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {**asdict(config), "results_sha256": digest, "from": known_facts(finished)}
