"""The numbers of one SegGen run: MaskSyn or ImgSyn (arXiv 2311.03355, section 3.4).

MaskSyn paints a new colour map for the caption of a real image (Text2Mask) and a new image over it
(Mask2Img); ImgSyn paints a new image over the real image's own masks. A config file defines
``config = SegGenConfig(...)`` and serves wherever MosaicFusion's does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mf_plugin.errors import InputError
from mf_plugin.fields import check_fields
from mf_plugin.generation.config import DTYPES
from mf_plugin.generation.generator import MOST_IMAGES, GeneratorConfig, UntilConfig
from mf_plugin.lvis.validate import MAX_SIDE
from mf_plugin.seggen.colormap import KINDS
from mf_plugin.seggen.fitting import CROP, FITS
from mf_plugin.seggen.gates import GateConfig
from mf_plugin.seggen.regions import NAME
from mf_plugin.seggen.source import SourceConfig
from mf_plugin.seggen.views import MOST_ZOOM

if TYPE_CHECKING:
    from mf_plugin.seggen.plan import SegGenPlan

MASKSYN, IMGSYN = SYSTEMS = ("masksyn", "imgsyn")
COMPOSED, COCO, BLIP2 = CAPTIONS = ("composed", "coco", "blip2")
ALL_COLORS, CAPTION_COLORS = TEXT2MASK_COLORS = ("all", "caption")
REJECT_POLICIES = ("region", "erase", "image")
_MOST = {
    "copies": MOST_IMAGES,
    "variants": MOST_IMAGES,
    "images_per_category": MOST_IMAGES,
    "num_images": MOST_IMAGES,
    "text2mask_steps": 10_000,
    "text2mask_tries": 1_000,
    "mask2img_steps": 10_000,
    "group_size": 10_000,
    "threads": 1024,
}
_SIZE = f"(height, width) in whole pixels, 1 to {MAX_SIDE}"
_SIZE_OR_NONE = f"{_SIZE}, or None"
_NAMES = "a tuple of names, or None"


@dataclass(frozen=True)
class SegGenConfig(GeneratorConfig):
    """Everything that decides what a dataset folder of SegGen contains.

    Args:
        system: "masksyn" or "imgsyn".
        source: the real data set whose captions (MaskSyn) or masks (ImgSyn) are used. Its
            categories are the vocabulary of what is written.
        mask2img, text2mask: folders of the trained models; ImgSyn needs no Text2Mask.
        size: (height, width) of the generated images in pixels.
        kind: of the colour maps: "instance", "semantic" or "panoptic", as the models were trained.
        captions: "composed" of the annotated categories, "coco" from a json in COCO's form, or
            "blip2", said of the real image by a BLIP-2.
        captions_file: of "coco"; of "blip2" the captions.json that a training has left in its work
            folder. An image without a caption is no source.
        captions_model: of "blip2" where there is no such file: folder or hub id.
        copies: canvases of each source image (ADE20K in the paper: MaskSyn 10, ImgSyn 50).
        main_categories: frequency groups ("r", "c", "f") or category names. Where given, canvases
            start from source images that hold one of them, in turn for each category, instead of
            from all; each category has ``images_per_category``. None: all source images.
        images_per_category: canvases of each main category.
        num_images: total number of canvases instead, of one variant each.
        variants: images that are painted over the same colour map, each from other noise: so many
            canvases for each of those that the numbers above speak of. A detector can then choose
            one of them (evaluation/variants.py).
        until: the canvases above are the first round; further rounds follow until each main
            category has enough accepted objects. It needs main categories and one variant.
        fit: how a real image comes to ``size``. "crop": scaled so that it covers the size, and cut
            at a random place; "stretch": scaled to the size, whatever its proportions.
        zoom: with "crop", up to how much larger than need be the image is scaled, at random; 1
            to 16.
        mirror: with "crop", whether half of the parts are mirrored.
        text2mask_steps, text2mask_guidance, mask2img_steps, mask2img_guidance: of the samplers
            (paper: 200 and 40 steps).
        text2mask_size: (height, width) of the colour maps that Text2Mask paints, whose segments are
            then scaled to ``size``; None is ``size``.
        text2mask_tries: colour maps that are painted for a caption at most, until one has an object
            of each category that the caption names; the first of those that have most is taken.
        text2mask_colors: in which colours painted maps are read: "all" of the palette, or those of
            the categories that the "caption" names, as the nearest of which every colour then
            counts.
        control_scale: factor of what Mask2Img's ControlNet adds.
        region_prompt: what the pixels of a category's segments read instead of the whole caption,
            "a photo of a {name}" for one (regions.py); a composed caption, which names objects
            alone, then says nothing to the background. None: what Mask2Img was trained with.
        scheduler: name of a diffusers scheduler; None is the base's own.
        gates: which segments become objects.
        reject: what one rejected segment does. "region": it is painted nevertheless, and its
            category is noted in ``not_exhaustive_category_ids``; "erase": it is taken out of the
            colour map before the image is painted; "image": the canvas is dropped.
        group_size: canvases that are painted in one batch.
        dtype: of the models' weights as used: "fp32", "bf16" or "fp16".
        threads: threads of torch; part of the run because sums depend on it.
        jpeg_quality: of the written images, 1 to 100.
        seed: of everything random, 0 or more.

    Raises:
        InputError: a value is of another type or out of its range; the message names the field and
            the value.
    """

    system: str
    source: SourceConfig
    mask2img: str | Path
    size: tuple[int, int]
    text2mask: str | Path | None = None
    kind: str = "instance"
    captions: str = COMPOSED
    captions_file: str | Path | None = None
    captions_model: str | Path | None = None
    copies: int = 10
    main_categories: tuple[str, ...] | None = None
    images_per_category: int = 25
    num_images: int | None = None
    variants: int = 1
    until: UntilConfig | None = None
    fit: str = CROP
    zoom: float = 1.0
    mirror: bool = False
    text2mask_steps: int = 200
    text2mask_guidance: float = 7.5
    text2mask_size: tuple[int, int] | None = None
    text2mask_tries: int = 1
    text2mask_colors: str = ALL_COLORS
    mask2img_steps: int = 40
    mask2img_guidance: float = 7.5
    control_scale: float = 1.0
    region_prompt: str | None = None
    scheduler: str | None = None
    gates: GateConfig = field(default_factory=GateConfig)
    reject: str = "region"
    group_size: int = 8
    dtype: str = "fp32"
    threads: int = 1
    jpeg_quality: int = 95
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(self, size=_SIZE, text2mask_size=_SIZE_OR_NONE, main_categories=_NAMES)
        for name, allowed in (
            ("system", SYSTEMS),
            ("kind", KINDS),
            ("captions", CAPTIONS),
            ("fit", FITS),
            ("text2mask_colors", TEXT2MASK_COLORS),
            ("reject", REJECT_POLICIES),
            ("dtype", DTYPES),
        ):
            self._expect(name, getattr(self, name) in allowed, f"one of {tuple(allowed)}")
        counts = ("copies", "variants", "images_per_category", "group_size", "threads")
        for name in (*counts, "text2mask_steps", "text2mask_tries", "mask2img_steps"):
            self._expect(name, getattr(self, name) >= 1, "at least 1")
        for name, most in _MOST.items():
            value = getattr(self, name)
            self._expect(name, value is None or value <= most, f"{most} at most")
        for name in ("text2mask_guidance", "mask2img_guidance"):
            self._expect(name, getattr(self, name) >= 1, "at least 1, which is none")
        self._expect("num_images", self.num_images is None or self.num_images >= 1, "at least 1")
        self._expect("zoom", 1 <= self.zoom <= MOST_ZOOM, f"1 to {MOST_ZOOM:g}")
        self._expect("control_scale", self.control_scale > 0, "above 0")
        prompt = self.region_prompt
        self._expect("region_prompt", prompt is None or NAME in prompt, f"a text with {NAME}")
        self._expect("jpeg_quality", 1 <= self.jpeg_quality <= 100, "1 to 100")
        self._expect("seed", self.seed >= 0, "0 or more")
        for name, said in (("size", _SIZE), ("text2mask_size", _SIZE_OR_NONE)):
            sides = getattr(self, name) or ()
            self._expect(name, all(1 <= side <= MAX_SIDE for side in sides), said)
        names = self.main_categories
        self._expect("main_categories", names != (), _NAMES)
        if self.until is not None:
            self._expect("main_categories", names is not None, "some, which `until` counts")
            self._expect("variants", self.variants == 1, "1 where there is `until`")
        if self.system == MASKSYN:
            self._expect("text2mask", self.text2mask is not None, "the folder of a Text2Mask")
        if self.captions == COCO:
            given = self.captions_file is not None
            self._expect("captions_file", given, "one where captions is 'coco'")
        asked = self.captions == BLIP2 and self.captions_file is None
        given = not asked or self.captions_model is not None
        self._expect("captions_model", given, "one, or captions_file, where captions is 'blip2'")
        if asked and self.source.images is None:
            raise InputError("captions is 'blip2' and the source has no `images` to look at")

    def make_plan(self) -> SegGenPlan:
        from mf_plugin.seggen.plan import make_plan
        from mf_plugin.seggen.sources import read_source

        return make_plan(self, read_source(self.source))

    @property
    def inputs(self) -> tuple[str, ...]:
        source = self.source
        found = (
            *(source.annotations, source.labels, source.classes, source.images),
            *(self.text2mask, self.mask2img, self.captions_file, self.captions_model),
        )
        return tuple(str(path) for path in found if isinstance(path, (str, Path)))

    def _expect(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            raise InputError(f"{name} is {getattr(self, name)!r}; expected {expected}")
