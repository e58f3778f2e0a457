"""Of several images over one colour map, the one in which a detector sees its masks best.

Rejection sampling: a generator paints each colour map ``variants`` times, and a detector that has
been trained on the real training images chooses. No map is lost, unlike with the consistency
filter, whose matching this is. What judges a dataset must be another model than what chose it.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np

from mf_plugin.errors import InputError
from mf_plugin.evaluation.consistency import AGREEMENT, ConsistencyConfig, find_verdicts, run_facts
from mf_plugin.generation.derive import Verdict, write_derived
from mf_plugin.generation.finished import read_finished
from mf_plugin.generation.records import ACCEPTED, Record

OTHER_VARIANT = "other_variant"


def choose_variants(
    dataset: str | Path, results: str | Path, out: str | Path, config: ConsistencyConfig
) -> Path:
    """Write a dataset folder with one image of each colour map.

    The image is kept whose instances have the highest mean agreement: an instance's is the IoU of
    its mask with the matched detection's, and 0 where the two do not agree under ``config``. Of
    equal images the first is kept.

    Args:
        dataset: a finished dataset folder, generated with ``variants`` above 1.
        results: json of a detector with masks, run on its images.
        out: the new folder.
        config: when an instance and a detection agree.

    Raises:
        InputError: the folder is not finished or has one variant of each map, the results are not
            its, ``config`` marks, or ``out`` is not new.
    """
    if config.mark:
        raise InputError("mark is True; expected False where the best variant is chosen")
    finished = read_finished(dataset)
    if not any(record.get("variant", 0) for record in finished.records):
        raise InputError(f"{dataset} has one image of each colour map; expected several variants")
    verdicts = find_verdicts(dataset, results, config)
    kept = find_best(finished.records, verdicts)
    chosen = {
        number: Verdict(number in kept, verdict.measures) for number, verdict in verdicts.items()
    }
    facts = run_facts(finished, results, config)
    facts[OTHER_VARIANT] = len(verdicts) - len(kept)
    return write_derived(finished, out, chosen, reason=OTHER_VARIANT, facts=facts)


def find_best(records: list[Record], verdicts: dict[int, Verdict]) -> set[int]:
    """Ids of the annotations of the best image of each colour map.

    Annotation ids count the accepted objects through, from 1, as ``to_annotations`` does.
    """
    of_map: dict[int, list[list[int]]] = defaultdict(list)
    number = 0
    for record in records:
        if record["outcome"] != ACCEPTED:
            continue
        count = sum(not obj["reason"] for obj in record["objects"])
        of_map[record["index"] - record.get("variant", 0)].append(
            list(range(number + 1, number + count + 1))
        )
        number += count

    def agreement(ids: list[int]) -> float:
        found = [v.measures[AGREEMENT] if v.keep else 0.0 for v in map(verdicts.__getitem__, ids)]
        return float(np.mean(found))

    return {id_ for images in of_map.values() for id_ in max(images, key=agreement)}
