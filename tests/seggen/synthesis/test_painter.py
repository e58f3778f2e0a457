"""What becomes of a painted colour map that is known."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from mf_plugin.seggen.colormap import encode
from mf_plugin.seggen.gates import GateConfig
from mf_plugin.seggen.palette import Palette


def block(top: int, left: int, height: int, width: int) -> np.ndarray:
    mask = np.zeros((32, 32), bool)
    mask[top : top + height, left : left + width] = True
    return mask


CAT, BOW, SPECK = block(2, 2, 14, 14), block(18, 2, 12, 28), block(2, 22, 7, 7)


@dataclass(frozen=True)
class KnownMaps:
    """Stands for a Text2Mask that paints known maps in turn, in exact colours, for one caption."""

    colormaps: list[np.ndarray]
    reading_palette: Palette
    seeds: list[int] = field(default_factory=list)
    reach: int = 1

    def __call__(self, captions, *, seeds, **_: object) -> np.ndarray:
        assert len(captions) == len(seeds) == 1
        self.seeds.extend(seeds)
        return self.colormaps[min(len(self.seeds), len(self.colormaps)) - 1][None]


@pytest.fixture
def paint(make_config, models, real_images):
    """Paint one canvas of "a cat on a bow" (image 2) whose colour maps show other things too."""

    def paint(
        reject: str,
        maps=(((5, CAT), (11, BOW), (5, SPECK)),),
        tries=1,
        changes=(),
        **gates: object,
    ):
        config = make_config(
            "masksyn",
            text2mask=models / "text2mask",
            mask2img=models / "mask2img",
            captions_file=real_images / "captions.json",
            main_categories=("bow_(weapon)",),
            num_images=1,
            reject=reject,
            gates=GateConfig(**{"min_pixels": 60, **gates}),
            text2mask_tries=tries,
            **{"captions": "coco", **dict(changes)},
        )
        plan = config.make_plan()
        painter = plan.load_painter("cpu")
        palette = painter._mask2img.palette
        colormaps = [encode(list(drawn), (32, 32), palette, "instance") for drawn in maps]
        painter._text2mask = KnownMaps(colormaps, palette)
        group = plan.groups[0]
        (painted,) = painter.paint(group)
        (result,) = painter.assembler(group, (painted,))
        seeds = painter._text2mask.seeds
        assert seeds[0] == group.canvases[0].text2mask_seed and len(set(seeds)) == len(seeds)
        paint.num_maps = len(seeds)
        return painted, result, colormaps[0]

    return paint


def test_what_the_caption_does_not_name_is_rejected_and_painted(paint):
    painted, result, colormap = paint("region")
    found = {(one.category_id, one.reason) for one in painted.judged}
    assert found == {(5, ""), (5, "too_small"), (11, "not_in_caption"), (9, "missing")}
    assert (painted.colormap == colormap).all()
    kept = [obj for obj in result.objects if not obj.reason]
    assert len(kept) == 1 and (kept[0].mask == CAT).all() and kept[0].measures == {"confidence": 1}
    assert kept[0].prompt == "a cat on a bow" and result.planned["category_ids"][0] == 5
    pictures = {obj.reason: obj.thumbnail for obj in result.objects}
    assert pictures[""] is None and pictures["missing"] is None
    assert pictures["too_small"].shape == (13, 14, 3)
    assert pictures["not_in_caption"].shape == (18, 32, 3)


def test_what_is_rejected_is_erased(paint):
    painted, _, colormap = paint("erase")
    background = colormap[31, 31]
    assert (painted.colormap[CAT] == colormap[CAT]).all()
    assert (painted.colormap[BOW | SPECK] == background).all()


def test_one_rejected_segment_drops_the_canvas(paint):
    painted, result, _ = paint("image")
    assert painted.image is None and result.image is None
    assert all(obj.reason for obj in result.objects)


def test_any_painted_segment_where_captions_do_not_say_all(paint):
    painted, result, _ = paint("region", named=False)
    kept = {one.category_id for one in painted.judged if not one.reason}
    assert kept == {5, 11} and result.image.shape == (32, 32, 3)


def test_maps_are_painted_until_one_has_all_that_the_caption_names(paint):
    """'A cat on a bow' names 5 and 9; a speck is no object."""
    maps = [[(5, SPECK)], [(5, CAT)], [(9, BOW)], [(5, CAT), (9, BOW)], []]
    kept = []
    for tries in (1, 2, 3, 4, 9):
        painted, _, _ = paint("region", maps, tries)
        kept.append([one.category_id for one in painted.judged if not one.reason])
        assert paint.num_maps == min(tries, 4)
    assert kept == [[], [5], [5], [5, 9], [5, 9]]


def test_maps_are_read_in_the_colours_that_the_caption_names(paint):
    painted, _, _ = paint("region", changes={"text2mask_colors": "caption"})
    assert {one.category_id for one in painted.judged} == {5, 9}
    cats = [one for one in painted.judged if one.category_id == 5 and not one.reason]
    assert any((one.mask & CAT).sum() == CAT.sum() for one in cats)


def test_segments_of_smaller_maps_are_scaled(paint):
    usual, _, _ = paint("region")
    painted, result, _ = paint("region", changes={"size": (48, 64), "text2mask_size": (32, 32)})
    assert result.image.shape == painted.colormap.shape == (48, 64, 3)
    for small, large in zip(usual.judged, painted.judged, strict=True):
        assert small.category_id == large.category_id
        if small.mask is not None:
            rows, columns = (2 * np.arange(48) + 1) // 3, np.arange(64) // 2  # at their centres
            assert (large.mask == small.mask[rows[:, None], columns]).all()
    speck = [one.reason for one in painted.judged if one.mask is not None and one.mask.sum() < 200]
    assert speck == [""]  # gates count pixels of the image


def test_pixels_read_the_prompt_of_their_region(paint, monkeypatch):
    from mf_plugin.seggen import mask2img

    read, find = [], mask2img.find_regions

    def watch(*arguments):
        read.append(find(*arguments))
        return read[-1]

    monkeypatch.setattr(mask2img, "find_regions", watch)
    usual, _, _ = paint("region")
    assert read == []  # neither the config nor the model asks for it
    painted, _, _ = paint("region", changes={"region_prompt": "a photo of a {name}"})
    (regions,) = read
    words = dict(zip(regions.prompts, regions.masks, strict=True))
    assert sorted(words) == ["a cat on a bow", "a photo of a cat", "a photo of a tub"]
    assert (words["a photo of a cat"] == (CAT | SPECK)).all()
    assert (words["a photo of a tub"] == BOW).all()
    assert (usual.image != painted.image).any()
    paint("region", changes={"region_prompt": "a photo of a {name}", "captions": "composed"})
    assert "" in read[1].prompts  # a composed caption says nothing of the background
