from __future__ import annotations

import numpy as np
import pytest

from mf_plugin.errors import InputError
from mf_plugin.mosaic.attention import AttentionConfig, SubjectAttention
from mf_plugin.mosaic.backbone import make_backbone
from mf_plugin.mosaic.layout import MosaicLayout, Region
from mf_plugin.mosaic.pipeline import MosaicPipeline
from mf_plugin.mosaic.prompts import Prompt

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

ONE = MosaicLayout(32, 48, (Region(0, 0, 32, 48),))
SEEDS = [11, 12]
FOLDERS = {"sd1": "tiny_sd_folder", "sd2": "tiny_sd2_folder", "sdxl": "tiny_sdxl_folder"}
MAP_SIZES = {  # {scale: (h, w)} for latents of 16 x 24
    "sd1": {1: (16, 24), 2: (8, 12)},
    "sd2": {1: (16, 24), 2: (8, 12)},
    "sdxl": {2: (8, 12), 4: (4, 6)},
}


@pytest.fixture(scope="module", params=FOLDERS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def folder(request, kind):
    return request.getfixturevalue(FOLDERS[kind])


@pytest.fixture(scope="module")
def mosaic(folder):
    return MosaicPipeline.from_pretrained(folder)


def plain_images(components, scheduler, text, **options):
    """What diffusers' own pipeline makes of these components."""
    components.set_progress_bar_config(disable=True)
    own = components.scheduler
    components.scheduler = type(scheduler).from_config(scheduler.config)
    try:
        return components(
            [text] * len(SEEDS), height=32, width=48, output_type="np", **options
        ).images
    finally:
        components.scheduler = own


def noise():
    draws = [torch.randn(1, 4, 16, 24, generator=torch.Generator().manual_seed(s)) for s in SEEDS]
    return torch.cat(draws)


def check_one_region(mosaic, prompt, guidance, negative=""):
    output = mosaic(
        ONE,
        [[prompt]] * len(SEEDS),
        seeds=SEEDS,
        steps=4,
        guidance=guidance,
        negative_prompt=negative,
    )
    expected = plain_images(
        mosaic.components,
        mosaic.scheduler,
        prompt.text,
        latents=noise(),
        num_inference_steps=4,
        guidance_scale=guidance,
        negative_prompt=[negative] * len(SEEDS) if negative else None,
    )
    pixels = mosaic.decode(output.latents)
    assert np.abs(pixels - expected).mean() < 1e-4
    assert pixels.std() > 0.01
    return output


@pytest.mark.parametrize("scheduler", [None, "PNDMScheduler", "UniPCMultistepScheduler"])
@pytest.mark.parametrize("guidance, negative", [(1, ""), (7.5, ""), (7.5, "a bath")])
def test_one_region_is_the_plain_pipeline(mosaic, cat, scheduler, guidance, negative):
    check_one_region(MosaicPipeline(mosaic.components, scheduler), cat, guidance, negative)


def test_kinds_are_told_apart(kind, mosaic):
    names = {"sd1": "Backbone", "sd2": "Backbone", "sdxl": "SdxlBackbone"}
    assert type(mosaic.backbone).__name__ == names[kind]
    assert (mosaic.vae_factor, mosaic.region_multiple) == (2, 8 if kind == "sdxl" else 4)
    if kind == "sd2":
        assert mosaic.scheduler.config.prediction_type == "v_prediction"


def test_maps_of_each_kind(kind, mosaic, cat, towel):
    output = mosaic(ONE, [[cat], [towel]], seeds=SEEDS, steps=2, guidance=3.0)
    for (region,) in output.attention:
        assert {scale: m.shape for scale, m in region.maps.items()} == MAP_SIZES[kind]
        for values in region.maps.values():
            assert values.min() >= 0 and values.max() <= 1 and values.std() > 1e-3


@pytest.mark.parametrize("blocks", [("down",), ("mid",), ("up",), ("down", "mid", "up")])
def test_the_scales_of_maps_are_known_before_they_are_read(mosaic, cat, blocks):
    attention = AttentionConfig(blocks=blocks)
    output = mosaic(ONE, [[cat]], seeds=[1], steps=1, guidance=1.0, attention=attention)
    assert mosaic.attention_scales(attention) == tuple(output.attention[0][0].maps)


def test_attention_of_all_tokens_adds_up_to_one(mosaic, cat, monkeypatch):
    """Each place pays 1 in all, in each layer; a map is a mean over layers, heads and steps."""
    make_sums = SubjectAttention.make_sums

    def with_every_token(*arguments):
        sums = make_sums(*arguments)
        assert sums.token_weights.sum(dim=1).tolist() == pytest.approx([1, 1])
        sums.token_weights = torch.ones_like(sums.token_weights)
        return sums

    monkeypatch.setattr(SubjectAttention, "make_sums", with_every_token)
    output = mosaic(ONE, [[cat]] * 2, seeds=SEEDS, steps=2, guidance=3.0)
    for (region,) in output.attention:
        for values in region.maps.values():
            assert values == pytest.approx(np.ones_like(values), abs=1e-5)


def test_a_canvas_does_not_depend_on_its_neighbours(mosaic, two_regions, cat, towel):
    options = dict(steps=2, guidance=5.0)
    prompts = [[cat, towel], [towel, cat]]
    both = mosaic(two_regions, prompts, seeds=SEEDS, **options)
    alone = mosaic(two_regions, prompts[1:], seeds=SEEDS[1:], **options)
    assert (both.latents[1] - alone.latents[0]).abs().max() < 5e-5 * both.latents.std()
    for region in range(2):
        for scale, values in alone.attention[0][region].maps.items():
            assert both.attention[1][region].maps[scale] == pytest.approx(values, abs=1e-5)
    assert (both.latents[0] - both.latents[1]).abs().max() > 0.1


def test_brain_floats_give_nearly_the_same(folder, mosaic, cat):
    half = MosaicPipeline.from_pretrained(folder, dtype="bf16")
    options = dict(seeds=SEEDS, steps=2, guidance=2.0)
    rough = half(ONE, [[cat]] * 2, **options)
    exact = mosaic(ONE, [[cat]] * 2, **options)
    assert half.unet.dtype == torch.bfloat16 and rough.latents.dtype == torch.float32
    difference = (rough.latents - exact.latents).abs()
    assert 0 < difference.mean() < 0.05 * exact.latents.std()
    for scale, values in exact.attention[0][0].maps.items():
        assert np.abs(rough.attention[0][0].maps[scale] - values).mean() < 0.01


def test_attend_reads_given_images(mosaic, cat):
    """An image's maps depend on its own seed alone."""
    image = np.random.default_rng(0).integers(0, 256, (1, 32, 48, 3), dtype=np.uint8)
    (read,) = mosaic.attend(image, [cat], seeds=[1], steps=5, read_steps=[2])
    with torch.no_grad():
        clean = mosaic.backbone.encode_pixels(torch.from_numpy(image / 255).permute(0, 3, 1, 2))
    assert clean.dtype == torch.float32 and clean.shape == (1, 4, 16, 24)
    images = np.repeat(image, 3, 0)
    again = mosaic.attend(images, [cat] * 3, seeds=[0, 1, 2], steps=5, read_steps=[2])
    for scale, values in read.maps.items():
        assert again[1].maps[scale] == pytest.approx(values, abs=1e-5)
        assert np.abs(again[0].maps[scale] - values).max() > 1e-4


def test_large_batches_go_through_the_vae_in_parts(mosaic, monkeypatch):
    latents = torch.randn(5, 4, 16, 24, generator=torch.Generator().manual_seed(0))
    whole = mosaic.decode(latents)
    assert whole.shape == (5, 32, 48, 3) and whole.dtype == np.float32
    sizes = []
    decode = mosaic.backbone.vae.decode
    monkeypatch.setattr("mf_plugin.mosaic.backbone._VAE_PIXELS", 2 * 32 * 48)
    monkeypatch.setattr(
        mosaic.backbone.vae, "decode", lambda z, **o: sizes.append(len(z)) or decode(z, **o)
    )
    assert mosaic.decode(latents) == pytest.approx(whole, abs=1e-5)
    assert sizes == [2, 2, 1]


# SDXL


@pytest.fixture(scope="module")
def sdxl(tiny_sdxl_folder):
    return MosaicPipeline.from_pretrained(tiny_sdxl_folder)


def recorded_conditions(mosaic, layout, prompts, **options):
    """The conditions of every U-Net call of one step."""
    calls = []
    handle = mosaic.unet.register_forward_pre_hook(
        lambda module, args, kwargs: calls.append(kwargs), with_kwargs=True
    )
    try:
        mosaic(layout, prompts, seeds=[1] * len(prompts), steps=1, **options)
    finally:
        handle.remove()
    return [call["added_cond_kwargs"] for call in calls], [
        call["encoder_hidden_states"] for call in calls
    ]


def test_sdxl_regions_are_images_of_their_own(sdxl, two_regions, cat, towel):
    prompts = [[cat, towel], [towel, towel]]
    added, contexts = recorded_conditions(sdxl, two_regions, prompts, guidance=3.0)
    sizes = [call["time_ids"].tolist() for call in added]
    # Two canvases, with and without text; regions of 32 x 32 and 32 x 40 pixels.
    assert sizes == [[[32, 32, 0, 0, 32, 32]] * 4, [[32, 40, 0, 0, 32, 40]] * 4]
    encoded = sdxl.components.encode_prompt([cat.text, towel.text], device="cpu")
    for call, texts in zip(range(2), ([0, 1], [1, 1])):
        assert torch.equal(added[call]["text_embeds"][:2], torch.zeros(2, 20))
        assert torch.equal(contexts[call][:2], torch.zeros_like(contexts[call][:2]))
        assert torch.allclose(added[call]["text_embeds"][2:], encoded[2][texts], atol=1e-5)
        assert torch.allclose(contexts[call][2:], encoded[0][texts], atol=1e-5)


def test_sdxl_empty_prompts_are_zeros_only_where_the_checkpoint_says_so(
    sdxl, tiny_sdxl_folder, cat
):
    other = diffusers.StableDiffusionXLPipeline.from_pretrained(
        tiny_sdxl_folder, force_zeros_for_empty_prompt=False
    )
    output = check_one_region(MosaicPipeline(other), cat, 5.0)
    zeros = check_one_region(sdxl, cat, 5.0)
    assert (output.latents - zeros.latents).abs().max() > 1e-2


def test_sdxl_tokenizers_must_agree_on_the_subject(tiny_sdxl_folder):
    components = diffusers.StableDiffusionXLPipeline.from_pretrained(tiny_sdxl_folder)
    components.tokenizer_2 = type(components.tokenizer)(
        components.tokenizer.get_vocab(), [("c", "a")], model_max_length=77
    )
    mosaic = MosaicPipeline(components)
    with pytest.raises(InputError, match=r"tokens \[2\] in the first .* \[2, 3\] in the second"):
        mosaic(ONE, [[Prompt("a cat", (2, 5))]], seeds=[1], steps=1, guidance=2.0)


def test_sdxl_keeps_a_vae_that_overflows_in_float32(tiny_sdxl_folder, tiny_sd_folder, cat):
    half = MosaicPipeline.from_pretrained(tiny_sdxl_folder, dtype="fp16")
    assert half.backbone.vae.config.force_upcast and half.backbone.vae.dtype == torch.float32
    assert half.unet.dtype == half.components.text_encoder_2.dtype == torch.float16
    output = half(ONE, [[cat]], seeds=[1], steps=2, guidance=2.0)
    assert torch.isfinite(output.latents).all() and output.images.std() > 1
    plain = MosaicPipeline.from_pretrained(tiny_sd_folder, dtype="fp16")
    assert plain.backbone.vae.dtype == torch.float16


def test_latents_with_a_mean_and_a_deviation(tiny_sdxl_folder, cat):
    """As in Playground 2.5: an EDM scheduler, and a VAE that says where its latents lie."""
    components = diffusers.StableDiffusionXLPipeline.from_pretrained(
        tiny_sdxl_folder, scheduler=diffusers.EDMEulerScheduler()
    )
    components.vae.register_to_config(
        latents_mean=[0.1, -0.2, 0.3, 0.4], latents_std=[1.5, 2.0, 0.7, 1.1]
    )
    mosaic = MosaicPipeline(components)
    output = check_one_region(mosaic, cat, 3.0)
    pixels = torch.from_numpy(mosaic.decode(output.latents)).permute(0, 3, 1, 2)
    with torch.no_grad():
        moments = components.vae.encode(pixels * 2 - 1).latent_dist.mode()
    mean = torch.tensor([0.1, -0.2, 0.3, 0.4]).view(1, 4, 1, 1)
    std = torch.tensor([1.5, 2.0, 0.7, 1.1]).view(1, 4, 1, 1)
    expected = (moments - mean) * components.vae.config.scaling_factor / std
    with torch.no_grad():
        encoded = mosaic.backbone.encode_pixels(pixels)
    assert torch.allclose(encoded, expected, atol=1e-4)


def test_unets_that_take_the_guidance_as_an_input(tiny_sd_folder, cat):
    """As in latent consistency models: no unconditional half."""
    components = diffusers.StableDiffusionPipeline.from_pretrained(tiny_sd_folder)
    torch.manual_seed(0)
    config = {**components.unet.config, "time_cond_proj_dim": 6}
    components.unet = diffusers.UNet2DConditionModel.from_config(config)
    mosaic = MosaicPipeline(components, "LCMScheduler")
    rows = []
    handle = components.unet.register_forward_pre_hook(lambda _, args: rows.append(len(args[0])))
    weak = mosaic(ONE, [[cat]], seeds=[1], steps=2, guidance=2.0)
    handle.remove()
    assert rows == [1, 1]
    strong = mosaic(ONE, [[cat]], seeds=[1], steps=2, guidance=8.0)
    assert (weak.latents - strong.latents).abs().max() > 1e-3
    check_one_region(MosaicPipeline(components, "DDIMScheduler"), cat, 8.0)


def test_other_kinds_are_named(tiny_sd_folder):
    components = diffusers.StableDiffusionImg2ImgPipeline.from_pretrained(
        tiny_sd_folder, safety_checker=None, requires_safety_checker=False
    )
    expected = "is a StableDiffusionImg2ImgPipeline; expected StableDiffusionPipeline or Stable"
    with pytest.raises(InputError, match=expected):
        make_backbone(components)


def test_sdxl_parts_that_are_missing_are_named(tiny_sdxl_folder):
    components = diffusers.StableDiffusionXLPipeline.from_pretrained(tiny_sdxl_folder)
    components.text_encoder = None
    with pytest.raises(InputError, match="lacks a text encoder; expected two"):
        MosaicPipeline(components)
