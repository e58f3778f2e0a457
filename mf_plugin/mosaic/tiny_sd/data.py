"""What tiny Stable Diffusion learns from: compositions of the training styles, of one object or of
several.

Shape shorthand: H, W region pixels; h, w = H / 4, W / 4 latent cells; N images of a region shape.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mf_plugin.arrays import FloatArray, IntArray, Pixels
from mf_plugin.lvis.backgrounds import BACKGROUNDS
from mf_plugin.lvis.compose import compose_image, compose_single
from mf_plugin.lvis.sprites import TRAIN_STYLES, load_sprites, preset_categories, table_categories
from mf_plugin.mosaic.tiny_sd.config import TinySDConfig
from mf_plugin.vocabulary import Category, Vocabulary
from mf_plugin.words import count_phrase, join_phrases

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

_AGAIN = 0.2  # share of a scene's objects that are of the same category as the one before


class Drawn(NamedTuple):
    """A composition: the picture, and what it shows, as indices."""

    image: Pixels  # uint8[H, W, 3]
    category: int
    background: int
    style: int


class Scene(NamedTuple):
    """A composition of several objects, and the indices of the categories that can be seen in it:
    one for each object, those of the category with the largest area first."""

    image: Pixels  # uint8[H, W, 3]
    objects: tuple[int, ...]


@dataclass(frozen=True)
class Corpus:
    """The model's categories and their sprites in the training styles, and nothing else.

    ``sprites[c]`` lists category c's pictures, (style index, uint8[h, w, 4]); ``weights[c]`` is its
    share.
    """

    categories: tuple[Category, ...]
    backgrounds: tuple[str, ...]
    sprites: tuple[tuple[tuple[int, Pixels], ...], ...]
    weights: FloatArray

    def draw(self, rng: np.random.Generator, size: tuple[int, int]) -> Drawn:
        """One composition, H x W pixels."""
        c = int(rng.choice(len(self.categories), p=self.weights))
        style, sprite = self.sprites[c][int(rng.integers(len(self.sprites[c])))]
        image, _, word = compose_single(rng, sprite, size, self.backgrounds)
        return Drawn(image, c, self.backgrounds.index(word), style)

    def draw_scene(
        self, rng: np.random.Generator, size: tuple[int, int], objects: tuple[int, int]
    ) -> Scene:
        """A composition of several objects, H x W pixels, drawn as mini-LVIS's images are.

        Args:
            objects: the fewest and the most of them; some may be hidden.
        """
        chosen: list[int] = []
        for _ in range(int(rng.integers(objects[0], objects[1] + 1))):
            if chosen and rng.random() < _AGAIN:
                chosen.append(chosen[-1])
            else:
                chosen.append(int(rng.choice(len(self.categories), p=self.weights)))
        sprites = [(c, self.sprites[c][int(rng.integers(len(self.sprites[c])))][1]) for c in chosen]
        composition = compose_image(rng, sprites, size)
        areas: Counter[int] = Counter()
        for instance in composition.instances:
            areas[instance.category_id] += int(instance.mask.sum())
        seen = [instance.category_id for instance in composition.instances]
        return Scene(composition.image, tuple(sorted(seen, key=lambda c: (-areas[c], c))))


def load_corpus(config: TinySDConfig) -> Corpus:
    categories = tuple(Vocabulary.from_categories(preset_categories(config.preset)))
    by_key = load_sprites(TRAIN_STYLES, [c.id for c in categories])
    sprites = tuple(
        tuple(
            (index, by_key[c.id, style])
            for index, style in enumerate(TRAIN_STYLES)
            if (c.id, style) in by_key
        )
        for c in categories
    )
    weights = np.array([config.rare_weight if c.frequency == "r" else 1.0 for c in categories])
    return Corpus(categories, config.backgrounds, sprites, weights / weights.sum())


def tokenizer_corpus(config: TinySDConfig) -> Iterator[str]:
    """Captions of all mini-LVIS categories, so that a larger preset keeps the tokenizer."""
    for category in Vocabulary.from_categories(table_categories()):
        for template, _ in config.captions:
            for background in BACKGROUNDS:
                for style in config.styles if "{style}" in template else ("",):
                    yield fill_caption(template, category, background, style)


def fill_caption(template: str, category: Category, background: str, style: str) -> str:
    return template.format(
        name=category.clean_name,
        definition=category.definition,
        background=background,
        style=style,
    )


class Captions:
    """Token ids of every caption, drawn by the shares of the templates."""

    def __init__(
        self, tokenizer: CLIPTokenizer, categories: tuple[Category, ...], config: TinySDConfig
    ) -> None:
        styles = config.styles or ("",) * len(TRAIN_STYLES)
        texts = [
            fill_caption(template, category, background, style)
            for template, _ in config.captions
            for category in categories
            for background in config.backgrounds
            for style in styles
        ]
        encoded = tokenizer(
            texts + [""], padding="max_length", max_length=config.max_tokens, truncation=True
        )["input_ids"]
        ids = np.array(encoded, np.int64)
        shape = (len(config.captions), len(categories), len(config.backgrounds), len(styles))
        self.ids = ids[:-1].reshape(*shape, config.max_tokens)
        self.empty = ids[-1]
        self.shares = np.array([share for _, share in config.captions])
        self.shares = self.shares / self.shares.sum()
        self.empty_share = config.empty_caption

    def draw(
        self, rng: np.random.Generator, c: IntArray, background: IntArray, style: IntArray
    ) -> IntArray:
        """Token ids int64[N, max_tokens] for images of categories c[N] on background[N] in
        style[N]."""
        template = rng.choice(len(self.shares), size=len(c), p=self.shares)
        ids = self.ids[template, c, background, style]
        return np.where((rng.random(len(c)) < self.empty_share)[:, None], self.empty, ids)


def list_objects(objects: Sequence[int], categories: Sequence[Category]) -> str:
    """Of a Scene's objects: "two doves and a violin"; "" where nothing is seen."""
    counts = Counter(objects)
    phrases = [count_phrase(categories[c].clean_name, n) for c, n in counts.items()]
    return join_phrases(phrases) if phrases else ""


class SceneCaptions:
    """Token ids of the captions of N scenes, drawn by the shares of the templates. A scene of which
    nothing is seen has the empty caption."""

    def __init__(
        self,
        tokenizer: CLIPTokenizer,
        categories: tuple[Category, ...],
        scenes: Sequence[Sequence[int]],
        config: TinySDConfig,
    ) -> None:
        lists = [list_objects(objects, categories) for objects in scenes]
        texts = [
            template.format(objects=said) if said else ""
            for template, _ in config.scene_captions
            for said in lists
        ]
        encoded = tokenizer(
            texts + [""], padding="max_length", max_length=config.max_tokens, truncation=True
        )["input_ids"]
        ids = np.array(encoded, np.int64)
        self.ids = ids[:-1].reshape(len(config.scene_captions), len(lists), config.max_tokens)
        self.empty = ids[-1]
        self.shares = np.array([share for _, share in config.scene_captions])
        self.shares = self.shares / self.shares.sum()
        self.empty_share = config.empty_caption

    def draw(self, rng: np.random.Generator, chosen: IntArray) -> IntArray:
        """Token ids int64[B, max_tokens] for the scenes of these numbers."""
        template = rng.choice(len(self.shares), size=len(chosen), p=self.shares)
        ids = self.ids[template, chosen]
        return np.where((rng.random(len(chosen)) < self.empty_share)[:, None], self.empty, ids)


def region_counts(config: TinySDConfig) -> list[tuple[tuple[int, int], int]]:
    """Number of composed images for each region shape."""
    total = sum(share for _, share in config.regions)
    return [(size, round(config.images * share / total)) for size, share in config.regions]
