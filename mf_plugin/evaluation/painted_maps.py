"""What Text2Mask paints for captions: read from a MaskSyn folder, or sampled for a real dataset.

Both give what `caption_agreement.measure_agreement` takes: the category ids that each caption
names, and those of the segments of each map, before any gate has dropped some.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from mf_plugin.errors import InputError
from mf_plugin.evaluation.rare import GroundTruth
from mf_plugin.seggen.captions import compose_caption, expect_categories
from mf_plugin.seggen.colormap import MIN_AREA, decode
from mf_plugin.seggen.gates import MISSING
from mf_plugin.seggen.text2mask import Text2Mask
from mf_plugin.vocabulary import Vocabulary


@dataclass(frozen=True)
class PaintedMaps:
    """N captions and what was painted for them.

    Attributes:
        captions: N texts.
        named: category ids that each names, one for each object.
        painted: category ids of the segments of each map.
    """

    captions: tuple[str, ...]
    named: tuple[tuple[int, ...], ...]
    painted: tuple[tuple[int, ...], ...]


def read_masksyn(folder: str | Path) -> PaintedMaps:
    """The painted maps of a finished MaskSyn folder, from its manifest.

    Raises:
        InputError: no manifest, one of another system, or captions without a known category.
    """
    path = Path(folder) / "manifest.jsonl"
    vocabulary = Vocabulary.from_lvis_json(Path(folder) / "annotations.json")
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    found = []
    for line in lines:
        if not {"caption", "category_ids", "reasons"} <= line.keys():
            raise InputError(
                f"{path}: line {line.get('index')} has no caption with category_ids and reasons: "
                "expected the folder of a MaskSyn run"
            )
        if line["caption"]:
            pairs = zip(line["category_ids"], line["reasons"], strict=True)
            painted = tuple(id_ for id_, reason in pairs if reason != MISSING)
            named = expect_categories(line["caption"], vocabulary)
            found.append((line["caption"], named, painted))
    if not found:
        raise InputError(f"{path} has no captions: expected those of painted maps")
    captions, named_ids, painted_ids = zip(*found, strict=True)
    return PaintedMaps(captions, named_ids, painted_ids)


def compose_captions(dataset: GroundTruth, count: int) -> list[str]:
    """Captions of the first ``count`` images that have objects, the largest category first.

    Raises:
        InputError: fewer images have some.
    """
    vocabulary = Vocabulary.from_categories(dataset.data["categories"])
    areas: dict[int, dict[int, float]] = {}
    objects: dict[int, list[int]] = {}
    for annotation in dataset.data["annotations"]:
        image_id, category_id = annotation["image_id"], annotation["category_id"]
        objects.setdefault(image_id, []).append(category_id)
        image = areas.setdefault(image_id, {})
        image[category_id] = image.get(category_id, 0) + annotation["area"]
    if len(objects) < count:
        raise InputError(f"{dataset.name}: {len(objects)} images with objects, expected {count}")
    captions = []
    for image_id in sorted(objects)[:count]:
        ordered = sorted(objects[image_id], key=lambda c: (-areas[image_id][c], c))
        captions.append(compose_caption(ordered, vocabulary))
    return captions


def sample_maps(
    model: Text2Mask,
    captions: Sequence[str],
    vocabulary: Vocabulary,
    *,
    seed: int = 0,
    steps: int = 50,
    guidance: float = 7.5,
    batch_size: int = 4,
    min_area: int = MIN_AREA,
) -> PaintedMaps:
    """Paint and read a map for each caption, each from a seed of its own.

    Raises:
        InputError: a caption names no known category.
    """
    named = tuple(expect_categories(caption, vocabulary) for caption in captions)
    painted: list[tuple[int, ...]] = []
    for start in tqdm(range(0, len(captions), batch_size), desc="painting maps", unit="batch"):
        some = list(captions[start : start + batch_size])
        seeds = [seed + start + place for place in range(len(some))]
        for image in model(some, seeds=seeds, steps=steps, guidance=guidance):
            segments = decode(
                image, model.reading_palette, model.kind, min_area=min_area, reach=model.reach
            )
            painted.append(tuple(segment.category_id for segment in segments))
    return PaintedMaps(tuple(captions), named, tuple(painted))
