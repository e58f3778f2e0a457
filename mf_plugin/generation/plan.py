"""What to generate: every canvas is a pure function of the config, the vocabulary and its index.

MosaicFusion's category loop (Sec. 4.1.3, footnote 6): each main category gets its canvases, in one
region at a random place; the other regions draw their categories uniformly. Canvases take the main
categories in turn, so that any number of them covers the categories evenly. A *group* is a few
canvases that share a layout and are denoised in one batch. Nothing is drawn from a stream that
other groups use: group i can be computed anywhere, in any order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mf_plugin.errors import InputError
from mf_plugin.generation.config import GenerationConfig
from mf_plugin.lvis.sprites import preset_categories
from mf_plugin.mosaic.layout import MosaicLayout, draw_layout
from mf_plugin.mosaic.prompts import Prompt, build_prompt
from mf_plugin.vocabulary import GROUPS, Category, Vocabulary

_LAYOUT_STREAM, _CANVAS_STREAM = 0, 1
_BUNDLED = "minilvis:"


@dataclass(frozen=True)
class Canvas:
    """One planned image; ``categories`` and ``prompts`` have one entry for each region."""

    index: int
    seed: int
    main_region: int
    categories: tuple[Category, ...]
    prompts: tuple[Prompt, ...]


@dataclass(frozen=True)
class Group:
    """Canvases that share a layout and are denoised in one batch."""

    index: int
    layout: MosaicLayout
    canvases: tuple[Canvas, ...]

    def describe(self, canvas: Canvas) -> dict[str, Any]:
        """The planned facts of one canvas, as they stand in manifest.jsonl."""
        return {
            "index": canvas.index,
            "group": self.index,
            "seed": canvas.seed,
            "layout": self.layout.to_json(),
            "main_region": canvas.main_region,
            "prompts": [
                {"category_id": category.id, "text": prompt.text, "subject": list(prompt.subject)}
                for category, prompt in zip(canvas.categories, canvas.prompts, strict=True)
            ],
        }


@dataclass(frozen=True)
class Plan:
    """All canvases of a run, computed on demand; ``plan.groups[i]`` is the unit of work."""

    config: GenerationConfig
    vocabulary: Vocabulary
    main: tuple[Category, ...]
    others: tuple[Category, ...]

    @property
    def num_images(self) -> int:
        if self.config.num_images is not None:
            return self.config.num_images
        return len(self.main) * self.config.images_per_category

    @property
    def groups(self) -> Groups:
        return Groups(self)

    def group(self, index: int) -> Group:
        """Group ``index`` of ``len(plan.groups)``."""
        config = self.config
        layout = draw_layout(
            np.random.default_rng((config.seed, _LAYOUT_STREAM, index)),
            num_regions=config.num_regions,
            canvas=config.canvas,
            jitter=config.jitter,
            overlap=config.overlap,
            multiple=config.multiple,
        )
        first = index * config.group_size
        last = min(first + config.group_size, self.num_images)
        return Group(index, layout, tuple(self._canvas(i) for i in range(first, last)))

    def _canvas(self, index: int) -> Canvas:
        config = self.config
        rng = np.random.default_rng((config.seed, _CANVAS_STREAM, index))
        seed = int(rng.integers(2**32))
        main_region = int(rng.integers(config.num_regions))
        drawn = rng.integers(len(self.others), size=config.num_regions)
        categories = [self.others[i] for i in drawn]
        categories[main_region] = self.main[index % len(self.main)]
        words = config.backgrounds or ("",)
        backgrounds = [words[i] for i in rng.integers(len(words), size=config.num_regions)]
        prompts = tuple(
            build_prompt(category, config.template, background)
            for category, background in zip(categories, backgrounds, strict=True)
        )
        return Canvas(index, seed, main_region, tuple(categories), prompts)


@dataclass(frozen=True)
class Groups(Sequence):
    """The groups of a plan as a sequence that holds none of them."""

    plan: Plan

    def __len__(self) -> int:
        return -(-self.plan.num_images // self.plan.config.group_size)

    def __getitem__(self, index: int) -> Group:
        if not 0 <= index < len(self):
            raise IndexError(f"group {index} of {len(self)}")
        return self.plan.group(index)


def load_vocabulary(source: str | Path) -> Vocabulary:
    """The vocabulary of an LVIS json, or the bundled table ("minilvis:demo", "minilvis:all")."""
    if isinstance(source, str) and source.startswith(_BUNDLED):
        return Vocabulary.from_categories(preset_categories(source.removeprefix(_BUNDLED)))
    return Vocabulary.from_lvis_json(source)


def make_plan(config: GenerationConfig, vocabulary: Vocabulary) -> Plan:
    """Check a config against a vocabulary and return the plan; the first group is tried out.

    Raises:
        InputError: the vocabulary has no such category or group, the template is no template, or
            the canvas cannot be divided as asked.
    """
    plan = Plan(
        config,
        vocabulary,
        main=_select(vocabulary, config.main_categories, "main_categories"),
        others=_select(vocabulary, config.other_categories, "other_categories"),
    )
    plan.group(0)
    return plan


def _select(vocabulary: Vocabulary, names: Iterable[str], field: str) -> tuple[Category, ...]:
    """Categories of the groups and names, each once, in the vocabulary's order."""
    chosen: set[int] = set()
    for name in names:
        if name in GROUPS:
            found = vocabulary.group(name)
            if not found and field == "main_categories":
                raise InputError(f"{field}: the vocabulary has no category of frequency {name!r}")
        else:
            found = [vocabulary.by_name(name)]
        chosen.update(category.id for category in found)
    if not chosen:
        raise InputError(f"{field} is {tuple(names)!r}; the vocabulary has none of these")
    return tuple(category for category in vocabulary if category.id in chosen)
