"""What to generate: every canvas is a pure function of config, vocabulary, index, main category.

MosaicFusion's category loop (Sec. 4.1.3, footnote 6): each main category gets its canvases, in one
region at a random place; the other regions draw their categories uniformly. Canvases take the main
categories in turn, so that any number of them covers the categories evenly. A *group* is a few
canvases that share a layout and are denoised in one batch. Nothing is drawn from a stream that
other groups use: group i can be computed anywhere, in any order. A plan may be longer by further
*rounds* (rounds.py), whose groups and canvases are numbered on.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mf_plugin.generation.config import GenerationConfig
from mf_plugin.generation.generator import (
    GeneratorPlan,
    Round,
    check_budget,
    select_categories,
)
from mf_plugin.lvis.sprites import preset_categories
from mf_plugin.mosaic.layout import MosaicLayout, draw_layout
from mf_plugin.mosaic.prompts import Prompt, build_prompt
from mf_plugin.vocabulary import Category, Vocabulary

if TYPE_CHECKING:
    from mf_plugin.generation.painter import MosaicPainter

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
class Plan(GeneratorPlan):
    """MosaicFusion's plan; ``others`` are the categories that the other regions draw from."""

    config: GenerationConfig
    others: tuple[Category, ...]

    def possible_categories(self) -> set[int]:
        return {category.id for category in (*self.main, *self.others)}

    def load_painter(self, device: str) -> MosaicPainter:
        from mf_plugin.generation.painter import MosaicPainter

        return MosaicPainter(self, device)

    def group(self, index: int) -> Group:
        """Group ``index`` of ``len(plan.groups)``."""
        config, current = self.config, self.round_of(index)
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

    def _canvas(self, index: int, main: Category | None, num_regions: int) -> Canvas:
        assert main is not None, "a round of MosaicFusion has a main category for each canvas"
        config = self.config
        rng = np.random.default_rng((config.seed, _CANVAS_STREAM, index))
        seed = int(rng.integers(2**32))
        main_region = int(rng.integers(num_regions))
        drawn = rng.integers(len(self.others), size=num_regions)
        categories = [self.others[i] for i in drawn]
        categories[main_region] = main
        words = config.backgrounds or ("",)
        backgrounds = [words[i] for i in rng.integers(len(words), size=num_regions)]
        possible = [possible_names(category, config) for category in categories]
        names = [choices[rng.integers(len(choices))] for choices in possible]
        words = config.styles or ("",)
        styles = [words[i] for i in rng.integers(len(words), size=num_regions)]
        prompts = tuple(
            build_prompt(category, config.template, background, name, style)
            for category, background, name, style in zip(
                categories, backgrounds, names, styles, strict=True
            )
        )
        return Canvas(index, seed, main_region, tuple(categories), prompts)


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
    main = select_categories(vocabulary, config.main_categories, "main_categories")
    others = select_categories(vocabulary, config.other_categories, "other_categories")
    count = config.num_images or len(main) * config.images_per_category
    check_budget(config, count, main)
    first = Round(0, 0, tuple(islice(cycle(main), count)))
    plan = Plan(config, vocabulary, main, (first,), others)
    plan.group(0)
    return plan
