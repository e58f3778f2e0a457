"""Whole trainings of a few steps, on tiny, real models."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mf_plugin.errors import InputError
from mf_plugin.seggen.palette import make_palette
from mf_plugin.seggen.record import WHATS, read_record

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")
pytest.importorskip("accelerate")
from safetensors.torch import load_file  # noqa: E402

from mf_plugin.mosaic.components import load_components  # noqa: E402
from mf_plugin.seggen.mask2img import Mask2Img  # noqa: E402
from mf_plugin.seggen.text2mask import Text2Mask  # noqa: E402
from mf_plugin.seggen.training import train as training  # noqa: E402
from mf_plugin.seggen.training.train import train  # noqa: E402

CLASSES = {"unet": "UNet2DConditionModel", "controlnet": "ControlNetModel"}


class Stop(Exception):
    pass


def weights(folder: Path) -> bytes:
    (path,) = folder.glob("*/diffusion_pytorch_model.safetensors")
    return path.read_bytes()


def stop_before_checkpoint(monkeypatch, step: int) -> None:
    """A training is killed in its step ``step``, when its weights have moved already."""
    save = training.Checkpoints.save

    def save_or_stop(self, done: int) -> None:
        if done == step:
            raise Stop
        save(self, done)

    monkeypatch.setattr(training.Checkpoints, "save", save_or_stop)


@pytest.mark.parametrize("what", ["text2mask", "mask2img"])
@pytest.mark.parametrize("variants", [0, 2])
def test_a_killed_and_resumed_training_gives_the_same_weights(
    tiny_config, tmp_path, monkeypatch, what, variants
):
    config = tiny_config(what=what, cache_variants=variants, validate_every=2)
    if what == "mask2img":
        faster = dict(
            conditioning_lr=3.0, time_shift=3.0, object_weight=2.0, region_prompt="one {name}"
        )
        config = dataclasses.replace(config, **faster)
    undisturbed = train(config, tmp_path / "a", device="cpu")
    with monkeypatch.context() as patch:
        stop_before_checkpoint(patch, 3)
        with pytest.raises(Stop):
            train(config, tmp_path / "b", device="cpu")
    torch.manual_seed(99)  # another process has another random state
    resumed = train(config, tmp_path / "b", device="cpu")
    assert weights(resumed) == weights(undisturbed)
    rows = [json.loads(row) for row in (tmp_path / "b/log.jsonl").read_text().splitlines()]
    expected = [json.loads(row) for row in (tmp_path / "a/log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert [row["loss"] for row in rows] == [row["loss"] for row in expected]
    sheets = [np.asarray(Image.open(tmp_path / w / "validation/step-00000004.png")) for w in "ab"]
    assert sheets[0].shape == (2 * (16 + 14 + 4), 3 * 24 + 8, 3)
    assert (sheets[0] == sheets[1]).all()


@pytest.mark.parametrize("folder", ["tiny_sd_folder", "tiny_sd2_folder", "tiny_sdxl_folder"])
@pytest.mark.parametrize("what", ["text2mask", "mask2img"])
def test_what_is_written_loads_in_diffusers_and_samples(
    request, tiny_config, tmp_path, folder, what
):
    base = request.getfixturevalue(folder)
    config = tiny_config(what=what, base=base, steps=1, save_dtype="fp16")
    out = train(config, tmp_path / "work", tmp_path / "out", device="cpu")
    part = WHATS[what]
    getattr(diffusers, CLASSES[part]).from_pretrained(out / part)
    record = read_record(out, what)
    assert (record.kind, record.size, record.palette.ids) == ("instance", (16, 24), (3, 5, 9))
    assert record.training["images"] == 5 and record.training["samples"] == 4
    assert record.training["config"]["lr"] == 1e-2
    options = dict(seeds=[1], steps=2, guidance=2.0)
    if what == "text2mask":
        assert Text2Mask.from_pretrained(out)(["a cat"], **options).shape == (1, 16, 24, 3)
    else:
        maps = np.zeros((1, 16, 24, 3), np.uint8)
        assert Mask2Img.from_pretrained(out)(["a cat"], maps, **options).shape == (1, 16, 24, 3)


def test_text2mask_learns_and_leaves_the_averaged_weights(tiny_config, tiny_sd_folder, tmp_path):
    config = tiny_config(steps=3, ema=0.5, lr=1e-3)
    out = train(config, tmp_path / "work", device="cpu")
    saved = diffusers.UNet2DConditionModel.from_pretrained(out / "unet").conv_out.weight
    state = diffusers.UNet2DConditionModel.from_config(load_components(tiny_sd_folder).unet.config)
    last = load_file(tmp_path / "work/checkpoints/step-00000003/model.safetensors")
    assert not torch.equal(last["conv_out.weight"], saved)
    averages = torch.load(
        tmp_path / "work/checkpoints/step-00000003/custom_checkpoint_0.pkl", weights_only=True
    )
    names = [name for name, _ in state.named_parameters()]
    average = averages["shadow_params"][names.index("conv_out.weight")]
    assert torch.equal(average, saved)


def test_mask2img_leaves_the_base_as_it_is(tiny_config, tiny_sd_folder, tmp_path):
    out = train(tiny_config(what="mask2img", steps=2), tmp_path / "work", device="cpu")
    assert sorted(p.name for p in out.iterdir()) == ["controlnet", "seggen.json"]
    trained = diffusers.ControlNetModel.from_pretrained(out / "controlnet")
    assert bool((trained.controlnet_mid_block.weight != 0).any())
    Mask2Img.from_pretrained(out)  # compares the base's weights


@pytest.mark.parametrize("checkpointing", [False, True])
def test_region_prompts_are_read_in_training(tiny_config, tmp_path, checkpointing):
    options = dict(what="mask2img", gradient_checkpointing=checkpointing, empty_caption=0.0)
    outs = {}
    for prompt, every in ((None, 0), ("one {name}", 0), ("one {name}", 1)):
        config = tiny_config(**options, region_prompt=prompt, validate_every=every)
        work = tmp_path / f"{prompt is None}{every}"
        outs[prompt, every] = train(config, work, device="cpu")
    assert read_record(outs["one {name}", 0]).region_prompt == "one {name}"
    assert weights(outs[None, 0]) != weights(outs["one {name}", 0])
    assert weights(outs["one {name}", 0]) == weights(outs["one {name}", 1])  # sheets in between


def test_gradient_checkpointing_reads_the_same_regions(tiny_config, tmp_path):
    values = []
    for checkpointing in (False, True):
        config = tiny_config(what="mask2img", region_prompt="one {name}", steps=2,
                             gradient_checkpointing=checkpointing)  # fmt: skip
        out = train(config, tmp_path / str(checkpointing), device="cpu")
        network = diffusers.ControlNetModel.from_pretrained(out / "controlnet")
        values.append(torch.cat([p.flatten() for p in network.parameters()]))
    assert torch.allclose(*values, atol=1e-5)


def test_text2mask_of_phrases_is_written_as_one(tiny_config, tmp_path):
    config = tiny_config(phrases=2, cache_variants=2, validate_every=2)
    out = train(config, tmp_path / "a", device="cpu")
    assert read_record(out).phrases == 2
    plain = train(dataclasses.replace(config, phrases=1), tmp_path / "b", device="cpu")
    assert weights(out) != weights(plain)


def test_layers_that_read_the_map_may_learn_faster(tiny_config, tiny_sd_folder, tmp_path):
    moved = {}
    for factor in (1.0, 10.0):
        config = tiny_config(what="mask2img", conditioning_lr=factor, lr=1e-4, warmup=0, decay=0.0)
        train(config, tmp_path / str(factor), device="cpu")
        last = load_file(tmp_path / str(factor) / "checkpoints/step-00000004/model.safetensors")
        moved[factor] = [
            float(last[name].abs().mean())  # both begin at 0
            for name in ("controlnet_cond_embedding.conv_out.weight", "controlnet_mid_block.weight")
        ]
    assert moved[10.0][0] / moved[1.0][0] == pytest.approx(10, rel=0.2)
    assert moved[10.0][1] / moved[1.0][1] == pytest.approx(1, rel=0.2)


def test_a_training_overfits_a_few_pairs(tiny_config, tmp_path):
    config = tiny_config(
        steps=60, lr=3e-3, accumulate=1, batch_size=5, zoom=1.0, mirror=False, empty_caption=0.0,
        cache_variants=1, warmup=0, decay=0.0, checkpoint_every=60,
    )  # fmt: skip
    train(config, tmp_path / "work", device="cpu")
    losses = [json.loads(r)["loss"] for r in (tmp_path / "work/log.jsonl").read_text().splitlines()]
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:5])


def test_checkpoints_of_another_config_or_other_data_are_refused(tiny_config, tmp_path, real):
    config = tiny_config(steps=1)
    train(config, tmp_path / "work", device="cpu")
    cases = {
        "what 'text2mask'; expected 'mask2img'": dict(what="mask2img"),
        "kind 'instance'; expected 'semantic'": dict(kind="semantic"),
        "lr 0.01; expected 0.02": dict(lr=0.02),
    }
    for message, change in cases.items():
        with pytest.raises(InputError, match=f"does not fit the config: .*{message}"):
            train(dataclasses.replace(config, **change), tmp_path / "work", device="cpu")
    folder = tmp_path / "real"
    shutil.copytree(real.images, folder)
    data = json.loads((folder / "annotations.json").read_text())
    data["categories"][0]["id"] = 4
    for annotation in data["annotations"]:
        annotation["category_id"] = {3: 4}.get(annotation["category_id"], annotation["category_id"])
    changed = tmp_path / "work/checkpoints/step-00000001/train.json"
    state = json.loads(changed.read_text())
    (folder / "annotations.json").write_text(json.dumps(data))
    moved = dataclasses.replace(
        real, images=str(folder), annotations=str(folder / "annotations.json")
    )
    state["config"]["source"] = json.loads(json.dumps(dataclasses.asdict(moved)))
    changed.write_text(json.dumps(state))  # as if the json had been replaced in its place
    with pytest.raises(InputError, match="palette is another one"):
        train(dataclasses.replace(config, source=moved), tmp_path / "work", device="cpu")
    data["annotations"].pop(0)
    state["model"]["palette"] = make_palette([4, 5, 9]).to_json()
    changed.write_text(json.dumps(state))
    (folder / "annotations.json").write_text(json.dumps(data))
    with pytest.raises(InputError, match="it has data .*; expected"):
        train(dataclasses.replace(config, source=moved), tmp_path / "work", device="cpu")


def test_where_to_go_on_from(tiny_config, tmp_path):
    config = tiny_config(steps=2, keep_checkpoints=1)
    train(config, tmp_path / "work", device="cpu")
    assert [p.name for p in (tmp_path / "work/checkpoints").iterdir()] == ["step-00000002"]
    with pytest.raises(InputError, match="expected none with 'never'"):
        train(config, tmp_path / "work", device="cpu", resume="never")
    with pytest.raises(InputError, match=r"nowhere: expected a folder with a train\.json"):
        train(config, tmp_path / "work", device="cpu", resume=str(tmp_path / "nowhere"))
    checkpoint = tmp_path / "work/checkpoints/step-00000002"
    again = train(config, tmp_path / "c", device="cpu", resume=str(checkpoint))
    assert weights(again) == weights(tmp_path / "work/model")
    (checkpoint / "model.safetensors").write_bytes(b"1234")
    with pytest.raises(InputError, match="cannot be loaded"):
        train(config, tmp_path / "work", device="cpu")


def test_a_trained_model_can_be_gone_on_from_if_it_fits(tiny_config, tmp_path):
    first = train(tiny_config(steps=1), tmp_path / "a", device="cpu")
    second = train(tiny_config(steps=1, start=str(first), lr=1e-9), tmp_path / "b", device="cpu")
    unets = [diffusers.UNet2DConditionModel.from_pretrained(f / "unet") for f in (first, second)]
    values = [torch.cat([p.flatten() for p in unet.parameters()]) for unet in unets]
    assert torch.allclose(*values, atol=1e-6)
    with pytest.raises(InputError, match=r"start .* does not fit: it has kind 'instance'"):
        train(tiny_config(start=str(first), kind="semantic"), tmp_path / "c", device="cpu")


def test_a_model_of_levels_that_end_in_noise_samples_on_them(
    tiny_config, tiny_sd2_folder, tmp_path
):
    config = tiny_config(base=tiny_sd2_folder, steps=1, zero_terminal_snr=True)
    out = train(config, tmp_path / "a", device="cpu")
    assert read_record(out).zero_terminal_snr
    scheduler = Text2Mask.from_pretrained(out)._pipeline.scheduler
    assert float(scheduler.alphas_cumprod[-1]) == 0
    scheduler.set_timesteps(4)
    assert scheduler.timesteps.tolist() == [999, 749, 499, 249]
    assert np.isfinite(Text2Mask.from_pretrained(out)(["a cat"], seeds=[1], steps=2)).all()
    model = Text2Mask.from_pretrained(out)
    painted = model(["a cat"], seeds=[1], steps=2, guidance=5.0)
    calls = [
        model._pipeline(
            ["a cat"], 16, 24, num_inference_steps=2, guidance_scale=5.0, output_type="np",
            generator=torch.Generator().manual_seed(1), guidance_rescale=rescale,
        ).images
        for rescale in (0.7, 0.0)
    ]  # fmt: skip
    scaled, unscaled = (np.rint(255 * images).astype(np.uint8) for images in calls)
    assert (painted == scaled).all() and (painted != unscaled).any()
    with pytest.raises(InputError, match="PNDMScheduler has no rescale_betas_zero_snr, which"):
        Text2Mask.from_pretrained(out, scheduler="PNDMScheduler")
    plain = train(tiny_config(base=tiny_sd2_folder, steps=1), tmp_path / "b", device="cpu")
    assert float(Text2Mask.from_pretrained(plain)._pipeline.scheduler.alphas_cumprod[-1]) > 0
    with pytest.raises(InputError, match="expected a base that predicts 'v_prediction', not 'eps"):
        train(tiny_config(zero_terminal_snr=True), tmp_path / "c", device="cpu")


def test_captions_of_a_file(tiny_config, tmp_path):
    path = tmp_path / "captions.json"
    entries = [{"image_id": i, "caption": "a cat"} for i in (1, 2, 4, 7)]
    path.write_text(json.dumps({"annotations": entries}))
    config = tiny_config(captions="coco", captions_file=str(path), steps=1)
    with pytest.raises(InputError, match=r"image 8 .* has no caption"):
        train(config, tmp_path / "a", device="cpu")
    out = train(dataclasses.replace(config, skip_incomplete=True), tmp_path / "b", device="cpu")
    record = read_record(out)
    assert record.training["images"] == 4 and record.captions == "coco"


def test_bad_input_is_named_before_anything_is_trained(tiny_config, tmp_path, real):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes.txt").write_text("mine")
    with pytest.raises(InputError, match="holds something else than a SegGen model"):
        train(tiny_config(), tmp_path / "work", tmp_path / "full", device="cpu")
    with pytest.raises(InputError, match=r"size is \(16, 20\)"):
        train(tiny_config(size=(16, 20)), tmp_path / "work", device="cpu")
    with pytest.raises(InputError, match="no such folder"):
        train(tiny_config(base=str(tmp_path / "none")), tmp_path / "work", device="cpu")
    missing = dataclasses.replace(real, images=str(tmp_path))
    with pytest.raises(InputError, match="does not exist|missing on disk"):
        train(tiny_config(source=missing), tmp_path / "work", device="cpu")
    assert not (tmp_path / "work/checkpoints").exists()


def test_tensorboard_is_written_or_named_as_missing(tiny_config, tmp_path, monkeypatch):
    from mf_plugin.seggen.training import log

    with monkeypatch.context() as patch:
        patch.setattr(log.importlib.util, "find_spec", lambda name: None)
        with pytest.raises(InputError, match="pip install tensorboard, or set tracker=None"):
            train(tiny_config(tracker="tensorboard"), tmp_path / "work", device="cpu")
    pytest.importorskip("tensorboard")
    config = tiny_config(tracker="tensorboard", steps=1, validate_every=1)
    train(config, tmp_path / "work", device="cpu")
    assert list((tmp_path / "work/tensorboard").glob("events*"))
