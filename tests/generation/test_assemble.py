"""What becomes of rejected objects, on hand-made pixels and attention."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mf_plugin.generation.assemble import assemble_canvas, load_models
from mf_plugin.generation.filters import FilterConfig
from mf_plugin.generation.plan import make_plan
from mf_plugin.mosaic.attention import RegionAttention
from mf_plugin.mosaic.clip import ClipFilterConfig, ClipScorer
from mf_plugin.mosaic.masks import MaskConfig, attention_to_mask, mask_stability
from mf_plugin.mosaic.sam import SamRefineConfig

pytest.importorskip("scipy")


def square(size: int, top: int, left: int, side: int) -> RegionAttention:
    heat = np.zeros((size, size), np.float32)
    heat[top : top + side, left : left + side] = 1
    return RegionAttention({1: heat})


@pytest.fixture
def two_good_two_bad(make_config, vocabulary):
    """A canvas of 64 x 64 with four regions of 32 x 32; the regions 1 and 2 have no object."""
    config = make_config(
        num_images=1,
        jitter=0.5,
        overlap=(0, 0),
        mask=MaskConfig(method="published", scales=(1,), solver_rounds=0),
        filters=FilterConfig(0.05, 0.9),
    )
    group = make_plan(config, vocabulary).groups[0]
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    empty = RegionAttention({1: np.zeros((32, 32), np.float32)})
    attention = [square(32, 8, 8, 16), empty, empty, square(32, 4, 4, 20)]
    return image, attention, group, config


def test_region_policy_keeps_the_others_and_blanks_the_rejected(two_good_two_bad):
    image, attention, group, config = two_good_two_bad
    result = assemble_canvas(image, attention, group, group.canvases[0], config)
    assert [obj.reason for obj in result.objects] == ["", "no_component", "no_component", ""]
    assert result.objects[0].mask[8:24, 8:24].all() and result.objects[0].mask.sum() == 256
    assert result.objects[3].mask[36:56, 36:56].all() and result.objects[3].mask.sum() == 400
    assert result.objects[1].mask is None and result.objects[1].thumbnail.shape == (32, 32, 3)
    assert (result.image[:32, :32] == image[:32, :32]).all()
    assert (result.image[32:, 32:] == image[32:, 32:]).all()
    assert len(np.unique(result.image[:32, 32:].reshape(-1, 3), axis=0)) == 1
    assert len(np.unique(result.image[32:, :32].reshape(-1, 3), axis=0)) == 1


def test_image_policy_drops_the_canvas(two_good_two_bad):
    image, attention, group, config = two_good_two_bad
    config = dataclasses.replace(config, reject="image")
    result = assemble_canvas(image, attention, group, group.canvases[0], config)
    assert result.image is None
    assert [obj.reason for obj in result.objects] == [
        "image_rejected",
        "no_component",
        "no_component",
        "image_rejected",
    ]


def test_overlapping_objects_share_no_pixel_and_blanking_spares_them(two_good_two_bad, vocabulary):
    image, _, _, config = two_good_two_bad
    config = dataclasses.replace(config, overlap=(16, 16))
    group = make_plan(config, vocabulary).groups[0]
    full = RegionAttention({1: np.pad(np.ones((36, 36), np.float32), 2)})
    empty = RegionAttention({1: np.zeros((40, 40), np.float32)})
    result = assemble_canvas(image, [full, full, empty, full], group, group.canvases[0], config)
    masks = [obj.mask for obj in result.objects if not obj.reason]
    assert len(masks) == 3 and np.sum(masks, axis=0).max() == 1
    kept = np.any(masks, axis=0)
    assert (result.image[kept] == image[kept]).all()
    assert len(np.unique(result.image[24:, :40][~kept[24:, :40]], axis=0)) == 1


def test_the_stability_of_accepted_objects_is_measured(two_good_two_bad):
    image, attention, group, config = two_good_two_bad
    heat = np.zeros((32, 32), np.float32)
    heat[8:24, 8:24], heat[8:24, 8:10] = 1, 0.5
    attention[0] = RegionAttention({1: heat})
    mask = MaskConfig(method="published", scales=(1,), threshold=0.5, solver_rounds=0)
    config = dataclasses.replace(config, mask=mask)
    result = assemble_canvas(image, attention, group, group.canvases[0], config)
    first, *rejected, last = result.objects
    # At 0.45 the faint 2 of 16 columns belong to the mask, at 0.55 they do not.
    assert first.measures == {"stability": pytest.approx(14 / 16)}
    assert first.measures["stability"] == mask_stability(attention[0], image[:32, :32], mask)
    assert last.measures == {"stability": 1.0}
    assert [obj.measures for obj in rejected] == [{}, {}]


def test_sam_redraws_the_masks_of_its_regions(two_good_two_bad, tiny_sam_folder):
    image, attention, group, config = two_good_two_bad
    wide = FilterConfig(min_area=0, max_area=1, components=999)
    config = dataclasses.replace(config, sam=SamRefineConfig(tiny_sam_folder), filters=wide)
    models = load_models(config, "cpu")
    result = assemble_canvas(image, attention, group, group.canvases[0], config, models)
    crop = image[:32, :32]
    (expected,) = models.sam.refine(crop, [attention_to_mask(attention[0], crop, config.mask)])
    assert expected.any() and not expected.all()
    assert (result.objects[0].mask[:32, :32] == expected).all()
    assert [bool(obj.reason) for obj in result.objects[1:3]] == [True, True]


def test_clip_rejects_what_does_not_look_like_its_prompt(two_good_two_bad, tiny_clip_folder):
    image, attention, group, config = two_good_two_bad
    canvas = group.canvases[0]
    texts = [prompt.text for prompt in canvas.prompts]
    crops = [image[region.slices] for region in group.layout.regions]
    scores = ClipScorer(tiny_clip_folder).score(crops, texts)
    assert scores[0] != pytest.approx(scores[3], abs=1e-3)
    between = float(scores[0] + scores[3]) / 2
    config = dataclasses.replace(config, clip=ClipFilterConfig(tiny_clip_folder, between))
    models = load_models(config, "cpu")
    result = assemble_canvas(image, attention, group, canvas, config, models)
    better, worse = (0, 3) if scores[0] > scores[3] else (3, 0)
    kept, rejected = result.objects[better], result.objects[worse]
    assert kept.reason == "" and kept.measures["clip_score"] == pytest.approx(scores[better])
    assert rejected.reason == "low_clip_score" and rejected.mask is None
    area = image[group.layout.regions[worse].slices]
    filled = result.image[group.layout.regions[worse].slices]
    assert len(np.unique(filled.reshape(-1, 3), axis=0)) == 1
    assert len(np.unique(area.reshape(-1, 3), axis=0)) > 1
