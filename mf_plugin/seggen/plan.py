"""What a SegGen run paints: every canvas is a pure function of config, source data and its number.

A canvas starts from a real image: MaskSyn takes its caption, ImgSyn its masks and caption. Without
main categories the source images come in turn, each ``copies`` times, in an order that the seed
shuffles; with them a canvas has a main category, and its source is the next image that holds it.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import cycle, islice
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
    read_coco_captions,
)
from mf_plugin.seggen.fitting import draw_window, fit_segments
from mf_plugin.seggen.sources import Source
from mf_plugin.seggen.synthesis import BLIP2, COCO, COMPOSED, IMGSYN, MASKSYN, SegGenConfig
from mf_plugin.vocabulary import Category, Vocabulary

if TYPE_CHECKING:
    from mf_plugin.seggen.painter import SegGenPainter

logger = logging.getLogger(__name__)

Mask = npt.NDArray[np.bool_]
EMPTY = "empty"  # the source image has no segment, or none of it is in sight
_ORDER_STREAM, _CANVAS_STREAM = 0, 1


@dataclass(frozen=True, eq=False)
class SegGenCanvas:
    """One planned image.

    Args:
        text2mask_seed, seed: of the colour map and of the image.
        copy: how many canvases of this source image come before it.
        caption: None where a model says it of the source image.
        segments: of ImgSyn, (category id, bool[h, w]) at the size of the image.
        window: of ImgSyn: the part of the source image, (top, left, height, width).
        not_exhaustive: ids of categories that the source image's labels leave open.
        reason: why nothing is painted; "" where something is.
    """

    index: int
    seed: int
    text2mask_seed: int
    source_image_id: int
    source_file_name: str
    copy: int
    caption: str | None
    segments: tuple[tuple[int, Mask], ...] = ()
    window: tuple[int, int, int, int] | None = None
    not_exhaustive: tuple[int, ...] = ()
    reason: str = ""


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
        if canvas.window is None:
            facts["text2mask_seed"] = canvas.text2mask_seed
        else:
            facts["window"] = list(canvas.window)
        if canvas.not_exhaustive:
            facts["not_exhaustive"] = list(canvas.not_exhaustive)
        return facts


@dataclass(frozen=True)
class SegGenPlan(GeneratorPlan):
    """All canvases of a SegGen run.

    Args:
        source: the real data set.
        captions: image id -> its captions, of captions "coco"; else None.
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
        """Of each canvas: how many canvases before it have its main category."""
        seen: Counter[int | None] = Counter()
        turns = []
        for done in self.rounds:
            for main in done.main:
                key = None if main is None else main.id
                turns.append(seen[key])
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
        rng = np.random.default_rng((config.seed, _CANVAS_STREAM, index))
        seed, text2mask_seed = (int(value) for value in rng.integers(2**32, size=2))
        image = self.source.by_id[image_id]
        segments: list[tuple[int, Mask]] = []
        window = None
        if config.system == IMGSYN:
            window = draw_window(image.size, config.size, config.fit, rng)
            segments = fit_segments(
                self.source.segments(image_id), window, config.size, config.kind == "semantic"
            )
        elif config.captions == COMPOSED:
            whole = self.source.segments(image_id)
            segments = sorted(whole, key=lambda item: -np.count_nonzero(item[1]))
        empty = not segments and (config.system == IMGSYN or config.captions == COMPOSED)
        caption = None if empty else self._caption(image_id, segments, main, rng)
        return SegGenCanvas(
            index=index,
            seed=seed,
            text2mask_seed=text2mask_seed,
            source_image_id=image_id,
            source_file_name=image.file_name,
            copy=copy,
            caption="" if empty else caption,
            segments=tuple(segments) if config.system == IMGSYN else (),
            window=window,
            not_exhaustive=self.source.not_exhaustive(image_id) if window is not None else (),
            reason=EMPTY if empty else "",
        )

    def _caption(
        self,
        image_id: int,
        segments: Sequence[tuple[int, Mask]],
        main: Category | None,
        rng: np.random.Generator,
    ) -> str | None:
        """Composed of the segments, larger ones first; or one of the image's own."""
        if self.config.captions == BLIP2:
            return None
        if self.captions is None:
            return compose_caption((id_ for id_, _ in segments), self.vocabulary, rng)
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
    if config.captions == COCO:
        assert config.captions_file is not None
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
    check_budget(config, count, main)
    first = Round(0, 0, tuple(islice(cycle(mains), count)))
    plan = SegGenPlan(
        config, vocabulary, main, (first,), source, captions, tuple(image_ids)
    )
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
    captions = read_coco_captions(config.captions_file, image_ids)
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
