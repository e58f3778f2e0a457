"""Text2Mask and Mask2Img on tiny, real Stable Diffusions of random weights: load and sample."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from mf_plugin.errors import InputError
from mf_plugin.seggen.palette import make_palette
from mf_plugin.seggen.record import WHATS, ModelRecord, read_record, write_base, write_record

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
from mf_plugin.mosaic.components import load_components  # noqa: E402
from mf_plugin.seggen.base import encode_captions, encode_phrases, hash_base  # noqa: E402
from mf_plugin.seggen.mask2img import Mask2Img, build_controlnet  # noqa: E402
from mf_plugin.seggen.text2mask import Text2Mask  # noqa: E402

PALETTE = make_palette([3, 5, 9])
CAPTIONS = ["a cat", "a bath towel and a cat"]
MAPS = np.stack([np.full((16, 24, 3), PALETTE.color(i), np.uint8) for i in (3, 9)])
BASES = ("tiny_sd_folder", "tiny_sd2_folder", "tiny_sdxl_folder")


def write_model(folder: Path, what: str, base: str) -> Path:
    """A model of other weights than its base's."""
    torch.manual_seed(5)
    pipeline = load_components(base)
    network = pipeline.unet if what == "text2mask" else build_controlnet(pipeline)
    digest = hash_base(pipeline, what)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    record = ModelRecord(what, write_base(base), digest, PALETTE, "instance", (16, 24))
    network.save_pretrained(folder / WHATS[what])
    write_record(folder, record)
    return folder


@pytest.fixture(scope="module", params=BASES)
def base(request) -> str:
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def text2mask(base, tmp_path_factory) -> Path:
    return write_model(tmp_path_factory.mktemp("t2m") / "model", "text2mask", base)


@pytest.fixture(scope="module")
def mask2img(base, tmp_path_factory) -> Path:
    return write_model(tmp_path_factory.mktemp("m2i") / "model", "mask2img", base)


def test_text2mask_samples_with_its_own_weights_at_its_own_size(text2mask, base):
    model = Text2Mask.from_pretrained(text2mask)
    maps = model(CAPTIONS, seeds=[1, 2], steps=2, guidance=2.0)
    assert maps.shape == (2, 16, 24, 3) and maps.dtype == np.uint8
    assert (model.palette, model.kind, model.base) == (PALETTE, "instance", write_base(base))
    pipeline = load_components(base)
    pipeline.set_progress_bar_config(disable=True)
    untrained = Text2Mask(pipeline, model.record)(CAPTIONS, seeds=[1, 2], steps=2, guidance=2.0)
    assert np.abs(maps.astype(int) - untrained).mean() > 1


def test_an_image_is_the_same_whatever_else_is_in_its_batch(text2mask, mask2img):
    model = Text2Mask.from_pretrained(text2mask)
    both = model(CAPTIONS, seeds=[1, 2], steps=2, guidance=2.0)
    alone = model(CAPTIONS[1:], seeds=[2], steps=2, guidance=2.0)
    assert np.abs(both[1].astype(int) - alone[0]).max() <= 1
    painter = Mask2Img.from_pretrained(mask2img)
    both = painter(CAPTIONS, MAPS, seeds=[1, 2], steps=2, guidance=2.0)
    alone = painter(CAPTIONS[1:], MAPS[1:], seeds=[2], steps=2, guidance=2.0)
    assert np.abs(both[1].astype(int) - alone[0]).max() <= 1
    assert np.abs(both[0].astype(int) - both[1]).mean() > 1


def test_mask2img_looks_at_the_colour_map(mask2img):
    model = Mask2Img.from_pretrained(mask2img)
    options = dict(seeds=[1, 1], steps=2, guidance=2.0)
    same_caption = ["a cat", "a cat"]
    first, second = model(same_caption, MAPS, **options)
    assert (first != second).any()
    first, second = model(same_caption, MAPS, control_scale=0.0, **options)
    assert (first == second).all()


def test_a_new_controlnet_changes_nothing(base, mask2img):
    pipeline, record = load_components(base), read_record(mask2img)
    model = Mask2Img(pipeline, build_controlnet(pipeline), record)
    options = dict(seeds=[1, 2], steps=2, guidance=2.0)
    images = model(CAPTIONS, MAPS, **options)
    plain = Text2Mask(load_components(base), record)(CAPTIONS, size=(16, 24), **options)
    assert np.abs(images.astype(int) - plain).max() <= 1


def test_the_controlnet_brings_a_map_to_the_latents_size_of_any_vae(tiny_sd_folder):
    pipeline = load_components(tiny_sd_folder)  # factor 2
    embedding = build_controlnet(pipeline).controlnet_cond_embedding
    assert embedding(torch.zeros(1, 3, 16, 24)).shape[2:] == (8, 12)
    assert build_controlnet(pipeline, (4, 6)).config.conditioning_embedding_out_channels == (4, 6)
    with pytest.raises(InputError, match=r"halve the colour map 2 times; .*VAE does 1 times"):
        build_controlnet(pipeline, (4, 6, 8))


def test_an_empty_caption_is_what_the_pipeline_takes_for_none(base):
    pipeline = load_components(base)
    context, pooled = encode_captions(pipeline, ["a cat", ""])
    encoded = pipeline.encode_prompt("a cat", device="cpu", num_images_per_prompt=1,
                                     do_classifier_free_guidance=True)  # fmt: skip
    assert torch.allclose(context[0], encoded[0][0], atol=1e-5)
    assert torch.allclose(context[1], encoded[1][0], atol=1e-5)
    if pooled is not None:
        assert torch.allclose(pooled[1], encoded[3][0], atol=1e-5)


def test_the_text_encoder_reads_phrases_one_by_one(base, text2mask):
    pipeline = load_components(base)
    context, pooled = encode_phrases(pipeline, ["a cat and a towel", "a dog"], 3)
    alone, _ = encode_captions(pipeline, ["a cat", "a towel", "", "a dog", "", ""])
    length, channels = alone.shape[1:]
    assert context.shape == (2, 3 * length, channels)
    assert torch.allclose(context, alone.reshape(2, 3 * length, channels), atol=1e-5)
    whole = encode_captions(pipeline, ["a cat and a towel", "a dog"])[1]
    assert whole is None if pooled is None else torch.allclose(pooled, whole, atol=1e-5)

    model, options = Text2Mask.from_pretrained(text2mask), dict(seeds=[1], steps=2, guidance=2.0)
    usual = model(["a cat and a towel"], **options)
    model.record = dataclasses.replace(model.record, phrases=2)
    split = model(["a cat and a towel"], **options)
    assert (split != usual).any()
    model.record = dataclasses.replace(model.record, phrases=1)
    assert (model(["a cat and a towel"], **options) == usual).all()


def test_the_template_surrounds_every_caption(text2mask):
    model = Text2Mask.from_pretrained(text2mask)
    plain = model(["colours of a cat"], seeds=[1], steps=2, guidance=1.0)
    model.record = ModelRecord.from_json(
        {**model.record.to_json(), "template": "colours of {caption}"}
    )
    assert (model(["a cat"], seeds=[1], steps=2, guidance=1.0) == plain).all()


def test_weights_are_compared_with_those_of_the_training(tiny_sd_folder, tmp_path):
    base = tmp_path / "base"
    shutil.copytree(tiny_sd_folder, base)
    folder = write_model(tmp_path / "model", "text2mask", str(base))
    Text2Mask.from_pretrained(folder)
    pipeline = load_components(base)
    with torch.no_grad():
        pipeline.vae.post_quant_conv.bias += 0.1
    pipeline.vae.save_pretrained(base / "vae")
    with pytest.raises(InputError, match="has weights .* the text2mask model was trained on"):
        Text2Mask.from_pretrained(folder)


def test_the_wrong_model_is_named(tiny_sd_folder, tiny_sdxl_folder, tmp_path):
    folder = write_model(tmp_path / "model", "text2mask", tiny_sd_folder)
    with pytest.raises(InputError, match="is a text2mask; expected a mask2img"):
        Mask2Img.from_pretrained(folder)
    with pytest.raises(InputError, match=r"expected a folder with a seggen\.json"):
        Text2Mask.from_pretrained(tiny_sd_folder)
    record = read_record(folder).to_json()
    sdxl = load_components(tiny_sdxl_folder)
    record |= {"base": tiny_sdxl_folder, "base_sha256": hash_base(sdxl, "text2mask")}
    write_record(folder, ModelRecord.from_json(record))
    with pytest.raises(InputError, match="UNet2DConditionModel has .*; the base's U-Net has"):
        Text2Mask.from_pretrained(folder)


def test_damaged_weights_are_one_error(tiny_sd_folder, tmp_path):
    folder = write_model(tmp_path / "model", "mask2img", tiny_sd_folder)
    weights = folder / "controlnet/diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(InputError, match="controlnet/ cannot be loaded"):
        Mask2Img.from_pretrained(folder)
    shutil.rmtree(folder / "controlnet")
    with pytest.raises(InputError, match="controlnet/ cannot be loaded"):
        Mask2Img.from_pretrained(folder)


def test_missing_weights_are_one_error(tiny_sd_folder, tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    folder = write_model(tmp_path / "model", "text2mask", tiny_sd_folder)
    path = folder / "unet/diffusion_pytorch_model.safetensors"
    weights = safetensors.load_file(path)
    del weights["conv_in.weight"]
    safetensors.save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"(lacks 1 weights, the first conv_in\.weight)|conv_in"):
        Text2Mask.from_pretrained(folder)


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(seeds=[1]), "2 captions and 1 seeds"),
        (dict(captions="a cat"), "captions is the text 'a cat'"),
        (dict(captions=[], seeds=[]), "0 captions and 0 seeds"),
        (dict(steps=0), "steps is 0"),
        (dict(guidance=0.5), "guidance is 0.5"),
        (dict(size=(16, 20)), r"size is \(16, 20\); expected .* multiples of 8"),
    ],
)
def test_text2mask_arguments(tiny_sd_folder, tmp_path_factory, change, message):
    folder = tmp_path_factory.getbasetemp() / "arguments"
    if not folder.exists():
        write_model(folder, "text2mask", tiny_sd_folder)
    options = dict(captions=CAPTIONS, seeds=[1, 2], steps=2, guidance=2.0) | change
    with pytest.raises(InputError, match=message):
        Text2Mask.from_pretrained(folder)(options.pop("captions"), **options)


@pytest.mark.parametrize(
    "maps, message",
    [
        (MAPS[:1], r"uint8\[1, 16, 24, 3\]; expected uint8\[2, H, W, 3\]"),
        (MAPS.astype(float), "colour maps are float64"),
        (MAPS[:, :12], r"size is \(12, 24\)"),
    ],
)
def test_mask2img_takes_a_colour_map_for_each_caption(
    tiny_sd_folder, tmp_path_factory, maps, message
):
    folder = tmp_path_factory.getbasetemp() / "maps"
    if not folder.exists():
        write_model(folder, "mask2img", tiny_sd_folder)
    with pytest.raises(InputError, match=message):
        Mask2Img.from_pretrained(folder)(CAPTIONS, maps, seeds=[1, 2], steps=2)


def test_a_scheduler_can_be_chosen_by_name(tiny_sd_folder, tmp_path):
    folder = write_model(tmp_path / "model", "text2mask", tiny_sd_folder)
    model = Text2Mask.from_pretrained(folder, scheduler="EulerAncestralDiscreteScheduler")
    first = model(CAPTIONS, seeds=[1, 2], steps=2)
    assert (first == model(CAPTIONS, seeds=[1, 2], steps=2)).all()
    with pytest.raises(InputError, match="scheduler 'Magic'"):
        Text2Mask.from_pretrained(folder, scheduler="Magic")


def test_a_record_is_read_as_it_was_written(tiny_sd_folder, tmp_path):
    folder = write_model(tmp_path / "model", "text2mask", tiny_sd_folder)
    record = read_record(folder)
    again = ModelRecord.from_json(json.loads(json.dumps(record.to_json())))
    assert again == record and record.differences(again) == []
    other = ModelRecord("mask2img", "x/y", "0" * 64, make_palette([3, 5]), "semantic", (16, 16))
    found = " | ".join(record.differences(other))
    for said in ("what 'mask2img'; expected 'text2mask'", "kind 'semantic'", "base_sha256 '000",
                 "palette is another one"):  # fmt: skip
        assert said in found


def test_a_base_inside_the_package_is_written_relative_to_it():
    import mf_plugin
    from mf_plugin.seggen.record import find_base

    bundled = Path(mf_plugin.__file__).parent / "assets/tiny_sd"
    assert write_base(bundled) == "mf_plugin/assets/tiny_sd"
    assert Path(find_base("mf_plugin/assets/tiny_sd")) == bundled.resolve()
    assert find_base("org/name") == write_base("org/name") == "org/name"


@pytest.mark.parametrize(
    "change, message",
    [
        ({"what": "text2img"}, "what is 'text2img'"),
        ({"kind": "boxes"}, "kind is 'boxes'"),
        ({"template": "maps"}, "template is 'maps'"),
        ({"format": 2}, "format is 2; expected 1"),
        ({"size": [16]}, r"size is \[16\]; expected height and width"),
        ({"palette": {}}, "palette"),
        ({"phrases": 0}, "phrases is 0; expected 1 to 100"),
        ({"region_prompt": "a thing"}, "region_prompt is 'a thing'; expected a text with {name}"),
        ({"region_prompt": 4}, "region_prompt is 4; expected text or None"),
        ({"zero_terminal_snr": 1}, "zero_terminal_snr is 1; expected true or false"),
    ],
)
def test_a_damaged_record_is_one_error(tmp_path, change, message):
    data = ModelRecord("text2mask", "a/b", "0" * 64, PALETTE, "instance", (16, 24)).to_json()
    (tmp_path / "seggen.json").write_text(json.dumps(data | change))
    with pytest.raises(InputError, match=message):
        read_record(tmp_path)
    (tmp_path / "seggen.json").write_text('{"what": ')
    with pytest.raises(InputError, match="not valid json"):
        read_record(tmp_path)
