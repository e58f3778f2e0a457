"""What the package carries: the bundled model and art load, and stay within their weight."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import mf_plugin

ASSETS = Path(mf_plugin.__file__).parent / "assets"


def weight(folder: Path) -> float:
    """MB of all files below a folder."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 1e6


@pytest.mark.parametrize("folder, limit", [("tiny_sd", 20), ("tiny_seggen", 20), ("minilvis", 10)])
def test_assets_stay_light(folder, limit):
    assert 0 < weight(ASSETS / folder) <= limit


def test_every_bundled_icon_set_is_named_with_its_licence():
    from mf_plugin.lvis.sprites import STYLES

    notice = (ASSETS / "minilvis" / "NOTICE.md").read_text()
    assert [style for style in STYLES if style not in notice] == []
    for licence in ("MIT", "Apache-2.0", "CC BY 4.0"):
        assert licence in notice or licence.replace(" ", "-") in notice


@pytest.fixture(scope="module")
def pipeline():
    diffusers = pytest.importorskip("diffusers")
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(ASSETS / "tiny_sd")
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def test_tiny_sd_is_a_plain_diffusers_pipeline(pipeline):
    torch = pytest.importorskip("torch")
    images = pipeline(
        "a photo of a single violin on a white background",
        height=64,
        width=64,
        num_inference_steps=10,
        guidance_scale=4.0,
        generator=torch.Generator().manual_seed(0),
        output_type="np",
    ).images
    assert images.shape == (1, 64, 64, 3) and np.isfinite(images).all()
    corners = images[0, [0, 0, -1, -1], [0, -1, 0, -1]].mean()
    assert corners > 0.7  # the background that was asked for


def test_a_third_of_the_names_are_several_tokens_long(pipeline):
    from mf_plugin.lvis.sprites import table_categories
    from mf_plugin.vocabulary import Vocabulary

    names = [c.clean_name for c in Vocabulary.from_categories(table_categories())]
    long = [name for name in names if len(pipeline.tokenizer.tokenize(name)) > 1]
    assert len(long) >= len(names) / 3


def test_attention_of_the_bundled_model_finds_its_objects():
    """Far below what tools/measure_masks.py measures, far above a model that knows nothing."""
    from mf_plugin.evaluation.mask_quality import MaskSetting, compare_masks, summarise
    from mf_plugin.generation.config import load_generation_config
    from mf_plugin.lvis.sprites import preset_categories
    from mf_plugin.mosaic.pipeline import MosaicPipeline
    from mf_plugin.vocabulary import Vocabulary

    pytest.importorskip("diffusers")
    config = load_generation_config(
        Path(__file__).parents[1] / "configs/generation/minilvis_rare.py"
    )
    rare = Vocabulary.from_categories(preset_categories("demo")).group("r")
    measured = compare_masks(
        MosaicPipeline.from_pretrained(config.model),
        config,
        {"own": MaskSetting(config.attention, config.mask)},
        rare,
        per_category=3,
        size=(64, 64),
        read_steps=[6, 12, 18],
        seed=1,
    )["own"]
    assert summarise(measured)["mean_iou"] > 0.4


@pytest.fixture(scope="module")
def demo():
    from mf_plugin.lvis.sprites import preset_categories
    from mf_plugin.vocabulary import Vocabulary

    pytest.importorskip("diffusers")
    return Vocabulary.from_categories(preset_categories("demo"))


def test_text2mask_paints_what_captions_name(demo):
    """Far below what tools/judge_seggen.py measures, far above a model that knows nothing."""
    from mf_plugin.evaluation.caption_agreement import measure_agreement
    from mf_plugin.evaluation.painted_maps import paint_maps, read_maps
    from mf_plugin.seggen.captions import expect_categories
    from mf_plugin.seggen.text2mask import Text2Mask

    model = Text2Mask.from_pretrained(ASSETS / "tiny_seggen/text2mask", scheduler="DDIMScheduler")
    captions = ["a penguin", "two crowns", "a dove", "a gemstone and a snake", "an alarm clock"]
    named = [expect_categories(caption, demo) for caption in captions]
    maps = paint_maps(model, captions, seed=0, steps=15, guidance=2.0, batch_size=5)
    painted = read_maps(model, maps, named)
    assert measure_agreement(named, painted, num_draws=10)["class_recall"][0] >= 0.6


def test_mask2img_paints_into_its_masks(demo):
    """A ladybug is red, and where its mask is; what lies around is not."""
    from mf_plugin.seggen.colormap import encode
    from mf_plugin.seggen.mask2img import Mask2Img
    from mf_plugin.seggen.regions import region_prompts

    model = Mask2Img.from_pretrained(ASSETS / "tiny_seggen/mask2img", scheduler="DDIMScheduler")
    (ladybug,) = (category for category in demo if category.name == "ladybug")
    rows, columns = np.mgrid[:96, :96]
    masks = [((rows - 48) / 26) ** 2 + ((columns - x) / 20) ** 2 < 1 for x in (28, 68)]
    maps = [encode([(ladybug.id, mask)], (96, 96), model.palette, "instance") for mask in masks]
    images = model(
        ["", ""],
        np.stack(maps),
        seeds=[0, 1],
        steps=15,
        guidance=4.0,
        region_prompts=region_prompts(model.record.region_prompt, demo),
    )
    for image, mask in zip(images.astype(int), masks, strict=True):
        red = (image[..., 0] > 140) & (image[..., 0] - image[..., 1:].max(-1) > 60)
        assert (red & mask).sum() / mask.sum() > 0.2
        assert (red & mask).sum() / red.sum() > 0.8
