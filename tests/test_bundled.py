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


@pytest.mark.parametrize("folder, limit", [("tiny_sd", 20), ("minilvis", 10)])
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
