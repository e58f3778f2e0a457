"""What to generate: every canvas is a pure function of config, vocabulary, index, main category.

MosaicFusion's category loop (Sec. 4.1.3, footnote 6): each main category gets its canvases, in one
region at a random place; the other regions draw their categories uniformly. Canvases take the main
categories in turn, so that any number of them covers the categories evenly. A *group* is a few
canvases that share a layout and are denoised in one batch. Nothing is drawn from a stream that
other groups use: group i can be computed anywhere, in any order. A plan may be longer by further
*rounds* (rounds.py), whose groups and canvases are numbered on.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

from mf_plugin.errors import InputError
from mf_plugin.generation.config import MOST_IMAGES, GenerationConfig
from mf_plugin.lvis.sprites import preset_categories
from mf_plugin.mosaic.layout import MosaicLayout, draw_layout
from mf_plugin.mosaic.prompts import Prompt, build_prompt
from mf_plugin.vocabulary import GROUPS, Category, Vocabulary

_LAYOUT_STREAM, _CANVAS_STREAM, _REGIONS_STREAM = 0, 1, 2
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
class Round:
    """Canvases that are planned at one time; ``main`` is the main category of each."""

    first_group: int
    first_canvas: int
    main: tuple[Category, ...]


@dataclass(frozen=True)
class Plan:
    """All canvases of a run, computed on demand; ``plan.groups[i]`` is the unit of work."""

    config: GenerationConfig
    vocabulary: Vocabulary
    main: tuple[Category, ...]
    others: tuple[Category, ...]
    rounds: tuple[Round, ...]

    @property
    def num_images(self) -> int:
        """Canvases of all rounds."""
        return self.rounds[-1].first_canvas + len(self.rounds[-1].main)

    @property
    def groups(self) -> Groups:
        return Groups(self)

    @property
    def last_round(self) -> range:
        """Indices of the groups of the last round."""
        return range(self.rounds[-1].first_group, len(self.groups))

    def with_round(self, main: Sequence[Category]) -> Plan:
        """The plan and one more round, of a canvas for each of ``main``."""
        another = Round(len(self.groups), self.num_images, tuple(main))
        return dataclasses.replace(self, rounds=(*self.rounds, another))

    def canvas_numbers(self, index: int) -> range:
        """Numbers of the canvases of group ``index``."""
        current = self._round_of(index)
        size = self.config.group_size
        first = current.first_canvas + (index - current.first_group) * size
        return range(first, min(first + size, current.first_canvas + len(current.main)))

    def group(self, index: int) -> Group:
        """Group ``index`` of ``len(plan.groups)``."""
        config, current = self.config, self._round_of(index)
        rng = np.random.default_rng((config.seed, _REGIONS_STREAM, index))
        layout = draw_layout(
            np.random.default_rng((config.seed, _LAYOUT_STREAM, index)),
            regions=config.regions[rng.integers(len(config.regions))],
            canvas=config.canvas,
            region_size=config.region_size,
            jitter=config.jitter,
            overlap=config.overlap,
            multiple=config.multiple,
        )
        canvases = tuple(
            self._canvas(number, current.main[number - current.first_canvas], len(layout.regions))
            for number in self.canvas_numbers(index)
        )
        return Group(index, layout, canvases)

    def _round_of(self, group: int) -> Round:
        return next(r for r in reversed(self.rounds) if r.first_group <= group)

    def _canvas(self, index: int, main: Category, num_regions: int) -> Canvas:
        config = self.config
        rng = np.random.default_rng((config.seed, _CANVAS_STREAM, index))
        seed = int(rng.integers(2**32))
        main_region = int(rng.integers(num_regions))
        drawn = rng.integers(len(self.others), size=num_regions)
        categories = [self.others[i] for i in drawn]
        categories[main_region] = main
        words = config.backgrounds or ("",)
        backgrounds = [words[i] for i in rng.integers(len(words), size=num_regions)]
        names = [possible_names(category, config) for category in categories]
        names = [choices[rng.integers(len(choices))] for choices in names]
        words = config.styles or ("",)
        styles = [words[i] for i in rng.integers(len(words), size=num_regions)]
        prompts = tuple(
            build_prompt(category, config.template, background, name, style)
            for category, background, name, style in zip(
                categories, backgrounds, names, styles, strict=True
            )
        )
        return Canvas(index, seed, main_region, tuple(categories), prompts)


@dataclass(frozen=True)
class Groups(Sequence):
    """The groups of a plan as a sequence that holds none of them."""

    plan: Plan

    def __len__(self) -> int:
        last = self.plan.rounds[-1]
        return last.first_group + math.ceil(len(last.main) / self.plan.config.group_size)

    def __getitem__(self, index: int) -> Group:
        if not 0 <= index < len(self):
            raise IndexError(f"group {index} of {len(self)}")
        return self.plan.group(index)


def load_vocabulary(source: str | Path) -> Vocabulary:
    """The vocabulary of an LVIS json, or the bundled table ("minilvis:demo", "minilvis:all")."""
    if isinstance(source, str) and source.startswith(_BUNDLED):
        return Vocabulary.from_categories(preset_categories(source.removeprefix(_BUNDLED)))
    return Vocabulary.from_lvis_json(source)


def possible_names(category: Category, config: GenerationConfig) -> tuple[str, ...]:
    """The words that a category's prompts may have for {name}."""
    return category.clean_names if config.synonyms else (category.clean_name,)


def make_plan(config: GenerationConfig, vocabulary: Vocabulary) -> Plan:
    """Check a config against a vocabulary and return its first round; a group of it is tried out.

    Raises:
        InputError: the vocabulary has no such category or group, the template is no template, or
            the first round is over the budget.
    """
    main = _select(vocabulary, config.main_categories, "main_categories")
    others = _select(vocabulary, config.other_categories, "other_categories")
    count = config.num_images or len(main) * config.images_per_category
    if count > MOST_IMAGES:
        raise InputError(
            f"images_per_category is {config.images_per_category} for {len(main)} main "
            f"categories; expected {MOST_IMAGES} canvases at most"
        )
    if config.until is not None and count > config.until.max_images:
        raise InputError(
            f"until max_images is {config.until.max_images}; expected at least {count}, "
            f"the canvases of the first round ({len(main)} main categories)"
        )
    first = Round(0, 0, tuple(islice(cycle(main), count)))
    plan = Plan(config, vocabulary, main, others, (first,))
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
