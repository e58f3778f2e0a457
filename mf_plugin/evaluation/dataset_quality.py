"""Class-confidence of a judge model over a finished synthetic dataset.

A judge sees each accepted object, cut out of its image with some of its surroundings, and says how
likely the asked category is. It only measures: nothing is kept or dropped for what it says.
Shapes: B crops, K categories of the judge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

from mf_plugin.arrays import Float32Array, Pixels
from mf_plugin.errors import InputError
from mf_plugin.evaluation.judge import (
    SIDE,
    JudgeConfig,
    held_out_accuracy,
    load_or_train_judge,
)
from mf_plugin.generation.finished import FinishedDataset
from mf_plugin.generation.quality import JudgeScores
from mf_plugin.generation.records import Record
from mf_plugin.lvis.paths import file_inside
from mf_plugin.lvis.sprites import preset_categories
from mf_plugin.mosaic.clip import ClipScorer

CROP_FILL = 0.75  # longer side of the object's box over the side of its crop
_MINILVIS, _CLIP = "minilvis:", "clip:"
_CHUNK = 256  # crops that are held at a time
_HELD_OUT = 1000  # fresh real compositions for the judge's own accuracy


@dataclass(frozen=True)
class DatasetJudge:
    """A model that names objects.

    Args:
        name: for the page.
        categories: names that it tells apart, K of them.
        classify: B square crops uint8[S, S, 3] of any sizes -> probabilities float[B, K].
        facts: what is known of it, for dataset.json.
    """

    name: str
    categories: tuple[str, ...]
    classify: Callable[[Sequence[Pixels]], Float32Array]
    facts: Mapping[str, float | str] = field(default_factory=dict)


def load_judge(source: str, dataset: FinishedDataset, progress: bool = False) -> DatasetJudge:
    """The judge that a ``--judge`` argument names.

    Args:
        source: ``minilvis:FOLDER``, the mini-LVIS judge, kept in FOLDER and trained where it is not
            there; or ``clip:MODEL``, a CLIP model of transformers: a folder,
            or a hub id, with ``@REVISION`` behind it where it is pinned.

    Raises:
        InputError: no such judge, or it knows fewer than two of the dataset's categories.
    """
    if source.startswith(_MINILVIS) and source != _MINILVIS:
        return _load_minilvis(Path(source.removeprefix(_MINILVIS)), dataset.categories, progress)
    if source.startswith(_CLIP) and source != _CLIP:
        return _load_clip(source.removeprefix(_CLIP), dataset.categories)
    raise InputError(f"judge {source!r}; expected minilvis:FOLDER or clip:MODEL")


def score_objects(
    dataset: FinishedDataset, judge: DatasetJudge, progress: bool = False
) -> JudgeScores:
    """Ask a judge about every accepted object of a category that it knows.

    Raises:
        InputError: an image is missing or damaged.
    """
    place = {name: k for k, name in enumerate(judge.categories)}
    names = {category["id"]: category["name"] for category in dataset.categories}
    confidence: dict[tuple[int, int], float] = {}
    named: dict[tuple[int, int], str] = {}
    waiting: list[tuple[tuple[int, int], int, Pixels]] = []

    def classify_waiting() -> None:
        probabilities = judge.classify([crop for _, _, crop in waiting])
        for (key, asked, _), row in zip(waiting, probabilities, strict=True):
            confidence[key] = float(row[asked])
            named[key] = judge.categories[int(np.argmax(row))]
        waiting.clear()

    for record in tqdm(dataset.records, desc="judging", unit="canvas", disable=not progress):
        for position, crop in _crop_accepted(dataset.folder, record, names, place):
            category = names[record["objects"][position]["category_id"]]
            waiting.append(((record["index"], position), place[category], crop))
        if len(waiting) >= _CHUNK:
            classify_waiting()
    if waiting:
        classify_waiting()
    return JudgeScores(judge.name, confidence, named, judge.facts)


def crop_object(image: Pixels, bbox: Sequence[float], fill: float = CROP_FILL) -> Pixels:
    """A square about a box, the border repeated where it leaves the image.

    Args:
        image: uint8[H, W, 3].
        bbox: [x, y, width, height] in pixels.
        fill: the box's longer side over the square's.

    Returns:
        uint8[S, S, 3].
    """
    x, y, width, height = bbox
    side = max(1, round(max(width, height) / fill))
    left, top = round(x + width / 2 - side / 2), round(y + height / 2 - side / 2)
    right, bottom = left + side, top + side
    rows, columns = image.shape[:2]
    inside = image[max(top, 0) : min(bottom, rows), max(left, 0) : min(right, columns)]
    margins = (max(-top, 0), max(bottom - rows, 0), max(-left, 0), max(right - columns, 0))
    square: Pixels = cv2.copyMakeBorder(inside, *margins, cv2.BORDER_REPLICATE)
    return square


def _crop_accepted(
    folder: Path, record: Record, names: Mapping[int, str], known: Mapping[str, int]
) -> Iterator[tuple[int, Pixels]]:
    positions = [
        position
        for position, obj in enumerate(record["objects"])
        if not obj["reason"] and names[obj["category_id"]] in known
    ]
    if not positions:
        return
    path = file_inside(folder, record["file_name"])
    try:
        image = np.asarray(Image.open(path).convert("RGB"))
    except OSError as error:
        raise InputError(f"image {path} cannot be read: {error}") from error
    for position in positions:
        yield position, crop_object(image, record["objects"][position]["bbox"])


def _load_minilvis(folder: Path, categories: Sequence[Record], progress: bool) -> DatasetJudge:
    """The judge over those of the dataset's categories that mini-LVIS has pictures of."""
    by_name = {category["name"]: category for category in preset_categories("all")}
    known = [by_name[c["name"]] for c in categories if c["name"] in by_name]
    if len(known) < 2:
        raise InputError(
            f"judge minilvis knows {len(known)} of the dataset's {len(categories)} categories; "
            "expected at least 2"
        )
    judge = load_or_train_judge(folder, known, JudgeConfig(), progress)
    return DatasetJudge(
        "the mini-LVIS judge",
        tuple(category["name"] for category in known),
        lambda crops: judge.classify(np.stack([_resize(crop, SIDE) for crop in crops])),
        {"held_out_top1": round(held_out_accuracy(judge, _HELD_OUT), 4)},
    )


def _resize(crop: Pixels, side: int) -> Pixels:
    smaller = crop.shape[0] > side
    interpolation = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    resized: Pixels = cv2.resize(crop, (side, side), interpolation=interpolation)
    return resized


def _load_clip(model: str, categories: Sequence[Record]) -> DatasetJudge:
    """CLIP over all categories of the dataset. The names keep what stands in their brackets: two
    categories with the same text would share their probability."""
    names = tuple(category["name"] for category in categories)
    if len(names) < 2:
        raise InputError(f"the dataset has {len(names)} category; expected 2 or more to tell apart")
    name, _, revision = (model, "", "") if Path(model).is_dir() else model.partition("@")
    scorer = ClipScorer(name, revision=revision or None)
    texts = [f"a photo of a {name.replace('_', ' ')}" for name in names]
    return DatasetJudge(f"CLIP {model}", names, lambda crops: scorer.class_confidence(crops, texts))
