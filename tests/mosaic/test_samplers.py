from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from mf_plugin.errors import InputError
from mf_plugin.mosaic.attention import AttentionConfig
from mf_plugin.mosaic.layout import MosaicLayout, Region
from mf_plugin.mosaic.pipeline import MosaicPipeline
from mf_plugin.mosaic.samplers import (
    EDM_SCHEDULERS,
    SCHEDULERS,
    SamplerRun,
    first_call_of_step,
    make_scheduler,
    step_of_call,
)

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

ONE = MosaicLayout(16, 24, (Region(0, 0, 16, 24),))
HAS_TORCHSDE = importlib.util.find_spec("torchsde") is not None
RUNNABLE = [name for name in SCHEDULERS if HAS_TORCHSDE or name != "DPMSolverSDEScheduler"]
SEEDS = [3, 4]


@pytest.fixture(scope="module")
def peer(model_folder):
    """A plain diffusers pipeline of the same weights."""
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(
        model_folder, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def generators():
    return [torch.Generator().manual_seed(seed) for seed in SEEDS]


@pytest.mark.parametrize("name", RUNNABLE)
def test_every_scheduler(pipeline, peer, cat, name):
    mosaic = MosaicPipeline(pipeline.components, scheduler=name)
    options = dict(steps=5, guidance=3.0)
    both = mosaic(ONE, [[cat], [cat]], seeds=SEEDS, **options)
    assert torch.isfinite(both.latents).all() and both.latents.dtype == torch.float32

    # The state of a run is its own: the same again, and a canvas alone is as in its batch.
    again = mosaic(ONE, [[cat], [cat]], seeds=SEEDS, **options)
    assert torch.equal(again.latents, both.latents)
    alone = mosaic(ONE, [[cat]], seeds=SEEDS[1:], **options)
    assert (both.latents[1] - alone.latents[0]).abs().max() < 1e-3 * both.latents.std()
    assert (both.latents[0] - both.latents[1]).abs().max() > 0.1

    # As in diffusers, where each image draws from a generator of its own too.
    if name != "DPMSolverSDEScheduler":  # draws from nowhere that can be seeded there
        peer.scheduler = type(mosaic.scheduler).from_config(mosaic.scheduler.config)
        expected = peer(
            [cat.text] * 2,
            height=16,
            width=24,
            num_inference_steps=5,
            guidance_scale=3.0,
            generator=generators(),
            eta=0.3 if name == "TCDScheduler" else 0.0,  # the defaults of the schedulers' steps
            output_type="latent",
        ).images
        assert (both.latents - expected).abs().mean() < 1e-4 * expected.std()


@pytest.mark.parametrize("name", RUNNABLE)
def test_no_step_reads_from_the_device(tokenizer, name):
    """On the meta device a tensor has no numbers; whoever asks for one gets an error."""
    own = diffusers.DDIMScheduler(beta_schedule="scaled_linear")
    run = SamplerRun(make_scheduler(own, name), 6, generators(), "meta")
    if name == "DPMSolverSDEScheduler":
        pytest.skip("its noise is drawn on the CPU, for latents that are there")
    latents = run.start(torch.zeros(2, 4, 8, 8, device="meta"))
    for call in run.calls:
        assert call.unet_time.device.type == "meta"
        latents = run.step(run.scale(latents, call), call, latents)
        assert latents.device.type == "meta" and latents.dtype == torch.float32
    run = SamplerRun(make_scheduler(own, name), 6, generators(), "meta")
    call = run.first_call(3)
    assert run.scale(run.start_at(call, latents, latents), call).shape == latents.shape


@pytest.mark.parametrize("name", RUNNABLE)
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_the_checkpoint_settings_are_kept(name, prediction):
    own = diffusers.DDIMScheduler(beta_start=0.002, beta_end=0.01, prediction_type=prediction)
    config = make_scheduler(own, name).config
    assert (config.prediction_type, config.beta_start, config.beta_end) == (prediction, 0.002, 0.01)


def test_own_scheduler():
    own = diffusers.DDIMScheduler()
    assert make_scheduler(own, None) is own and make_scheduler(own, "DDIMScheduler") is own


@pytest.mark.parametrize(
    "name", ["Magic", "IPNDMScheduler", "DDIMInverseScheduler", *EDM_SCHEDULERS]
)
def test_schedulers_that_do_not_fit_are_named(name):
    message = f"scheduler '{name}' cannot take the settings of this checkpoint's DDIMScheduler"
    with pytest.raises(InputError, match=message):
        make_scheduler(diffusers.DDIMScheduler(), name)


def test_edm_checkpoints_take_edm_schedulers_alone():
    own = diffusers.EDMEulerScheduler(sigma_data=0.4)
    assert make_scheduler(own, "EDMDPMSolverMultistepScheduler").config.sigma_data == 0.4
    with pytest.raises(InputError, match="checkpoint's EDMEulerScheduler; expected one of EDM"):
        make_scheduler(own, "DDIMScheduler")


@pytest.mark.skipif(HAS_TORCHSDE, reason="torchsde is there")
def test_a_missing_package_is_named():
    with pytest.raises(InputError, match="'DPMSolverSDEScheduler'.*pip install torchsde"):
        make_scheduler(diffusers.DDIMScheduler(), "DPMSolverSDEScheduler")


@pytest.mark.parametrize("name, steps", [("LCMScheduler", 51), ("DDIMScheduler", 1001)])
def test_too_many_steps_are_named(name, steps):
    scheduler = make_scheduler(diffusers.DDIMScheduler(), name)
    with pytest.raises(InputError, match=f"scheduler {name} cannot take {steps} steps"):
        SamplerRun(scheduler, steps, [], "cpu")


@pytest.mark.parametrize(
    "name, steps, expected",
    [
        ("DDIMScheduler", 4, [0, 1, 2, 3]),
        ("HeunDiscreteScheduler", 4, [0, 0, 1, 1, 2, 2, 3]),
        ("KDPM2DiscreteScheduler", 3, [0, 0, 1, 1, 2]),
        ("PNDMScheduler", 4, [0, 0, 1, 2, 3]),  # its second call repeats the first step
        ("UniPCMultistepScheduler", 1, [0]),
    ],
)
def test_calls_of_each_step(name, steps, expected):
    own = diffusers.PNDMScheduler(skip_prk_steps=True)
    run = SamplerRun(make_scheduler(own, name), steps, [], "cpu")
    assert [call.step for call in run.calls] == expected
    assert [run.first_call(step).index for step in range(steps)] == [
        expected.index(step) for step in range(steps)
    ]


@pytest.mark.parametrize("steps", [1, 2, 7, 50])
@pytest.mark.parametrize("more", [0, 1, 6, 49])
def test_first_call_is_the_first_of_its_step(steps, more):
    calls = steps + more
    numbers = [step_of_call(call, calls, steps) for call in range(calls)]
    assert numbers == sorted(numbers) and set(numbers) == set(range(steps))
    for step in range(steps):
        assert first_call_of_step(step, calls, steps) == numbers.index(step)


def test_attention_counts_steps_and_not_calls(pipeline, towel):
    mosaic = MosaicPipeline(pipeline.components, scheduler="HeunDiscreteScheduler")

    def maps(*steps):
        output = mosaic(
            ONE, [[towel]], seeds=[4], steps=4, guidance=4.0, attention=AttentionConfig(steps=steps)
        )
        return output.attention[0][0].maps[1]

    # Seven calls: two in each step but the last.
    assert maps(0, None) == pytest.approx((2 * maps(0, 1) + 5 * maps(1, None)) / 7, abs=1e-5)
    assert np.abs(maps(0, 1) - maps(1, None)).max() > 1e-4
    assert maps(1, None) == pytest.approx((2 * maps(1, 2) + 3 * maps(2, 4)) / 5, abs=1e-5)


@pytest.mark.parametrize("name", [None, "EulerDiscreteScheduler", "HeunDiscreteScheduler"])
def test_start_at_is_as_noisy_as_the_step(name):
    """Clean latents of zero: what is left is the noise at the level of the step."""
    own = diffusers.DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False
    )
    noise, levels = torch.ones(2, 1, 1, 1), []
    for step in (0, 3, 5):
        run = SamplerRun(make_scheduler(own, name), 6, [], "cpu")
        call = run.first_call(step)
        noisy = run.scale(run.start_at(call, torch.zeros_like(noise), noise), call)
        # Scaled for the U-Net: sqrt(1 - alpha-bar) of the call's time, in every parametrisation.
        time = float(call.time)
        low, high = (float(own.alphas_cumprod[int(t)]) for t in (np.floor(time), np.ceil(time)))
        alpha_bar = low + (high - low) * (time % 1)
        assert noisy.flatten().tolist() == pytest.approx([(1 - alpha_bar) ** 0.5] * 2, abs=1e-2)
        levels.append(noisy[0].item())
    assert levels[0] > levels[1] > levels[2]
