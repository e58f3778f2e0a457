"""SegGen's readers: colour maps, and the files of its models and captions."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from mf_plugin.errors import InputError
from mf_plugin.evaluation.caption_agreement import measure_agreement
from mf_plugin.evaluation.painted_maps import read_masksyn
from mf_plugin.fuzz import seeds
from mf_plugin.fuzz.choices import Choices
from mf_plugin.fuzz.mutate import corrupt, mutate, to_bytes, write_mutated
from mf_plugin.seggen.captions import expect_categories, read_blip2_captions, read_coco_captions
from mf_plugin.seggen.colormap import KINDS, Segment, decode, encode
from mf_plugin.seggen.palette import Palette, make_palette
from mf_plugin.seggen.record import FILE, read_record, write_record
from mf_plugin.seggen.source import SourceConfig
from mf_plugin.seggen.sources import read_source
from mf_plugin.vocabulary import Vocabulary

_MOST_SIDE = 40  # pixels of a colour map
_MOST_COLORS = 12


def colormap(choices: Choices, folder: Path) -> None:
    """Read a colour map: drawn, mixed or noise, in a palette of chance; what comes is segments."""
    rng = np.random.default_rng(choices.below(1 << 16))
    palette = _palette(choices, rng)
    kind = choices.pick(KINDS)
    image = _painted(choices, rng, palette, kind)
    options = {
        name: choices.pick((default, 0, 1, 9, 60))
        for name, default in (("min_area", 30), ("reach", 5), ("join", 8))
    }
    stuff = palette.ids[: choices.below(3)] if choices.below(2) else (10**6,)
    wrong = choices.below(64)
    if wrong in (1, 2, 3):
        options[sorted(options)[wrong - 1]] = -1
    elif wrong == 4:
        kind = "stuff"
    elif wrong in (5, 6, 7, 8, 9, 10):
        others = (image[0], image[..., :2], image * 0.5, image[None], image[:0], image[:, :0])
        image = others[wrong - 5]
    with np.errstate(divide="raise", invalid="raise", over="raise"):
        segments = decode(image, palette, kind, stuff_ids=stuff, **options)
    whole = palette.ids if kind == "semantic" else stuff if kind == "panoptic" else ()
    _check_segments(segments, image.shape[:2], palette, whole)


def palette(choices: Choices, folder: Path) -> None:
    """Read a palette, write it again, and paint with it."""
    given = make_palette([2, 5, 11]).to_json()
    if choices.below(8):
        given = mutate(given, choices)
    found = Palette.from_json(given)
    again = Palette.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False)))
    if again != found or again.min_distance != found.min_distance or hash(again) != hash(found):
        raise AssertionError("a palette that is another one when it is read again")
    mask = np.ones((8, 8), dtype=bool)
    decode(encode([(found.ids[0], mask)], (8, 8), found, "instance"), found, "instance")


def seggen_record(choices: Choices, folder: Path) -> None:
    """Read a model's seggen.json, and write it again."""
    write_mutated(folder / FILE, seeds.seggen_record(), choices)
    found = read_record(folder, choices.pick((None, "text2mask", "mask2img")))
    (folder / "again").mkdir(exist_ok=True)
    write_record(folder / "again", found)
    again = read_record(folder / "again", found.what)
    if again != found or found.differences(again) or again.training != found.training:
        raise AssertionError("a record that is another one when it is read again")
    found.fill("a {caption}")


def captions(choices: Choices, folder: Path) -> None:
    """Read captions of COCO's form or BLIP-2's, and find what they name."""
    vocabulary = Vocabulary.from_categories(seeds.lvis()["categories"])
    said = seeds.captions()
    path = folder / "captions.json"
    if choices.below(3):
        ids = choices.pick((None, (1, 2), (7,)))
        found = read_coco_captions(write_mutated(path, said, choices), ids)
    else:
        said = {"captions": {str(one["image_id"]): one["caption"] for one in said["annotations"]}}
        blip2 = read_blip2_captions(write_mutated(path, said, choices))
        found = {image_id: (text,) for image_id, text in blip2.items()}
    json.dumps(sorted(found.items()), ensure_ascii=False).encode()
    for texts in found.values():
        for text in texts:
            if set(expect_categories(text, vocabulary)) - {1, 2, 3}:
                raise AssertionError(f"{text!r} names a category that is not there")


def source(choices: Choices, folder: Path) -> None:
    """Read a real data set of either json, with every mask that it gives, and every path."""
    labels = folder / "labels"
    labels.mkdir(exist_ok=True)
    for number in (1, 2):
        pixels = np.zeros((*seeds.SIDES, 3), np.uint8)
        pixels[3:8, 2:12, 0] = number
        Image.fromarray(pixels).save(labels / f"{number}.png")
    panoptic = bool(choices.below(2))
    data = seeds.panoptic() if panoptic else seeds.lvis()
    path = write_mutated(folder / "a.json", data, choices)
    config = SourceConfig(
        "panoptic" if panoptic else "instance", images=folder, annotations=path, labels=labels
    )
    found = read_source(config)
    for image in found.images:
        if not found.image_file(image.id).resolve().is_relative_to(folder.resolve()):
            raise AssertionError(f"{image.file_name!r} leads out of the folder")
        if set(found.not_exhaustive(image.id)) - {c.id for c in found.vocabulary}:
            raise AssertionError("an unknown category is not exhaustively labelled")
        try:
            segments = found.segments(image.id)
        except InputError:
            continue  # a label map that is not there
        if any(mask.shape != image.size or not mask.any() for _, mask in segments):
            raise AssertionError(f"a mask of image {image.id} is not of its size, or empty")


def masksyn(choices: Choices, folder: Path) -> None:
    """Read the painted maps of a MaskSyn folder, and measure them."""
    (folder / "annotations.json").write_bytes(to_bytes(seeds.lvis()))
    lines = seeds.masksyn_manifest()
    if choices.below(8):
        lines = mutate(lines, choices)
        lines = lines if isinstance(lines, list) else [lines]
    text = b"\n".join(map(to_bytes, lines))
    text = corrupt(text, choices) if choices.below(4) == 1 else text
    (folder / "manifest.jsonl").write_bytes(text)
    maps = read_masksyn(folder)
    measure_agreement(maps.named, maps.painted, num_draws=2)


def _palette(choices: Choices, rng: np.random.Generator) -> Palette:
    """Of `make_palette`, of colours of chance, or of such as an autoencoder may render."""
    count = 1 + choices.below(_MOST_COLORS)
    ids = sorted(rng.choice(1000, count, replace=False).tolist())
    palette = make_palette(ids)
    kind = choices.below(4)
    if kind == 1:
        levels = choices.pick((3, 4, 16))  # few: colours on one line with the border's
        places = rng.choice(levels**3, count + 2, replace=False)
        rows = np.stack([places % levels, places // levels % levels, places // levels**2], 1)
        colors = (rows * 255 // (levels - 1)).tolist()
        data = {"ids": ids, "colors": colors[2:], "background": colors[0], "border": colors[1]}
        return Palette.from_json({**data, "min_distance": 0.0})
    if kind == 2:
        shift = rng.integers(-90, 91, palette.all_colors.shape)
        rendered = (palette.all_colors + shift).clip(0, 255).astype(np.uint8)
        return dataclasses.replace(palette, rendered=rendered)
    if kind == 3:  # two colours, or all, come out as one
        rendered = palette.all_colors.copy()
        rendered[rng.integers(len(rendered), size=choices.pick((1, 2, 40)))] = rendered[-1]
        return dataclasses.replace(palette, rendered=rendered)
    return palette


def _painted(
    choices: Choices, rng: np.random.Generator, palette: Palette, kind: str
) -> npt.NDArray[Any]:
    height, width = rng.integers(1, _MOST_SIDE + 1, 2).tolist()
    size = (height, width)
    colors = np.concatenate([palette.all_colors, palette.seen_colors])
    way = choices.below(6)
    if way == 0:
        image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    elif way == 1:  # each pixel one of the palette's
        image = colors[rng.integers(len(colors), size=size)]
    elif way == 2:
        image = np.full((*size, 3), rng.choice(colors), np.uint8)
    else:
        segments = []
        for _ in range(rng.integers(8)):
            top, left = rng.integers(size).tolist()
            high, wide = rng.integers(1, 20, 2).tolist()
            mask = np.zeros(size, dtype=bool)
            mask[top : top + high, left : left + wide] = True
            segments.append((int(rng.choice(palette.ids[:3])), mask))
        image = encode(segments, size, palette, kind)
    if choices.below(3) == 0:
        noise = rng.normal(0, choices.pick((4, 20, 80)), image.shape)
        image = (image + noise).clip(0, 255).astype(np.uint8)
    return image


def _check_segments(
    segments: list[Segment], size: tuple[int, ...], palette: Palette, whole: tuple[int, ...]
) -> None:
    """What `decode` promises."""
    covered = np.zeros(size, np.int64)
    order = []
    for segment in segments:
        if segment.mask.shape != size or segment.mask.dtype != np.bool_ or not segment.mask.any():
            raise AssertionError(f"a mask {segment.mask.dtype}{segment.mask.shape} of {size}")
        if not 0 <= segment.confidence <= 1:
            raise AssertionError(f"confidence {segment.confidence}")
        covered += segment.mask
        order.append((palette.index[segment.category_id], -int(segment.mask.sum())))
    if covered.size and covered.max() > 1:
        raise AssertionError("segments share a pixel")
    if order != sorted(order):
        raise AssertionError(f"segments in the order {order}")
    ids = [segment.category_id for segment in segments]
    if any(ids.count(one) > 1 for one in whole):
        raise AssertionError(f"several segments of a category that has one: {ids}")
