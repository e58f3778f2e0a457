from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from mf_plugin.errors import InputError
from mf_plugin.mosaic.attention import AttentionConfig
from mf_plugin.mosaic.layout import MosaicLayout, Region, gaussian_weights
from mf_plugin.mosaic.pipeline import MosaicPipeline

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

ONE = MosaicLayout(32, 48, (Region(0, 0, 32, 48),))


def plain_images(folder, scheduler, text, latents, steps, guidance, negative=""):
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(
        folder, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = type(scheduler).from_config(scheduler.config)
    return pipe(
        text,
        negative_prompt=negative,
        latents=latents,
        height=32,
        width=48,
        num_inference_steps=steps,
        guidance_scale=guidance,
        output_type="np",
    ).images


@pytest.mark.parametrize("scheduler", [None, "PNDMScheduler", "LMSDiscreteScheduler"])
@pytest.mark.parametrize("guidance", [1, 7.5])
def test_one_region_is_plain_stable_diffusion(model_folder, cat, scheduler, guidance):
    pipeline = MosaicPipeline.from_pretrained(model_folder, scheduler=scheduler)
    seeds = [11, 12]
    noise = torch.cat(
        [torch.randn(1, 4, 16, 24, generator=torch.Generator().manual_seed(s)) for s in seeds]
    )
    texts = ["a photo of a cat"] * 2
    expected = plain_images(
        model_folder, pipeline.scheduler, texts, noise, 4, guidance, ["a bath"] * 2
    )
    output = pipeline(
        ONE, [[cat], [cat]], seeds=seeds, steps=4, guidance=guidance, negative_prompt="a bath"
    )
    pixels = pipeline.decode(output.latents)
    assert np.abs(pixels - expected).mean() < 1e-4
    assert np.array_equal(output.images, (pixels * 255).astype(np.uint8))
    given = pipeline(
        ONE,
        [[cat], [cat]],
        seeds=[0, 0],
        steps=4,
        guidance=guidance,
        negative_prompt="a bath",
        latents=noise,
    )
    assert np.array_equal(given.images, output.images)


def test_mosaic_step_by_step(pipeline, two_regions, cat, towel):
    """The published procedure, written down once more: one canvas, one region at a time."""
    seed, steps, guidance = 5, 3, 6.0
    output = pipeline(two_regions, [[cat, towel]], seeds=[seed], steps=steps, guidance=guidance)

    pipe = pipeline.components
    latents = torch.randn((1, 4, 16, 32), generator=torch.Generator().manual_seed(seed))
    pipe.scheduler.set_timesteps(steps)
    boxes = {"a": (0, 16, cat.text), "b": (12, 32, towel.text)}
    with torch.no_grad():
        empty = pipe.encode_prompt("", "cpu", 1, False)[0]
        for time in pipe.scheduler.timesteps:
            total, weight_sum = torch.zeros_like(latents), torch.zeros(16, 32)
            for left, right, text in boxes.values():
                crop = latents[..., left:right]
                embedding = pipe.encode_prompt(text, "cpu", 1, False)[0]
                e_u = pipe.unet(crop, time, encoder_hidden_states=empty).sample
                e_t = pipe.unet(crop, time, encoder_hidden_states=embedding).sample
                w = torch.tensor(np.outer(gaussian_weights(16), gaussian_weights(right - left)))
                total[..., left:right] += (w * (e_u + guidance * (e_t - e_u))).float()
                weight_sum[:, left:right] += w.float()
            latents = pipe.scheduler.step(total / weight_sum, time, latents).prev_sample
    assert (output.latents - latents).abs().max() < 1e-4


def test_a_canvas_does_not_depend_on_its_neighbours_in_the_batch(pipeline, two_regions, cat, towel):
    options = dict(steps=3, guidance=5.0)
    together = pipeline(
        two_regions, [[cat, towel], [towel, towel], [cat, cat]], seeds=[1, 2, 3], **options
    )
    for index, prompts in enumerate([[cat, towel], [towel, towel], [cat, cat]]):
        alone = pipeline(two_regions, [prompts], seeds=[index + 1], **options)
        assert (together.latents[index] - alone.latents[0]).abs().max() < 1e-4
        for region in range(2):
            for scale, values in alone.attention[0][region].maps.items():
                assert together.attention[index][region].maps[scale] == pytest.approx(
                    values, abs=1e-5
                )
    assert (together.latents[0] - together.latents[1]).abs().max() > 0.1


def test_equal_regions_share_a_call_and_maps_find_their_region(pipeline, cat, towel):
    # Two regions of 16 x 16 latents and one of 16 x 8, the second shape between the first two.
    regions = (Region(0, 0, 32, 32), Region(0, 24, 32, 16), Region(0, 32, 32, 32))
    layout = MosaicLayout(32, 64, regions)
    calls = []
    handle = pipeline.unet.register_forward_pre_hook(
        lambda module, args: calls.append(tuple(args[0].shape))
    )
    try:
        prompts = [[cat, towel, towel], [towel, cat, cat]]
        output = pipeline(layout, prompts, seeds=[1, 2], steps=2, guidance=3.0)
    finally:
        handle.remove()
    # Two canvases, with and without text: 8 rows for the two squares, 4 for the other.
    assert calls == [(8, 4, 16, 16), (4, 4, 16, 8)] * 2
    for canvas in range(2):
        for index, size in enumerate([(16, 16), (16, 8), (16, 16)]):
            maps = output.attention[canvas][index].maps
            assert {scale: m.shape for scale, m in maps.items()} == {
                1: size,
                2: (size[0] // 2, size[1] // 2),
            }
            assert all(m.dtype == np.float32 for m in maps.values())
    swapped = pipeline(layout, prompts[::-1], seeds=[2, 1], steps=2, guidance=3.0)
    for index in range(3):
        assert swapped.attention[1][index].maps[1] == pytest.approx(
            output.attention[0][index].maps[1], abs=1e-5
        )
    assert np.abs(output.attention[0][0].maps[1] - output.attention[0][2].maps[1]).max() > 1e-3


def test_latents_that_the_unet_cannot_halve_evenly(pipeline, cat):
    layout = MosaicLayout(30, 42, (Region(0, 0, 30, 42),))
    output = pipeline(layout, [[cat]], seeds=[0], steps=1, guidance=2.0)
    assert output.images.shape == (1, 30, 42, 3) and output.images.dtype == np.uint8
    assert {s: m.shape for s, m in output.attention[0][0].maps.items()} == {1: (15, 21), 2: (8, 11)}


def test_attention_settings(pipeline, towel):
    def maps(**settings):
        config = AttentionConfig(**settings)
        output = pipeline(ONE, [[towel]], seeds=[4], steps=3, guidance=4.0, attention=config)
        return output.attention[0][0].maps

    everything, first, rest = maps(), maps(steps=(0, 1)), maps(steps=(1, None))
    assert everything[1] == pytest.approx((first[1] + 2 * rest[1]) / 3, abs=1e-5)
    assert np.abs(first[1] - rest[1]).max() > 1e-4
    assert np.abs(maps(tokens="last")[1] - everything[1]).max() > 1e-4
    assert maps(steps=(9, None)) == {}


def test_stochastic_schedulers_draw_from_each_canvas_seed(model_folder, cat):
    pipeline = MosaicPipeline.from_pretrained(
        model_folder, scheduler="EulerAncestralDiscreteScheduler"
    )
    options = dict(steps=3, guidance=3.0)
    both = pipeline(ONE, [[cat], [cat]], seeds=[7, 8], **options)
    alone = pipeline(ONE, [[cat]], seeds=[8], **options)
    assert (both.latents[1] - alone.latents[0]).abs().max() < 1e-4


def test_half_precision(model_folder, cat):
    pipeline = MosaicPipeline.from_pretrained(model_folder, dtype="bf16")
    exact = MosaicPipeline.from_pretrained(model_folder)
    options = dict(seeds=[1], steps=2, guidance=2.0)
    half = pipeline(ONE, [[cat]], **options)
    assert half.latents.dtype == torch.float32
    assert (half.latents - exact(ONE, [[cat]], **options).latents).abs().mean() < 0.1


def test_attend_reads_the_attention_of_given_images(pipeline, cat, towel):
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 48, 3), dtype=np.uint8)
    maps = pipeline.attend(images, [cat, towel], seeds=[1, 2], steps=10, read_steps=[3, 8])
    assert [{s: m.shape for s, m in row.maps.items()} for row in maps] == [
        {1: (16, 24), 2: (8, 12)}
    ] * 2
    alone = pipeline.attend(images[1:], [towel], seeds=[2], steps=10, read_steps=[3, 8])
    assert maps[1].maps[1] == pytest.approx(alone[0].maps[1], abs=1e-5)
    with pytest.raises(InputError, match=r"read_steps is \[10\]; expected numbers from 0 to 9"):
        pipeline.attend(images, [cat, towel], seeds=[1, 2], steps=10, read_steps=[10])


def test_attend_works_with_schedulers_that_count_their_steps(model_folder, cat):
    pipeline = MosaicPipeline.from_pretrained(model_folder, scheduler="EulerDiscreteScheduler")
    image = np.zeros((1, 16, 16, 3), dtype=np.uint8)
    options = dict(seeds=[1], steps=10)
    after_another = pipeline.attend(image, [cat], read_steps=[2, 2], **options)
    assert len(after_another) == 1 and np.isfinite(after_another[0].maps[1]).all()


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            dict(layout=MosaicLayout(32, 47, (Region(0, 0, 32, 47),))),
            "canvas width is 47; expected a multiple of 2",
        ),
        (dict(layout=MosaicLayout(32, 48, (Region(0, 0, 32, 46),))), "lies in no region"),
        (dict(seeds=[1, 2]), "1 canvases of prompts for 2 seeds"),
        (dict(prompts=[[]]), "canvas 0 has 0 prompts; expected 1"),
        (dict(steps=0), "steps is 0; expected at least 1"),
        (dict(guidance=float("nan")), "guidance is nan"),
        (dict(latents=torch.zeros(1, 4, 16, 23)), r"latents have shape \(1, 4, 16, 23\); expected"),
        (
            dict(latents=torch.full((1, 4, 16, 24), np.nan)),
            "U-Net gives numbers that are not finite in torch.float32",
        ),
    ],
)
def test_bad_input_is_named(pipeline, cat, changes, message):
    options = dict(layout=ONE, prompts=[[cat]], seeds=[1], steps=1, guidance=2.0)
    options.update(changes)
    before = dict(pipeline.unet.attn_processors)
    with pytest.raises(InputError, match=message):
        pipeline(options.pop("layout"), options.pop("prompts"), **options)
    assert all(pipeline.unet.attn_processors[name] is before[name] for name in before)


def test_a_vae_that_overflows_is_named(model_folder, cat):
    pipeline = MosaicPipeline.from_pretrained(model_folder)
    pipeline.backbone.vae.decoder.conv_out.bias.data[0] = float("inf")
    pipeline.backbone.vae.decoder.conv_out.bias.data[1] = float("nan")
    with pytest.raises(InputError, match="VAE gives numbers that are not finite in torch.float32"):
        pipeline(ONE, [[cat]], seeds=[1], steps=1, guidance=2.0)


def test_models_that_cannot_be_loaded_are_named(model_folder, tmp_path):
    with pytest.raises(InputError, match="no such folder; expected one, or a hub id"):
        MosaicPipeline.from_pretrained(tmp_path / "none")
    with pytest.raises(InputError, match="expected a diffusers folder with a model_index.json"):
        MosaicPipeline.from_pretrained(tmp_path)
    broken = tmp_path / "broken"
    shutil.copytree(model_folder, broken)
    shutil.rmtree(broken / "unet")
    with pytest.raises(InputError, match="broken' cannot be loaded"):
        MosaicPipeline.from_pretrained(broken)
    with pytest.raises(InputError, match="device 'warp9' cannot be used"):
        MosaicPipeline.from_pretrained(model_folder, device="warp9")
    with pytest.raises(InputError, match="scheduler 'Magic' cannot take .* expected one of DDIM"):
        MosaicPipeline.from_pretrained(model_folder, scheduler="Magic")


def test_properties_and_hash(pipeline, model_folder):
    assert (pipeline.vae_factor, pipeline.region_multiple) == (2, 4)
    value = pipeline.model_hash()
    assert len(value) == 64
    assert value == MosaicPipeline.from_pretrained(Path(model_folder)).model_hash()
    other = MosaicPipeline.from_pretrained(model_folder)
    next(other.unet.parameters()).data.view(-1)[0] += 1
    assert value != other.model_hash()
