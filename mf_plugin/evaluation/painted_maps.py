"""What Text2Mask paints for captions: read from a MaskSyn folder, or painted for a real dataset.

Both give what `caption_agreement.measure_agreement` takes: the category ids that each caption
names, and those of the segments of each map. Segments that MaskSyn's gates drop for what they
are, whatever the caption says (too small, too large, of low confidence), become no object, and
count only where every segment is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from mf_plugin.errors import InputError
from mf_plugin.evaluation.rare import GroundTruth
from mf_plugin.jsonfile import MOST_LEVELS, parse_json
from mf_plugin.seggen.captions import compose_caption, expect_categories
from mf_plugin.seggen.colormap import MIN_AREA, decode
from mf_plugin.seggen.gates import MISSING, NO_OBJECT, GateConfig, segment_reason
from mf_plugin.seggen.sampling import Images
from mf_plugin.seggen.text2mask import Text2Mask
from mf_plugin.vocabulary import Vocabulary


@dataclass(frozen=True)
class PaintedMaps:
    """N captions and what a MaskSyn run painted for them.

    Attributes:
        captions: N texts.
        named: category ids that each names, one for each object.
        painted: category ids of the segments that count, of each map.
    """

    captions: tuple[str, ...]
    named: tuple[tuple[int, ...], ...]
    painted: tuple[tuple[int, ...], ...]


def read_masksyn(folder: str | Path, *, every: bool = False) -> PaintedMaps:
    """The painted maps of a finished MaskSyn folder, from its manifest.

    Args:
        folder: of the run; its gates were those of its config.
        every: whether segments that these gates dropped count too; those that they dropped as
            not in the caption always do.

    Raises:
        InputError: no manifest, one that is damaged or of another system, or captions without a
            known category.
    """
    uncounted = (MISSING,) if every else (MISSING, *NO_OBJECT)
    path = Path(folder) / "manifest.jsonl"
    vocabulary = Vocabulary.from_lvis_json(Path(folder) / "annotations.json")
    try:
        lines = path.read_bytes().splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    known = {category.id for category in vocabulary}
    found = []
    for number, text in enumerate(lines, start=1):
        name = f"{path} line {number}"
        line = parse_json(text, name, levels=MOST_LEVELS)
        if not _is_painted(line, known):
            raise InputError(
                f"{name} has no caption with category_ids and reasons: expected the folder of a "
                "MaskSyn run"
            )
        if line["caption"]:
            pairs = zip(line["category_ids"], line["reasons"], strict=True)
            painted = tuple(id_ for id_, reason in pairs if reason not in uncounted)
            try:
                named = expect_categories(line["caption"], vocabulary)
            except InputError as error:
                raise InputError(f"{name}: {error}") from None
            found.append((line["caption"], named, painted))
    if not found:
        raise InputError(f"{path} has no captions: expected those of painted maps")
    captions, named_ids, painted_ids = zip(*found, strict=True)
    return PaintedMaps(captions, named_ids, painted_ids)


def _is_painted(line: Any, known: set[int]) -> bool:
    if not isinstance(line, Mapping) or not isinstance(line.get("caption"), str):
        return False
    ids, reasons = line.get("category_ids"), line.get("reasons")
    if not isinstance(ids, list) or not isinstance(reasons, list) or len(ids) != len(reasons):
        return False
    return all(type(id_) is int and id_ in known for id_ in ids)


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


def paint_maps(
    model: Text2Mask,
    captions: Sequence[str],
    *,
    seed: int = 0,
    steps: int = 50,
    guidance: float = 7.5,
    batch_size: int = 4,
) -> Images:
    """Paint a map for each caption, each from a seed of its own: uint8[N, H, W, 3]."""
    painted = []
    for start in tqdm(range(0, len(captions), batch_size), desc="painting maps", unit="batch"):
        some = list(captions[start : start + batch_size])
        seeds = [seed + start + place for place in range(len(some))]
        painted.append(model(some, seeds=seeds, steps=steps, guidance=guidance))
    return np.concatenate(painted)


def read_maps(
    model: Text2Mask,
    maps: Images,
    named: Sequence[Sequence[int]],
    *,
    caption_colors: bool = False,
    min_area: int = MIN_AREA,
    gates: GateConfig | None = None,
) -> list[tuple[int, ...]]:
    """The categories of the segments of each map, one for each segment.

    Args:
        model: that painted them.
        maps: uint8[N, H, W, 3].
        named: category ids that each caption names.
        caption_colors: whether a map is read in the colours of these alone, and not in all of the
            palette (`synthesis.SegGenConfig.text2mask_colors`). Then maps of other captions say
            what agreement is by chance.
        min_area: smaller parts go to their surroundings.
        gates: the segments that they drop for size or confidence do not count; None counts all.
    """
    painted = []
    for image, ids in zip(maps, named, strict=True):
        palette = model.reading_palette.only(ids) if caption_colors else model.reading_palette
        segments = decode(image, palette, model.kind, min_area=min_area, reach=model.reach)
        counting = [s for s in segments if gates is None or not segment_reason(s, gates)]
        painted.append(tuple(segment.category_id for segment in counting))
    return painted
