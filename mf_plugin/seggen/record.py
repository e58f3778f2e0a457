"""What a trained SegGen model says of itself: ``seggen.json``, beside its weights.

A model is a folder: seggen.json and ``unet/`` (Text2Mask) or ``controlnet/`` (Mask2Img), as
diffusers saves them. Everything else, VAE and text encoders first of all, comes from the base.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mf_plugin
from mf_plugin.errors import InputError, shown
from mf_plugin.jsonfile import MOST_LEVELS, parse_json
from mf_plugin.lvis.io import write_json_atomic
from mf_plugin.lvis.validate import MAX_SIDE
from mf_plugin.seggen.palette import Palette
from mf_plugin.seggen.regions import NAME

FILE = "seggen.json"
FORMAT = 1
WHATS = {"text2mask": "unet", "mask2img": "controlnet"}  # what it is -> the folder of its weights
MOST_PHRASES = 100
_PHRASES = f"1 to {MOST_PHRASES}"
KINDS = ("instance", "semantic", "panoptic")
_TEXTS = ("what", "base", "base_sha256", "kind", "template", "captions")
_PACKAGE = Path(mf_plugin.__file__).resolve().parent


@dataclass(frozen=True)
class ModelRecord:
    """The settings that a model's weights belong to.

    Attributes:
        what: "text2mask" or "mask2img".
        base: folder or hub id of the Stable Diffusion that it was trained on; a folder inside this
            package is written relative to it.
        revision: branch, tag or commit of a hub base.
        base_sha256: of the base's weights that the model is used with (`base.hash_base`).
        palette: colours of the maps.
        kind: "instance", "semantic" or "panoptic".
        size: (height, width) in pixels that it was trained at.
        template: caption of the training, with ``{caption}``.
        captions: where these came from: "composed", "coco" or "blip2".
        zero_terminal_snr: whether it was trained on noise levels that end in noise alone, and
            samples on them (noise.py).
        phrases: of Text2Mask, into how many a caption is split, for the text encoder to read them
            one by one (`captions.split_caption`).
        region_prompt: of Mask2Img, what a category's pixels read in training, with ``{name}``
            (regions.py); None: the caption.
        training: how the weights came to be: config, steps, data, versions.
    """

    what: str
    base: str
    base_sha256: str
    palette: Palette
    kind: str
    size: tuple[int, int]
    revision: str | None = None
    template: str = "{caption}"
    captions: str = "composed"
    zero_terminal_snr: bool = False
    phrases: int = 1
    region_prompt: str | None = None
    training: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if self.what not in WHATS:
            raise InputError(f"what is {self.what!r}; expected {' or '.join(WHATS)}")
        if self.kind not in KINDS:
            raise InputError(f"kind is {self.kind!r}; expected one of {', '.join(KINDS)}")
        if self.template.count("{caption}") != 1:
            raise InputError(f"template is {self.template!r}; expected {{caption}} in it, once")
        if self.region_prompt is not None and NAME not in self.region_prompt:
            raise InputError(
                f"region_prompt is {shown(self.region_prompt)}; expected a text with {NAME}"
            )

    def fill(self, caption: str) -> str:
        """The template with a caption; the empty caption stays empty."""
        return self.template.replace("{caption}", caption) if caption else ""

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "what": self.what,
            "base": self.base,
            "revision": self.revision,
            "base_sha256": self.base_sha256,
            "kind": self.kind,
            "size": list(self.size),
            "template": self.template,
            "captions": self.captions,
            "zero_terminal_snr": self.zero_terminal_snr,
            "phrases": self.phrases,
            "region_prompt": self.region_prompt,
            "palette": self.palette.to_json(),
            "training": dict(self.training),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ModelRecord:
        """Read what `to_json` wrote; InputError where it is something else."""
        if not isinstance(data, Mapping):
            raise InputError(f"the record is {shown(data)}; expected an object")
        for name in ("format", *_TEXTS, "revision", "size", "palette", "training"):
            if name not in data:
                raise InputError(f"the key {name!r} is missing")
        revision, size, training = data["revision"], data["size"], data["training"]
        rescaled = data.get("zero_terminal_snr", False)
        region = data.get("region_prompt")
        phrases = data.get("phrases", 1)
        sides = size if isinstance(size, (list, tuple)) else ()
        whole = all(type(side) is int and 1 <= side <= MAX_SIDE for side in sides)
        for name, holds, expected in (
            ("format", data["format"] == FORMAT, str(FORMAT)),
            *((name, isinstance(data[name], str), "text") for name in _TEXTS),
            ("revision", revision is None or isinstance(revision, str), "text or None"),
            ("size", len(sides) == 2 and whole, f"height and width, 1 to {MAX_SIDE} pixels"),
            ("training", isinstance(training, Mapping), "an object"),
            ("zero_terminal_snr", isinstance(rescaled, bool), "true or false"),
            ("phrases", type(phrases) is int and 1 <= phrases <= MOST_PHRASES, _PHRASES),
            ("region_prompt", region is None or isinstance(region, str), "text or None"),
        ):
            if not holds:
                raise InputError(f"{name} is {shown(data.get(name))}; expected {expected}")
        return cls(
            **{name: data[name] for name in _TEXTS},
            revision=revision,
            palette=Palette.from_json(data["palette"]),
            size=(sides[0], sides[1]),
            zero_terminal_snr=rescaled,
            phrases=phrases,
            region_prompt=region,
            training=dict(training),
        )

    def differences(self, other: ModelRecord) -> list[str]:
        """How another model's settings differ, as ``name: theirs; expected ours``; no entry where
        nothing does that a model's weights depend on."""
        found = [
            f"{name} {getattr(other, name)!r}; expected {getattr(self, name)!r}"
            for name in ("what", "kind", "base_sha256", "template")
            if getattr(other, name) != getattr(self, name)
        ]
        try:
            self.palette.check_same(other.palette)
        except InputError as error:
            found.append(str(error))
        return found


def write_record(folder: Path, record: ModelRecord) -> None:
    """Write ``seggen.json`` into a model's folder."""
    write_json_atomic(folder / FILE, record.to_json(), indent=1)


def read_record(folder: str | Path, what: str | None = None) -> ModelRecord:
    """Read a model's ``seggen.json``.

    Args:
        folder: of the model.
        what: the model that is expected; None takes either.

    Raises:
        InputError: there is none, it is damaged, or it is the other model's.
    """
    path = Path(folder) / FILE
    try:
        text = path.read_bytes()
    except (OSError, ValueError):  # ValueError: no path
        raise InputError(f"SegGen model {folder}: expected a folder with a {FILE}") from None
    data = parse_json(text, str(path), levels=MOST_LEVELS)
    try:
        record = ModelRecord.from_json(data)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    if what is not None and record.what != what:
        raise InputError(f"SegGen model {folder} is a {record.what}; expected a {what}")
    return record


def write_base(base: str | Path) -> str:
    """How a base stands in a record: hub ids as they are, folders resolved, those inside this
    package relative to it."""
    if not os.path.isdir(base):  # unlike Path's, of a name too long as well
        return str(base)
    resolved = Path(base).resolve()
    if resolved.is_relative_to(_PACKAGE):
        return (Path(_PACKAGE.name) / resolved.relative_to(_PACKAGE)).as_posix()
    return resolved.as_posix()


def find_base(base: str) -> str:
    """Of a record's base: the folder, or the hub id."""
    inside = _PACKAGE.parent / base
    bundled = base.startswith(f"{_PACKAGE.name}/") and os.path.isdir(inside)
    return inside.as_posix() if bundled else base
