"""What one step learns from, and the error that it makes smaller."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mf_plugin.errors import InputError
from mf_plugin.seggen.pairs import SegGenPairs
from mf_plugin.seggen.record import ModelRecord
from mf_plugin.seggen.training.samples import Sample, draw_variant

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")
from mf_plugin.mosaic.components import load_components  # noqa: E402
from mf_plugin.seggen.base import encode_captions, encode_phrases  # noqa: E402
from mf_plugin.seggen.mask2img import build_controlnet  # noqa: E402
from mf_plugin.seggen.regions import RegionAttention, RegionTexts  # noqa: E402
from mf_plugin.seggen.training.batches import CachedBatches, FreshBatches  # noqa: E402
from mf_plugin.seggen.training.loss import DenoisingLoss, predict  # noqa: E402


def record_of(what: str, palette, template: str = "{caption}") -> ModelRecord:
    return ModelRecord(what, "a/b", "0" * 64, palette, "instance", (16, 24), template=template)


@pytest.fixture()
def pairs(source, palette):
    return SegGenPairs(source, palette, "instance", (16, 24), zoom=2.0, min_area=4)


def samples_of(pairs, cached: bool) -> list[Sample]:
    rows = [(0, 1, False, 0.1), (3, 0, True, 0.9), (2, 1, False, 0.5)]
    return [
        Sample(i, v, None if cached else draw_variant(pairs, 7, i, v), empty, time, 11 + i)
        for i, v, empty, time in rows
    ]


@pytest.mark.parametrize("what", ["text2mask", "mask2img"])
@pytest.mark.parametrize("folder", ["tiny_sd_folder", "tiny_sdxl_folder"])
def test_a_cache_gives_what_the_frozen_parts_give_at_each_pass(
    request, pairs, palette, folder, what
):
    base, record = load_components(request.getfixturevalue(folder)), record_of(what, palette)
    fresh = FreshBatches(base, record)(samples_of(pairs, cached=False))
    cached = CachedBatches(base, record, pairs, 2, 7)(samples_of(pairs, cached=True))
    for field in dataclasses.fields(fresh):
        a, b = getattr(fresh, field.name), getattr(cached, field.name)
        assert (a is None) == (b is None), field.name
        assert a is None or torch.allclose(a, b, atol=1e-5), field.name
    assert fresh.times.tolist() == [100, 900, 500]
    assert (fresh.condition is None) == (what == "text2mask")
    assert (fresh.sizes is None) == (folder == "tiny_sd_folder")


@pytest.mark.parametrize("folder", ["tiny_sd_folder", "tiny_sdxl_folder"])
def test_a_cache_gives_the_same_phrases(request, pairs, palette, folder):
    base = load_components(request.getfixturevalue(folder))
    record = dataclasses.replace(record_of("text2mask", palette), phrases=3)
    samples = samples_of(pairs, cached=False)
    fresh = FreshBatches(base, record)(samples)
    cached = CachedBatches(base, record, pairs, 2, 7)(samples_of(pairs, cached=True))
    said = [samples[0].pair.caption, "", samples[2].pair.caption]
    context, pooled = encode_phrases(base, said, 3)
    for batch in (fresh, cached):
        assert torch.allclose(batch.context, context, atol=1e-5)
        assert pooled is None or torch.allclose(batch.pooled, pooled, atol=1e-5)


def test_regions_read_their_prompts_and_without_a_caption_nothing(tiny_sd_folder, pairs, palette):
    base, record = load_components(tiny_sd_folder), record_of("mask2img", palette)
    prompts = {3: "a cat", 5: "a dog", 9: "a bath towel"}
    samples = samples_of(pairs, cached=False)
    fresh = FreshBatches(base, record, prompts=prompts)(samples).regions
    cached = CachedBatches(base, record, pairs, 2, 7, prompts=prompts)(
        samples_of(pairs, cached=True)
    ).regions
    expected = []  # of each image: its categories' prompts, then the background's
    for sample in samples:
        codes = {tuple(color) for color in sample.pair.colormap.reshape(-1, 3).tolist()}
        shown = [prompts[i] for i in prompts if tuple(palette.color(i)) in codes]
        expected.append(sorted("" if sample.empty else prompt for prompt in shown) + [""])
    assert any(len(row) > 1 for row in expected)
    for regions in (fresh, cached):
        assert regions.rows.tolist() == [n for n, row in enumerate(expected) for _ in row]
        said = [*prompts.values(), ""]
        texts = dict(zip(said, encode_captions(base, said)[0], strict=True))
        found = [
            next(text for text, value in texts.items() if torch.allclose(value, context, atol=1e-5))
            for context in regions.contexts
        ]
        rows = regions.rows.tolist()
        for n, row in enumerate(expected):
            said = [text for text, place in zip(found, rows, strict=True) if place == n]
            assert sorted(said[:-1]) + said[-1:] == row
        assert torch.equal(regions.masks, fresh.masks)
        sums = torch.zeros(3, 16, 24).index_add(0, regions.rows, regions.masks)
        assert torch.equal(sums, torch.ones(3, 16, 24))


def test_the_loss_lets_the_networks_read_their_regions(tiny_sd_folder, pairs, palette):
    base = load_components(tiny_sd_folder)
    record, samples = record_of("mask2img", palette), samples_of(pairs, cached=False)
    network = build_controlnet(base)
    prompts = dict.fromkeys((3, 5, 9), "a bath towel")
    batch = FreshBatches(base, record, prompts=prompts)(samples)
    same = dataclasses.replace(  # every pixel reads one prompt: that of its image's caption
        batch,
        regions=None,
        context=encode_captions(base, ["", "", "a bath towel"])[0],
    )
    with torch.no_grad():
        plain = DenoisingLoss(base.scheduler)(network, base.unet, batch)
        attention = RegionAttention([network, base.unet])
        loss = DenoisingLoss(base.scheduler, attention=attention)
        found = loss(network, base.unet, batch)
        everywhere = RegionTexts(same.context, torch.arange(3), torch.ones(3, 16, 24))
        uniform = loss(network, base.unet, dataclasses.replace(batch, regions=everywhere))
        read = loss(network, base.unet, same)
    assert float(found) != float(plain)
    assert float(uniform) == pytest.approx(float(read), rel=1e-5)


def test_latents_are_what_the_vae_makes_of_the_colour_map_or_of_the_image(
    tiny_sd_folder, pairs, palette
):
    base, samples = load_components(tiny_sd_folder), samples_of(pairs, cached=False)
    shown = {"text2mask": "colormap", "mask2img": "image"}
    for what, name in shown.items():
        batch = FreshBatches(base, record_of(what, palette))(samples)
        pixels = np.stack([getattr(sample.pair, name) for sample in samples])
        pixels = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.no_grad():
            expected = base.vae.encode(pixels).latent_dist.mode() * base.vae.config.scaling_factor
        assert torch.allclose(batch.latents, expected, atol=1e-5)
    maps = np.stack([sample.pair.colormap for sample in samples])
    assert (batch.condition.permute(0, 2, 3, 1).numpy() == maps.astype(np.float32) / 255).all()


def test_texts_have_the_template_and_noise_its_seed(tiny_sd_folder, pairs, palette):
    base, samples = load_components(tiny_sd_folder), samples_of(pairs, cached=False)
    batch = FreshBatches(base, record_of("text2mask", palette, "map of {caption}"))(samples)
    said = [f"map of {samples[0].pair.caption}", "", f"map of {samples[2].pair.caption}"]
    with torch.no_grad():
        expected = base.encode_prompt(said, "cpu", 1, False)[0]
    assert torch.allclose(batch.context, expected, atol=1e-5)
    noise = torch.randn(batch.latents.shape[1:], generator=torch.Generator().manual_seed(14))
    assert (batch.noise[1] == noise).all()


def test_sdxl_is_told_the_original_size_and_the_corner(tiny_sdxl_folder, pairs, palette):
    base, samples = load_components(tiny_sdxl_folder), samples_of(pairs, cached=False)
    batch = FreshBatches(base, record_of("text2mask", palette))(samples)
    corner = samples[0].pair.corner
    assert batch.sizes[0].tolist() == [32, 40, *corner, 16, 24]
    assert batch.pooled.shape == (3, 20) and (batch.pooled[1] == 0).all()  # the empty caption


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_the_error_is_that_of_what_the_base_predicts(tiny_sd_folder, pairs, palette, kind):
    base = load_components(tiny_sd_folder)
    base.scheduler.register_to_config(prediction_type=kind)
    batch = FreshBatches(base, record_of("text2mask", palette))(samples_of(pairs, cached=False))
    signal = base.scheduler.alphas_cumprod[batch.times].view(-1, 1, 1, 1)
    noisy = signal.sqrt() * batch.latents + (1 - signal).sqrt() * batch.noise
    target = {
        "epsilon": batch.noise,
        "v_prediction": signal.sqrt() * batch.noise - (1 - signal).sqrt() * batch.latents,
    }[kind]
    with torch.no_grad():
        predicted = base.unet(noisy, batch.times, batch.context).sample
        found = DenoisingLoss(base.scheduler)(base.unet, None, batch)
    errors = (predicted - target).square().mean((1, 2, 3))
    assert float(found) == pytest.approx(float(errors.mean()), rel=1e-4)
    snr = (signal / (1 - signal)).flatten()
    weights = snr.clamp(max=5.0) / (snr if kind == "epsilon" else snr + 1)
    with torch.no_grad():
        weighted = DenoisingLoss(base.scheduler, min_snr=5.0)(base.unet, None, batch)
    assert float(weighted) == pytest.approx(float((errors * weights).mean()), rel=1e-4)


def test_the_last_noise_level_may_be_noise_alone(tiny_sd_folder, pairs, palette):
    base = load_components(tiny_sd_folder)
    with pytest.raises(InputError, match="a base that predicts 'v_prediction', not 'epsilon'"):
        DenoisingLoss(base.scheduler, zero_terminal_snr=True)
    base.scheduler.register_to_config(prediction_type="v_prediction")
    batch = FreshBatches(base, record_of("text2mask", palette))(samples_of(pairs, cached=False))
    last = dataclasses.replace(batch, times=torch.full_like(batch.times, 999))
    with torch.no_grad():
        predicted = base.unet(batch.noise, last.times, batch.context).sample
        found = DenoisingLoss(base.scheduler, None, True)(base.unet, None, last)
        kept = DenoisingLoss(base.scheduler)(base.unet, None, last)
    # Of noise alone, velocity is the latents, turned round.
    expected = float((predicted + batch.latents).square().mean())
    assert float(found) == pytest.approx(expected, rel=1e-3)
    assert float(kept) != pytest.approx(expected, rel=1e-3)


def test_objects_weigh_more_than_the_background(tiny_sd_folder, pairs, palette):
    base, record = load_components(tiny_sd_folder), record_of("mask2img", palette)
    even, weighted = (
        FreshBatches(base, record, weight)(samples_of(pairs, cached=False)) for weight in (1.0, 3.0)
    )
    assert even.weights is None
    height, width = even.latents.shape[2:]
    shown = (even.condition * 255).round() != torch.tensor(palette.background)[:, None, None]
    cells = shown.any(1).view(3, height, 16 // height, width, 24 // width).float().mean((2, 4))
    expected = 1 + 2 * cells
    expected /= expected.mean((1, 2), keepdim=True)
    assert torch.allclose(weighted.weights[:, 0], expected, atol=1e-5)
    text2mask = record_of("text2mask", palette)
    painted = FreshBatches(base, text2mask, 3.0)(samples_of(pairs, cached=False))
    cached = CachedBatches(base, text2mask, pairs, 2, 7, 3.0)(samples_of(pairs, cached=True))
    for batch in (painted, cached):
        assert batch.condition is None
        assert torch.equal(batch.weights, weighted.weights)
    assert float(expected.max()) > 1 > float(expected.min())
    controlnet, unet = build_controlnet(base).eval(), base.unet.eval()
    loss_of = DenoisingLoss(base.scheduler)
    with torch.no_grad():
        found = float(loss_of(controlnet, unet, weighted))
        noisy = DenoisingLoss(base.scheduler)._noise.add_noise(even.latents, even.noise, even.times)
        errors = (predict(controlnet, unet, noisy, even) - even.noise).square()
    assert found == pytest.approx(float((errors * expected[:, None]).mean()), rel=1e-4)
    assert found != pytest.approx(float(errors.mean()), rel=1e-4)


def test_a_base_that_predicts_the_sample_is_refused(tiny_sd_folder):
    base = load_components(tiny_sd_folder)
    base.scheduler.register_to_config(prediction_type="sample")
    with pytest.raises(InputError, match="predicts 'sample'"):
        DenoisingLoss(base.scheduler)


def test_gradients_reach_the_controlnet_through_the_frozen_unet(tiny_sdxl_folder, pairs, palette):
    base = load_components(tiny_sdxl_folder)
    base.unet.requires_grad_(False)
    controlnet = build_controlnet(base)
    batch = FreshBatches(base, record_of("mask2img", palette))(samples_of(pairs, cached=False))
    loss = DenoisingLoss(base.scheduler)(controlnet, base.unet, batch)
    loss.backward()
    assert float(controlnet.controlnet_mid_block.weight.grad.abs().max()) > 0
    assert all(parameter.grad is None for parameter in base.unet.parameters())
    with torch.no_grad():  # a new ControlNet adds nothing
        noisy = torch.randn_like(batch.latents)
        plain = dataclasses.replace(batch, condition=None)
        with_it = predict(controlnet, base.unet, noisy, batch)
        assert torch.allclose(with_it, predict(base.unet, None, noisy, plain), atol=1e-5)
