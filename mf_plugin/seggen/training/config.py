"""The numbers of one SegGen training: a frozen record, from a Python file.

A config file is code: it defines ``config = SegGenTrainConfig(...)``. Defaults are the paper's
(SegGen, arXiv 2311.03355: learning rate 1e-5, 30,000 iterations, 768 x 768 pixels) where it gives
a number, and those of the trainers of Stable Diffusion where it does not.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mf_plugin.errors import InputError
from mf_plugin.fields import check_fields
from mf_plugin.generation.config import load_config_file
from mf_plugin.lvis.validate import MAX_SIDE
from mf_plugin.seggen.record import KINDS, MOST_PHRASES, WHATS, write_base
from mf_plugin.seggen.regions import NAME
from mf_plugin.seggen.source import SourceConfig
from mf_plugin.seggen.views import MOST_ZOOM

CAPTIONS = ("composed", "coco", "blip2")
PRECISIONS = ("no", "fp16", "bf16")
DTYPES = ("fp32", "fp16", "bf16")
TRACKERS = (None, "tensorboard")
_SIZE = f"(height, width) in whole pixels, 1 to {MAX_SIDE}"
_CHANNELS = "a tuple of whole numbers of 1 or more, or None"
_FREE = {  # may differ between a checkpoint and the run that goes on from it
    "workers", "log_every", "checkpoint_every", "keep_checkpoints", "validate_every",
    "validation_images", "validation_steps", "validation_guidance", "validation_control",
    "tracker", "save_dtype",
}  # fmt: skip


@dataclass(frozen=True)
class SegGenTrainConfig:
    """Everything that decides what a training leaves.

    Args:
        what: "text2mask" or "mask2img".
        source: the real, labelled images.
        base: diffusers folder or hub id of a Stable Diffusion 1.x, 2.x or SDXL.
        revision: branch, tag or commit of a hub base.
        start: folder of a trained model of the same kind to go on from; None starts from the base.
        kind: of the colour maps: "instance", "semantic" or "panoptic".
        palette_min_distance: what any two colours must keep, in RGB of 0 to 255; None is
            palette.py's default.
        size: (height, width) of the pairs in pixels.
        captions: "composed" from the segments, "coco": read from ``captions_file``, or "blip2":
            made once by ``blip2_model`` and kept in the work folder.
        captions_file: of "coco": a json in the form of COCO's captions.
        blip2_model: of "blip2": folder or hub id.
        template: around every caption, with ``{caption}``.
        skip_incomplete: leave out images without a segment or caption, instead of an error.
        zoom: random parts of the images are scaled by 1 to this, up to 16 (views.py).
        mirror: whether half of the parts are mirrored.
        min_area: pixels of a segment below which it is neither drawn nor named.
        cache_variants: random parts of each image whose latents are computed once; 0 computes
            them anew at each step. For small sets: all latents stand in memory.
        workers: processes that load images, for each that trains; 0 loads them in it.
        steps: of the optimiser.
        batch_size: pairs of a process in one pass.
        accumulate: passes that make a step.
        lr, warmup, decay: AdamW's rate climbs over ``warmup`` steps, and falls linearly to zero
            over the last ``decay`` of all steps, a share of them (0: never).
        conditioning_lr: factor of the rate for Mask2Img's layers that read the colour map, which
            start from nothing while the others are copies of trained ones.
        weight_decay: AdamW's.
        max_grad_norm: the L2 norm that a step's gradient is scaled down to.
        ema: decay per step of the averaged weights, which are what is saved.
        repeat_threshold: t of the repeat factors by which images with rare categories are met more
            often (Gupta et al. 2019, arXiv 1908.03195); 0: all alike, as in the paper.
        empty_caption: share of pairs whose caption is left out, for classifier-free guidance.
        time_shift: times lean towards noise, where a map decides what is painted: t of 0 (none) to
            1 becomes s t / (1 + (s - 1) t) (Esser et al. 2024, arXiv 2403.03206, eq. 23); 1: even.
        zero_terminal_snr: whether the last noise level is noise alone, for Text2Mask on a base that
            predicts velocity (noise.py).
        phrases: of Text2Mask, into how many a caption is split at commas and "and", for the text
            encoder to read them one by one, whatever comes before them (compare Feng et al. 2023,
            arXiv 2212.05032); 1: as one, as in the paper.
        region_prompt: of Mask2Img, what a category's pixels read instead of the whole caption, "a
            photo of a {name}" for one (regions.py); None: the caption, as in the paper.
        object_weight: of the error where the map shows an object, to that of background.
        min_snr: gamma of min-SNR weights (Hang et al. 2023); None: all times weigh the same.
        precision: of the passes: "no" (fp32), "fp16" or "bf16". Trained weights are fp32.
        gradient_checkpointing: less memory, more time.
        conditioning_channels: of Mask2Img's layers that read the colour map (mask2img.py); None is
            diffusers' own.
        log_every: steps between lines of the log.
        checkpoint_every: steps between checkpoints.
        keep_checkpoints: the last so many stay.
        validate_every: steps between sheets of samples; 0 makes none.
        validation_images: samples of a sheet.
        validation_steps, validation_guidance: of its sampler; a guidance of 1 is none.
        validation_control: factor of what Mask2Img's ControlNet adds to them.
        tracker: "tensorboard" or None; work_dir/log.jsonl is always written.
        save_dtype: of the weights as saved: "fp32", "fp16" or "bf16".
        seed: of everything random, 0 or more.

    Raises:
        InputError: a value is of another type or out of its range; the message names the field and
            the value.
    """

    what: str
    source: SourceConfig
    base: str | Path
    revision: str | None = None
    start: str | Path | None = None
    kind: str = "instance"
    palette_min_distance: float | None = None
    size: tuple[int, int] = (768, 768)
    captions: str = "composed"
    captions_file: str | Path | None = None
    blip2_model: str | Path | None = None
    template: str = "{caption}"
    skip_incomplete: bool = False
    zoom: float = 1.0
    mirror: bool = False
    min_area: int = 30
    cache_variants: int = 0
    workers: int = 0
    steps: int = 30_000
    batch_size: int = 4
    accumulate: int = 1
    lr: float = 1e-5
    warmup: int = 0
    decay: float = 0.0
    weight_decay: float = 1e-2
    max_grad_norm: float = 1.0
    ema: float = 0.9999
    repeat_threshold: float = 0.0
    empty_caption: float = 0.1
    conditioning_lr: float = 1.0
    time_shift: float = 1.0
    zero_terminal_snr: bool = False
    phrases: int = 1
    region_prompt: str | None = None
    object_weight: float = 1.0
    min_snr: float | None = None
    precision: str = "no"
    gradient_checkpointing: bool = False
    conditioning_channels: tuple[int, ...] | None = None
    log_every: int = 50
    checkpoint_every: int = 500
    keep_checkpoints: int = 2
    validate_every: int = 0
    validation_images: int = 4
    validation_steps: int = 50
    validation_guidance: float = 7.5
    validation_control: float = 1.0
    tracker: str | None = None
    save_dtype: str = "fp16"
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(self, size=_SIZE, conditioning_channels=_CHANNELS)
        _expect(self, "what", self.what in WHATS, f"one of {tuple(WHATS)}")
        _expect(self, "kind", self.kind in KINDS, f"one of {KINDS}")
        _expect(self, "captions", self.captions in CAPTIONS, f"one of {CAPTIONS}")
        _expect(self, "precision", self.precision in PRECISIONS, f"one of {PRECISIONS}")
        _expect(self, "save_dtype", self.save_dtype in DTYPES, f"one of {DTYPES}")
        _expect(self, "tracker", self.tracker in TRACKERS, f"one of {TRACKERS}")
        _expect(self, "template", self.template.count("{caption}") == 1, "{caption} in it, once")
        file = self.captions != "coco" or self.captions_file is not None
        _expect(self, "captions_file", file, "a captions json, since captions are 'coco'")
        model = self.captions != "blip2" or self.blip2_model is not None
        _expect(self, "blip2_model", model, "a model, since captions are 'blip2'")
        for name in (
            "steps", "batch_size", "accumulate", "log_every", "checkpoint_every",
            "keep_checkpoints", "validation_images", "validation_steps", "min_area",
        ):  # fmt: skip
            _expect(self, name, getattr(self, name) >= 1, "at least 1")
        _expect(self, "zoom", 1 <= self.zoom <= MOST_ZOOM, f"1 to {MOST_ZOOM:g}")
        _expect(self, "size", all(1 <= side <= MAX_SIDE for side in self.size), _SIZE)
        channels = self.conditioning_channels
        given = channels is None or min(channels, default=0) >= 1
        _expect(self, "conditioning_channels", given, _CHANNELS)
        given = self.validation_guidance >= 1
        _expect(self, "validation_guidance", given, "at least 1, which is none")
        for name in (
            "cache_variants", "workers", "warmup", "weight_decay", "validate_every", "seed",
        ):  # fmt: skip
            _expect(self, name, getattr(self, name) >= 0, "0 or more")
        for name in ("empty_caption", "decay", "repeat_threshold"):
            _expect(self, name, 0 <= getattr(self, name) <= 1, "0 to 1")
        _expect(self, "ema", 0 <= self.ema < 1, "0 to below 1")
        for name in ("lr", "conditioning_lr", "max_grad_norm", "time_shift", "object_weight"):
            _expect(self, name, getattr(self, name) > 0, "more than 0")
        fits = self.what == "mask2img" or self.conditioning_lr == 1
        _expect(self, "conditioning_lr", fits, "1: a Text2Mask is given no map")
        prompt = self.region_prompt
        _expect(self, "region_prompt", prompt is None or NAME in prompt, f"a text with {NAME}")
        fits = self.what == "mask2img" or prompt is None
        _expect(self, "region_prompt", fits, "None: a Text2Mask is given no map")
        _expect(self, "phrases", 1 <= self.phrases <= MOST_PHRASES, f"1 to {MOST_PHRASES}")
        fits = self.what == "text2mask" or self.phrases == 1
        _expect(self, "phrases", fits, "1: a Mask2Img has regions for its phrases")
        frozen = self.zero_terminal_snr and self.what == "mask2img"
        _expect(self, "zero_terminal_snr", not frozen, "False: Mask2Img's U-Net is frozen")
        _expect(self, "min_snr", self.min_snr is None or self.min_snr > 0, "more than 0, or None")

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON values; paths inside this package are written relative to it."""
        values = {**dataclasses.asdict(self), "base": write_base(self.base)}
        found: dict[str, Any] = json.loads(json.dumps(values, default=_text_of_path))
        return found

    def differences(self, other: dict[str, Any]) -> list[str]:
        """Fields in which another config's `to_json` would lead to other weights."""
        ours = self.to_json()
        return [
            f"{name} {other.get(name)!r}; expected {ours[name]!r}"
            for name in ours
            if name not in _FREE and other.get(name) != ours[name]
        ]

    def learning_rate(self, step: int) -> float:
        """Of the step with this number, from 0."""
        climb = (step + 1) / self.warmup if self.warmup else 1.0
        fall = (self.steps - step) / (self.decay * self.steps) if self.decay else 1.0
        return self.lr * min(1.0, climb, fall)


def load_train_config(path: str | Path) -> SegGenTrainConfig:
    """Run a config file and return its ``config``; see `load_config_file`."""
    return load_config_file(path, SegGenTrainConfig)


def _expect(config: SegGenTrainConfig, name: str, holds: bool, expected: str) -> None:
    if not holds:
        raise InputError(f"{name} is {getattr(config, name)!r}; expected {expected}")


def _text_of_path(value: object) -> str:
    if not isinstance(value, Path):
        raise TypeError(f"a config holds {type(value).__name__}; expected numbers, text and paths")
    return value.as_posix()
