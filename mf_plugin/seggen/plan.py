"""What a SegGen run paints: every canvas is a pure function of config, source data and its number.

A canvas starts from a real image: MaskSyn takes its caption, ImgSyn its masks and caption. Without
main categories the source images come in turn, each ``copies`` times, in an order that the seed
shuffles; with them a canvas has a main category, and its source is the next image that holds it.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mf_plugin.errors import InputError
from mf_plugin.generation.generator import (
    GeneratorPlan,
    Round,
    check_budget,
    select_categories,
)
from mf_plugin.seggen.captions import (
    compose_caption,
    expect_categories,
    find_categories,
    read_blip2_captions,
    read_coco_captions,
)
from mf_plugin.seggen.fitting import STRETCH, fit_segments, stretched_view
from mf_plugin.seggen.pairs import largest_first
from mf_plugin.seggen.source import Source
from mf_plugin.seggen.synthesis import BLIP2, COCO, COMPOSED, IMGSYN, MASKSYN, SegGenConfig
from mf_plugin.seggen.views import View, draw_view
from mf_plugin.vocabulary import Category, Vocabulary

if TYPE_CHECKING:
    from mf_plugin.seggen.painter import SegGenPainter

logger = logging.getLogger(__name__)

Mask = npt.NDArray[np.bool_]
EMPTY = "empty"  # the source image has no segment, or none of it is in sight
_ORDER_STREAM, _CANVAS_STREAM = 0, 1
_TRIES = 8  # views of a source image until one shows the main category


@dataclass(frozen=True, eq=False)
class SegGenCanvas:
    """One planned image.

    Args:
        seed: of the image.
        text2mask_seed: of MaskSyn's colour map.
        copy: how many canvases of this source image, of one variant each, come before it.
        variant: number of the image over its colour map, from 0.
        caption: None where a model says it of the source image.
        segments: of ImgSyn, (category id, bool[h, w]) at the size of the image.
        view: the part of the source image whose masks, or whose composed caption, are used.
        not_exhaustive: ids of categories that the source image's labels leave open.
        reason: why nothing is painted; "" where something is.
    """

    index: int
    seed: int
    text2mask_seed: int | None
    source_image_id: int
    source_file_name: str
    copy: int
    caption: str | None
    segments: tuple[tuple[int, Mask], ...] = ()
    view: View | None = None
    not_exhaustive: tuple[int, ...] = ()
    reason: str = ""
    variant: int = 0


@dataclass(frozen=True)
class SegGenGroup:
    """Canvases that are painted in one batch, of one size (height, width)."""

    index: int
    size: tuple[int, int]
    canvases: tuple[SegGenCanvas, ...]

    def describe(self, canvas: SegGenCanvas) -> dict[str, Any]:
        """The planned facts of one canvas, as they stand in manifest.jsonl."""
        height, width = self.size
        facts: dict[str, Any] = {
            "index": canvas.index,
            "group": self.index,
            "seed": canvas.seed,
            "layout": {"height": height, "width": width},
            "source_image_id": canvas.source_image_id,
            "source_file_name": canvas.source_file_name,
            "copy": canvas.copy,
        }
        if canvas.variant:
            facts["variant"] = canvas.variant
        if canvas.text2mask_seed is not None:
            facts["text2mask_seed"] = canvas.text2mask_seed
        if canvas.view is not None:
            facts["view"] = {
                "scaled": list(canvas.view.scaled),
                "corner": list(canvas.view.corner),
                "mirrored": canvas.view.mirrored,
            }
        if canvas.not_exhaustive:
            facts["not_exhaustive"] = list(canvas.not_exhaustive)
        return facts


@dataclass(frozen=True)
class SegGenPlan(GeneratorPlan):
    """All canvases of a SegGen run.

    Args:
        source: the real data set.
        captions: image id -> its captions, where they come from a file; else None.
        image_ids: of the source images that canvases start from.
    """

    config: SegGenConfig
    source: Source
    captions: Mapping[int, Sequence[str]] | None
    image_ids: tuple[int, ...]

    def possible_categories(self) -> set[int]:
        return {category.id for category in self.vocabulary}

    def identity(self) -> dict[str, Any]:
        facts: dict[str, Any] = {"source_sha256": self._source_sha256}
        if self.captions is not None:
            text = json.dumps(sorted(self.captions.items()))
            facts["captions_sha256"] = hashlib.sha256(text.encode()).hexdigest()
        if self.config.kind == "panoptic":
            facts["things"] = sorted(self.source.things)
        return facts

    def load_painter(self, device: str) -> SegGenPainter:
        from mf_plugin.seggen.painter import SegGenPainter

        return SegGenPainter(self, device)

    def group(self, index: int) -> SegGenGroup:
        canvases = tuple(self._canvas(number) for number in self.canvas_numbers(index))
        return SegGenGroup(index, self.config.size, canvases)

    @cached_property
    def _source_sha256(self) -> str:
        return self.source.fingerprint()

    @cached_property
    def _order(self) -> tuple[int, ...]:
        """The source images in the order in which they are used."""
        rng = np.random.default_rng((self.config.seed, _ORDER_STREAM))
        return tuple(rng.permutation(self.image_ids).tolist())

    @cached_property
    def _holders(self) -> dict[int, tuple[int, ...]]:
        """Main category id -> the source images that hold it, in the order of their use."""
        wanted = {category.id for category in self.main}
        found: dict[int, list[int]] = {category_id: [] for category_id in wanted}
        for image_id in self._order:
            for category_id in wanted.intersection(self.held_by(image_id)):
                found[category_id].append(image_id)
        return {category_id: tuple(ids) for category_id, ids in found.items()}

    @cached_property
    def _turns(self) -> tuple[int, ...]:
        """Of each canvas: how many colour maps before its own have its main category."""
        seen: Counter[int | None] = Counter()
        turns = []
        for done in self.rounds:
            for main in done.main:
                key = None if main is None else main.id
                turns.append(seen[key] // self.config.variants)
                seen[key] += 1
        return tuple(turns)

    def held_by(self, image_id: int) -> tuple[int, ...]:
        """Ids of the categories that a canvas of this source image can have."""
        if self.config.system == MASKSYN and self.captions is not None:
            named = (find_categories(text, self.vocabulary) for text in self.captions[image_id])
            return tuple(dict.fromkeys(id_ for ids in named for id_ in ids))
        return tuple(dict.fromkeys(self.source.categories(image_id)))

    def _main_of(self, index: int) -> Category | None:
        current = next(r for r in reversed(self.rounds) if r.first_canvas <= index)
        return current.main[index - current.first_canvas]

    def _canvas(self, index: int) -> SegGenCanvas:
        config, main, turn = self.config, self._main_of(index), self._turns[index]
        images = self._order if main is None else self._holders[main.id]
        image_id, copy = images[turn % len(images)], turn // len(images)
        number, variant = divmod(index, config.variants)
        rng = np.random.default_rng((config.seed, _CANVAS_STREAM, number))
        seed, text2mask_seed = (int(value) for value in rng.integers(2**32, size=2))
        if variant:
            seed = int(np.random.default_rng((seed, variant)).integers(2**32))
        image = self.source.by_id[image_id]
        view: View | None = None
        segments: list[tuple[int, Mask]] = []
        if config.system == IMGSYN or config.captions == COMPOSED:
            view, segments = self._draw_segments(image_id, main, rng)
        empty = view is not None and not segments
        caption = "" if empty else self._caption(image_id, segments, main, rng)
        is_imgsyn = config.system == IMGSYN
        return SegGenCanvas(
            index=index,
            seed=seed,
            text2mask_seed=None if is_imgsyn else text2mask_seed,
            source_image_id=image_id,
            source_file_name=image.file_name,
            copy=copy,
            caption=caption,
            segments=tuple(segments) if is_imgsyn else (),
            view=view,
            not_exhaustive=self.source.not_exhaustive(image_id) if is_imgsyn else (),
            reason=EMPTY if empty else "",
            variant=variant,
        )

    def _draw_segments(
        self, image_id: int, main: Category | None, rng: np.random.Generator
    ) -> tuple[View, list[tuple[int, Mask]]]:
        """A view and what it shows; of some views the first that shows the main category."""
        original, whole = self.source.by_id[image_id].size, self.source.segments(image_id)
        merge, least = self.config.kind == "semantic", self.config.gates.min_pixels
        tries = 1 if main is None or self.config.fit == STRETCH else _TRIES
        for _ in range(tries):
            view = self._view(original, rng)
            segments = fit_segments(whole, view, merge)
            if main is not None and any(
                id_ == main.id and np.count_nonzero(mask) >= least for id_, mask in segments
            ):
                break
        return view, segments

    def _view(self, original: tuple[int, int], rng: np.random.Generator) -> View:
        config = self.config
        if config.fit == STRETCH:
            return stretched_view(config.size)
        return draw_view(original, config.size, rng, zoom=config.zoom, mirror=config.mirror)

    def _caption(
        self,
        image_id: int,
        segments: Sequence[tuple[int, Mask]],
        main: Category | None,
        rng: np.random.Generator,
    ) -> str | None:
        """Composed of the segments that are large enough, as in training; or one of the image's."""
        if self.config.captions == BLIP2 and self.captions is None:
            return None
        if self.captions is None:
            least = self.config.gates.min_pixels
            large = [item for item in segments if np.count_nonzero(item[1]) >= least]
            return compose_caption(largest_first(large or segments), self.vocabulary, rng)
        texts = list(self.captions[image_id])
        if main is not None and self.config.system == MASKSYN:
            texts = [t for t in texts if main.id in find_categories(t, self.vocabulary)]
        return texts[int(rng.integers(len(texts)))]


def make_plan(config: SegGenConfig, source: Source) -> SegGenPlan:
    """Check a config against its source data and return its first round; a group is tried out.

    Raises:
        InputError: no source image serves, a main category is in none of them, an image is missing
            on disk, or the first round is over the budget.
    """
    vocabulary = source.vocabulary
    captions = None
    image_ids = [image.id for image in source.images]
    if config.captions != COMPOSED and config.captions_file is not None:
        captions = _read_captions(config, image_ids, vocabulary)
        image_ids = [id_ for id_ in image_ids if id_ in captions]
    if source.indexed and (config.system == IMGSYN or config.captions == COMPOSED):
        image_ids = [id_ for id_ in image_ids if source.categories(id_)]
        if not image_ids:
            raise InputError(
                f"none of the {len(source.images)} source images has a labelled object; expected "
                "some to start from"
            )
    if source.image_root is not None:
        source.check_images(image_ids)
    names = config.main_categories
    main = () if names is None else select_categories(vocabulary, names, "main_categories")
    mains: tuple[Category | None, ...] = main or (None,)
    count = config.num_images or (
        len(main) * config.images_per_category if main else len(image_ids) * config.copies
    )
    check_budget(config, count * config.variants, main)
    of_maps = islice(cycle(mains), count)
    first = Round(0, 0, tuple(main_ for main_ in of_maps for _ in range(config.variants)))
    plan = SegGenPlan(config, vocabulary, main, (first,), source, captions, tuple(image_ids))
    for category in main:
        if not plan._holders[category.id]:
            raise InputError(
                f"main_categories: no source image holds {category.name!r}; expected at least one "
                f"of {len(image_ids)}"
            )
    plan.group(0)
    return plan


def _read_captions(
    config: SegGenConfig, image_ids: Sequence[int], vocabulary: Vocabulary
) -> dict[int, tuple[str, ...]]:
    """Captions of the source images; of MaskSyn, those that name a known category."""
    assert config.captions_file is not None
    read = read_coco_captions if config.captions == COCO else _read_blip2_captions
    captions = read(config.captions_file, image_ids)
    if config.system != MASKSYN:
        return captions
    naming = {
        image_id: tuple(text for text in texts if find_categories(text, vocabulary))
        for image_id, texts in captions.items()
    }
    useful = {image_id: texts for image_id, texts in naming.items() if texts}
    if not useful:
        expect_categories(next(iter(captions.values()))[0], vocabulary)  # which it does not name
    left_out = sum(map(len, captions.values())) - sum(map(len, useful.values()))
    if left_out:
        logger.warning(
            "%d captions of %s name no known category and are left out",
            left_out,
            config.captions_file,
        )
    return useful


def _read_blip2_captions(path: str | Path, image_ids: Sequence[int]) -> dict[int, tuple[str, ...]]:
    """Image id -> its caption, of what a training of SegGen had BLIP-2 say."""
    found = read_blip2_captions(path)
    captions: dict[int, tuple[str, ...]] = {
        image_id: (found[image_id],) for image_id in image_ids if image_id in found
    }
    if not captions:
        raise InputError(f"{path} has captions of none of the {len(image_ids)} source images")
    return captions
