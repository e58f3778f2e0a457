"""The numbers of one generation run: a frozen record, from a Python file, with a stable hash.

A config file is code: a Python file that defines ``config = GenerationConfig(...)``; a child
imports its parent's and states the difference with ``dataclasses.replace``. Defaults are the
paper's (MosaicFusion, arXiv 2309.13042, Sec. 4.1.3, as in configs/generation/paper_lvis_rare.py),
but for ``attention.tokens``, ``mask.method``, ``mask.scales`` and ``reject``. The size depends on
the model and has no default.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mf_plugin.configfile import load_config_file as load_config_file
from mf_plugin.errors import InputError
from mf_plugin.fields import check_fields
from mf_plugin.generation.filters import FilterConfig
from mf_plugin.generation.generator import MOST_IMAGES, GeneratorConfig, UntilConfig
from mf_plugin.mosaic.attention import AttentionConfig
from mf_plugin.mosaic.clip import ClipFilterConfig
from mf_plugin.mosaic.layout import check_division
from mf_plugin.mosaic.masks import MaskConfig
from mf_plugin.mosaic.sam import SamRefineConfig

if TYPE_CHECKING:
    from mf_plugin.generation.plan import Plan

REJECT_POLICIES = ("region", "image")
DTYPES = ("fp32", "bf16", "fp16")
_WANTED = "GenerationConfig(...)` or `config = SegGenConfig(...)"
_MOST = {
    "images_per_category": MOST_IMAGES,
    "num_images": MOST_IMAGES,
    "steps": 10_000,
    "group_size": 10_000,
    "threads": 1024,
}
_PAIR = "in whole pixels"
_EXPECTED = {  # where the annotation says less
    "main_categories": "a tuple of names",
    "other_categories": "a tuple of names",
    "canvas": f"(height, width) {_PAIR}",
    "region_size": f"(height, width) {_PAIR}",
    "overlap": f"(dy, dx) {_PAIR}",
    "regions": "a tuple such as (4,)",
}


@dataclass(frozen=True)
class GenerationConfig(GeneratorConfig):
    """Everything that decides what a dataset folder of MosaicFusion contains.

    Args:
        vocabulary: path of an LVIS json, or ``"minilvis:demo"`` / ``"minilvis:all"`` for the
            bundled table. Every category of it stands in the written json.
        model: diffusers folder or hub id.
        revision: branch, tag or commit of a hub model; None is its main branch.
        main_categories: frequency groups ("r", "c", "f") or category names; each gets
            ``images_per_category`` canvases.
        other_categories: groups or names from which the other regions draw, uniformly.
        images_per_category: canvases of each main category; without effect beside ``num_images``.
        num_images: total number of canvases instead of ``images_per_category`` for each main
            category; they go to the main categories in turn.
        until: the canvases above are the first round; further rounds follow until each main
            category has enough accepted objects. None: no further rounds.
        regions: of a canvas: 1, 2 (side by side or stacked), 4, or "RxC", R rows of C regions. Each
            group draws one entry uniformly: (1, 2, 4) is the paper's random mix (Table 2a).
        canvas: (height, width) of every canvas in pixels; None where ``region_size`` is given.
        region_size: mean (height, width) of a region in pixels: a canvas of "RxC" is R times as
            high and C times as wide. None where ``canvas`` is given.
        jitter: the paper's sigma: how far the lines between regions stay from the edges, up to 0.5,
            where they do not move (layout.py).
        overlap: (dy, dx) in pixels that neighbouring regions share.
        multiple: every region edge is a multiple of it, in pixels; itself a multiple of the VAE's
            factor.
        scheduler: name of a diffusers scheduler; None is the checkpoint's own.
        steps: of the sampler.
        guidance: g of e = e_uncond + g (e_text - e_uncond); 1 needs no unconditional half.
        negative_prompt: of the unconditional half; "" is none.
        template: prompt with {name}, {definition}, {background} and {style}.
        synonyms: whether the word for {name} is drawn uniformly from the category's name and its
            synonyms; else it is the name (published).
        backgrounds, styles: words for {background} and {style}, one of each drawn uniformly for
            each region.
        sam: Segment Anything, which redraws each mask from its box; None: it does not.
        clip: CLIP, which rejects objects that do not look like their prompt; None: it does not.
            Either runs beside the U-Net, on its device, and masks are then made between groups.
        attention, mask, filters: what is read, how it becomes a mask, which masks are kept.
        reject: what one rejected object does. "region": its part of the canvas is filled with that
            part's mean colour, so that no unlabelled object teaches background, and its category is
            noted in ``not_exhaustive_category_ids``. "image": the canvas is dropped (published).
        group_size: canvases that share a layout and are denoised in one batch.
        dtype: of the model's weights as used: "fp32" (published), "bf16" or "fp16".
        offload: whether weights wait on the CPU until a part of the model runs.
        compile: whether torch compiles the U-Net.
        threads: threads of torch; part of the run because sums depend on it.
        jpeg_quality: of the written images, 1 to 100.
        seed: of layouts, prompts and noise, 0 or more.

    Raises:
        InputError: a number is out of its range; the message names the field and its value.
    """

    vocabulary: str | Path
    model: str | Path
    revision: str | None = None
    main_categories: tuple[str, ...] = ("r",)
    other_categories: tuple[str, ...] = ("r", "c", "f")
    images_per_category: int = 25
    num_images: int | None = None
    until: UntilConfig | None = None
    regions: tuple[int | str, ...] = (4,)
    canvas: tuple[int, int] | None = None
    region_size: tuple[int, int] | None = None
    jitter: float = 0.375
    overlap: tuple[int, int] = (48, 64)
    multiple: int = 8
    scheduler: str | None = None
    steps: int = 50
    guidance: float = 7.5
    negative_prompt: str = ""
    template: str = "a photo of a single {name}, {definition}"
    synonyms: bool = False
    backgrounds: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()
    attention: AttentionConfig = field(default_factory=AttentionConfig)
    mask: MaskConfig = field(default_factory=MaskConfig)
    sam: SamRefineConfig | None = None
    clip: ClipFilterConfig | None = None
    filters: FilterConfig = field(default_factory=FilterConfig)
    reject: str = "region"
    group_size: int = 4
    dtype: str = "fp32"
    offload: bool = False
    compile: bool = False
    threads: int = 1
    jpeg_quality: int = 95
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(self, **_EXPECTED)
        for name in ("images_per_category", "steps", "group_size", "threads", "multiple"):
            _expect(self, name, getattr(self, name) >= 1, "at least 1")
        _expect(self, "num_images", self.num_images is None or self.num_images >= 1, "at least 1")
        for name, most in _MOST.items():
            value = getattr(self, name)
            _expect(self, name, value is None or value <= most, f"{most} at most")
        _expect(self, "dtype", self.dtype in DTYPES, f"one of {DTYPES}")
        _expect(self, "jpeg_quality", 1 <= self.jpeg_quality <= 100, "1 to 100")
        _expect(self, "seed", self.seed >= 0, "0 or more")
        _expect(self, "reject", self.reject in REJECT_POLICIES, f"one of {REJECT_POLICIES}")
        _expect(self, "main_categories", bool(self.main_categories), "a tuple of names")
        _expect(self, "other_categories", bool(self.other_categories), "a tuple of names")
        for name in ("background", "style"):
            given = f"{{{name}}}" not in self.template or bool(getattr(self, f"{name}s"))
            _expect(self, f"{name}s", given, f"words for the template's {{{name}}}")
        _expect(self, "regions", bool(self.regions), "a tuple such as (4,)")
        for regions in self.regions:
            check_division(
                regions,
                canvas=self.canvas,
                region_size=self.region_size,
                jitter=self.jitter,
                overlap=self.overlap,
                multiple=self.multiple,
            )

    def make_plan(self) -> Plan:
        from mf_plugin.generation.plan import load_vocabulary, make_plan

        return make_plan(self, load_vocabulary(self.vocabulary))

    @property
    def inputs(self) -> tuple[str, ...]:
        return str(self.vocabulary), str(self.model)


def load_generation_config(path: str | Path) -> GeneratorConfig:
    """Run a config file and return its ``config``, of any generator; see `load_config_file`."""
    kind = GeneratorConfig  # a class that only its subclasses have instances of
    return load_config_file(path, kind, _WANTED)  # type: ignore[type-abstract]


def differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """Fields in which two JSON records differ, each as ``"filters.min_area: 0.05 -> 0.1"``."""
    found: list[str] = []
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            found += differences(before, after, f"{prefix}{key}.")
        elif before != after:
            found.append(f"{prefix}{key}: {before!r} -> {after!r}")
    return found


def _expect(config: GenerationConfig, name: str, holds: bool, expected: str) -> None:
    if not holds:
        raise InputError(f"{name} is {getattr(config, name)!r}; expected {expected}")
