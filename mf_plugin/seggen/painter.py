"""SegGen's painter: captions to colour maps to images (arXiv 2311.03355, section 3.4).

The colour map that an image is painted over is drawn anew from the segments that were read out of
the painted one, in the palette's exact colours, as Mask2Img saw them in training.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mf_plugin.errors import InputError
from mf_plugin.generation.assemble import IMAGE_REJECTED
from mf_plugin.seggen.assemble import PaintedCanvas, SegGenAssembler
from mf_plugin.seggen.blip2 import Blip2Captioner
from mf_plugin.seggen.captions import find_categories
from mf_plugin.seggen.colormap import Segment, decode, encode
from mf_plugin.seggen.fitting import scale_mask
from mf_plugin.seggen.gates import (
    Judged,
    judge_painted,
    judge_real,
    reject_all,
    share_of_caption,
)
from mf_plugin.seggen.mask2img import Mask2Img
from mf_plugin.seggen.palette import Palette
from mf_plugin.seggen.plan import EMPTY, SegGenCanvas, SegGenGroup, SegGenPlan
from mf_plugin.seggen.regions import background_prompts, region_prompts
from mf_plugin.seggen.synthesis import BLIP2, CAPTION_COLORS, MASKSYN
from mf_plugin.seggen.text2mask import Text2Mask

Images = npt.NDArray[np.uint8]
EMPTY_MAP = "empty_map"  # nothing of the colour map, or of what is left of it, can be painted over


class SegGenPainter:
    """The trained models of a plan.

    Raises:
        InputError: a model cannot be used, or does not fit the plan.
        MissingExtra: the extra "diffusion" is not installed.
    """

    def __init__(self, plan: SegGenPlan, device: str) -> None:
        config = plan.config
        self._config, self._plan = config, plan
        self._mask2img = Mask2Img.from_pretrained(
            config.mask2img, device, config.dtype, scheduler=config.scheduler
        )
        self._text2mask = None
        self._folders = {"mask2img": Path(config.mask2img)}
        models: list[Text2Mask | Mask2Img] = [self._mask2img]
        if config.system == MASKSYN:
            assert config.text2mask is not None
            self._text2mask = Text2Mask.from_pretrained(
                config.text2mask, device, config.dtype, scheduler=config.scheduler
            )
            self._folders["text2mask"] = Path(config.text2mask)
            models.append(self._text2mask)
        for model in models:
            _check_model(model, plan)
        if self._text2mask is not None:
            self._text2mask.check_size(config.text2mask_size or config.size)
            self._mask2img.palette.check_same(
                self._text2mask.palette, f"palette of text2mask {config.text2mask}"
            )
        self._mask2img.check_size(config.size)
        self._palette = self._mask2img.palette
        self._region_prompts = None
        template = config.region_prompt or self._mask2img.record.region_prompt
        if template is not None:
            self._region_prompts = region_prompts(template, plan.vocabulary)
        self._captioner = None
        self._said: dict[int, str] = {}  # by source image
        if config.captions == BLIP2 and plan.captions is None:
            assert config.captions_model is not None
            self._captioner = Blip2Captioner(config.captions_model, device, config.dtype)
        self.assembler = SegGenAssembler(config, tuple(c.id for c in plan.vocabulary))

    def weights(self) -> dict[str, str]:
        """SHA-256 of each model's folder: its seggen.json, which has its base's, and weights."""
        return {name: _hash_model(folder) for name, folder in sorted(self._folders.items())}

    def paint(self, group: SegGenGroup) -> tuple[PaintedCanvas, ...]:
        """The group's canvases, in its order."""
        live = [place for place, canvas in enumerate(group.canvases) if not canvas.reason]
        canvases = [group.canvases[place] for place in live]
        captions = [self._caption(canvas) for canvas in canvases]

        # 1. Segments: of a painted colour map, or the real image's.
        judged = self._judge(canvases, captions)

        # 2. What rejected segments do.
        if self._config.reject == "image":
            judged = [
                reject_all(some, IMAGE_REJECTED) if any(one.reason for one in some) else some
                for some in judged
            ]

        # 3. The colour map, in exact colours. Where no object is left, no image is worth painting.
        painted = [place for place, some in enumerate(judged) if any(not s.reason for s in some)]
        maps = [self._draw(judged[place]) for place in painted]

        # 4. The images over them.
        images = self._paint(
            [captions[place] for place in painted],
            maps,
            [canvases[place].seed for place in painted],
        )

        results = [PaintedCanvas("", reason=canvas.reason) for canvas in group.canvases]
        for place, canvas_place in enumerate(live):
            reason = "" if judged[place] else (EMPTY_MAP if self._text2mask else EMPTY)
            results[canvas_place] = PaintedCanvas(captions[place], judged[place], reason=reason)
        for place, colormap, image in zip(painted, maps, images, strict=True):
            results[live[place]] = PaintedCanvas(captions[place], judged[place], colormap, image)
        return tuple(results)

    def _caption(self, canvas: SegGenCanvas) -> str:
        if canvas.caption is not None:
            return canvas.caption
        assert self._captioner is not None
        image_id = canvas.source_image_id
        if image_id not in self._said:
            image = self._plan.source.read_image(image_id)
            self._said[image_id] = self._captioner.caption([image])[0]
        return self._said[image_id]

    def _judge(
        self, canvases: Sequence[SegGenCanvas], captions: Sequence[str]
    ) -> list[tuple[Judged, ...]]:
        """The canvases' segments; of MaskSyn, of the first map that has most of its caption."""
        config, plan = self._config, self._plan
        if self._text2mask is None or not canvases:
            return [judge_real(canvas.segments, config.gates) for canvas in canvases]
        named = [find_categories(caption, plan.vocabulary) for caption in captions]
        best: list[tuple[Judged, ...]] = [()] * len(canvases)
        shares = [-1.0] * len(canvases)
        for number in range(config.text2mask_tries):
            places = [place for place, share in enumerate(shares) if share < 1]
            if not places:
                break
            seeds = [_seed_of_try(canvases[place], number) for place in places]
            found = self._paint_maps(
                [captions[place] for place in places], seeds, [named[place] for place in places]
            )
            for place, segments in zip(places, found, strict=True):
                judged = judge_painted(segments, named[place], config.gates)
                share = share_of_caption(judged, named[place])
                if share > shares[place]:
                    best[place], shares[place] = judged, share
        return best

    def _paint_maps(
        self, captions: Sequence[str], seeds: Sequence[int], named: Sequence[Sequence[int]]
    ) -> list[list[Segment]]:
        """The segments of a colour map for each caption, which names these categories."""
        config, plan, model = self._config, self._plan, self._text2mask
        assert model is not None
        maps = model(
            captions,
            seeds=seeds,
            size=config.text2mask_size or config.size,
            steps=config.text2mask_steps,
            guidance=config.text2mask_guidance,
        )
        stuff = {category.id for category in plan.vocabulary} - plan.source.things
        of_caption = config.text2mask_colors == CAPTION_COLORS
        found = [
            decode(
                colormap,
                model.reading_palette.only(ids) if of_caption else model.reading_palette,
                config.kind,
                min_area=config.gates.clean,
                reach=model.reach,
                stuff_ids=stuff,
            )
            for colormap, ids in zip(maps, named, strict=True)
        ]
        if maps.shape[1:3] == config.size:
            return found
        return [
            [replace(one, mask=scale_mask(one.mask, config.size)) for one in segments]
            for segments in found
        ]

    def _draw(self, judged: Sequence[Judged]) -> Images:
        config = self._config
        drawn = [
            (one.category_id, one.mask)
            for one in judged
            if one.mask is not None and not (one.reason and config.reject == "erase")
        ]
        return encode(drawn, config.size, self._palette, config.kind)

    def _paint(
        self, captions: Sequence[str], maps: Sequence[Images], seeds: Sequence[int]
    ) -> Sequence[Images]:
        if not maps:
            return []
        config = self._config
        images = self._mask2img(
            captions,
            np.stack(maps),
            region_prompts=self._region_prompts,
            backgrounds=background_prompts(captions, config.captions),
            seeds=seeds,
            steps=config.mask2img_steps,
            guidance=config.mask2img_guidance,
            control_scale=config.control_scale,
        )
        return list(images)


def _seed_of_try(canvas: SegGenCanvas, number: int) -> int:
    """The canvas's own seed, then others that are a function of it."""
    assert canvas.text2mask_seed is not None  # each of MaskSyn's has one
    if number == 0:
        return canvas.text2mask_seed
    return int(np.random.default_rng((canvas.text2mask_seed, number)).integers(2**62))


def _check_model(model: Text2Mask | Mask2Img, plan: SegGenPlan) -> None:
    """InputError unless the model paints the plan's kind, categories and size."""
    config, record = plan.config, model.record
    folder = getattr(config, record.what)
    if record.kind != config.kind:
        raise InputError(
            f"{record.what} {folder} is for kind {record.kind!r}; the config's is {config.kind!r}"
        )
    try:
        _check_palette(model.palette, plan)
    except InputError as error:
        raise InputError(f"{record.what} {folder}: {error}") from None


def _check_palette(palette: Palette, plan: SegGenPlan) -> None:
    """See that a palette has a colour for each category, and no others where maps are painted."""
    ours, theirs = {category.id for category in plan.vocabulary}, set(palette.ids)
    lacking, unknown = sorted(ours - theirs), sorted(theirs - ours)
    if lacking:
        name = plan.vocabulary.by_id(lacking[0]).name
        raise InputError(
            f"its palette is another one: it has no colour for {len(lacking)} of the source's "
            f"{len(ours)} categories, the first {name!r} (id {lacking[0]})"
        )
    if unknown and plan.config.system == MASKSYN:
        raise InputError(
            f"its palette is another one: {len(unknown)} of its {len(theirs)} category ids are not "
            f"the source's, the first {unknown[0]}"
        )


def _hash_model(folder: Path) -> str:
    digest = hashlib.sha256()
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".json", ".safetensors"))
    for path in files:
        digest.update(path.relative_to(folder).as_posix().encode())
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
