from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mf_plugin.errors import InputError
from mf_plugin.mosaic.attention import AttentionConfig
from mf_plugin.mosaic.components import hash_weights, load_components
from mf_plugin.mosaic.layout import MosaicLayout, Region
from mf_plugin.mosaic.pipeline import MosaicPipeline

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

ONE = MosaicLayout(16, 24, (Region(0, 0, 16, 24),))


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(dtype="int8"), "dtype is 'int8'; expected one of fp32, bf16, fp16"),
        (dict(offload=True), "offload with device 'cpu'; expected a GPU such as 'cuda'"),
        (
            dict(offload=True, compile=True, device="cuda"),
            "offload and compile are both set; expected one of them at most",
        ),
        (dict(revision="v2"), "revision 'v2' of the folder .* expected a hub id with it"),
        (dict(device="warp9"), "device 'warp9' cannot be used"),
        (dict(device="warp9", offload=True), "device 'warp9' cannot be used"),
    ],
)
def test_options_that_cannot_be_had_are_named(tiny_sd_folder, options, message):
    with pytest.raises(InputError, match=message):
        load_components(tiny_sd_folder, **options)


@pytest.mark.parametrize(
    "text, message",
    [
        ('{"_class_name": "FluxPipeline"}', "is a FluxPipeline; expected StableDiffusionPipeline"),
        ('{"_class_name": ["x", "Y"]}', r"is a \['x', 'Y'\]; expected StableDiffusionPipeline"),
        ("{}", "its model_index.json: '_class_name'"),
        ("[]", "its model_index.json: list indices"),
        ("no json", "its model_index.json: Expecting value"),
    ],
)
def test_other_models_are_named(tmp_path, text, message):
    (tmp_path / "model_index.json").write_text(text)
    with pytest.raises(InputError, match=message):
        load_components(tmp_path)


@pytest.mark.parametrize(
    "dtype, expected", [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_dtype_is_that_of_every_network(tiny_sd_folder, dtype, expected):
    components = load_components(tiny_sd_folder, dtype=dtype)
    networks = (components.unet, components.vae, components.text_encoder)
    assert [network.dtype for network in networks] == [expected] * 3


def test_nothing_is_drawn_on_images(tiny_sd_folder, tiny_sdxl_folder):
    assert load_components(tiny_sd_folder).safety_checker is None
    assert load_components(tiny_sdxl_folder).watermark is None


@pytest.mark.parametrize("network", ["text_encoder", "text_encoder_2", "unet", "vae"])
def test_the_hash_covers_every_network(tiny_sdxl_folder, network):
    components = load_components(tiny_sdxl_folder)
    before = hash_weights(components)
    assert before == hash_weights(load_components(Path(tiny_sdxl_folder)))
    next(getattr(components, network).parameters()).data.view(-1)[0] += 1
    assert hash_weights(components) != before


HUB = """
import sys
from mf_plugin.errors import InputError
from mf_plugin.mosaic.components import load_components
for revision in (None, "old", "gone"):
    try:
        unet = load_components("org/tiny", revision=revision).unet
        print(revision, unet.config.sample_size)
    except InputError as error:
        print(revision, error)
"""


def test_hub_ids_and_their_revisions(tiny_sd_folder, tmp_path):
    """A cache of the hub as huggingface_hub lays it out, and no network."""
    repository = tmp_path / "models--org--tiny"
    (repository / "refs").mkdir(parents=True)
    for branch, commit, size in (("main", "a" * 40, 16), ("old", "b" * 40, 24)):
        snapshot = repository / "snapshots" / commit
        shutil.copytree(tiny_sd_folder, snapshot)
        config = json.loads((snapshot / "unet" / "config.json").read_text())
        config["sample_size"] = size
        (snapshot / "unet" / "config.json").write_text(json.dumps(config))
        (repository / "refs" / branch).write_text(commit)
    offline = dict(HF_HUB_OFFLINE="1", HF_HUB_CACHE=str(tmp_path), TRANSFORMERS_OFFLINE="1")
    result = subprocess.run(
        [sys.executable, "-c", HUB],
        capture_output=True,
        text=True,
        env={**os.environ, **offline, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[:2] == ["None 16", "old 24"]
    assert lines[2].startswith("gone model 'org/tiny' cannot be loaded: its model_index.json")


@pytest.mark.parametrize("folder", ["tiny_sd_folder", "tiny_sdxl_folder"])
def test_every_network_is_called_through_its_offloading_hook(request, folder, cat):
    """The hooks move weights to the device of a call; here both places are the CPU."""
    folder = request.getfixturevalue(folder)
    components = load_components(folder)
    components.enable_model_cpu_offload(device="cpu")
    networks = [module for module in components.components.values() if hasattr(module, "_hf_hook")]
    calls = dict.fromkeys(map(id, networks), 0)

    def count(network, pre_forward):
        def counted(*arguments, **options):
            calls[id(network)] += 1
            return pre_forward(*arguments, **options)

        return counted

    for network in networks:
        network._hf_hook.pre_forward = count(network, network._hf_hook.pre_forward)
    mosaic = MosaicPipeline(components)
    options = dict(seeds=[1], steps=3, guidance=2.0)
    output = mosaic(ONE, [[cat]], **options)
    assert calls[id(components.unet)] == 3 and min(calls.values()) > 0
    assert torch.equal(
        output.latents, MosaicPipeline.from_pretrained(folder)(ONE, [[cat]], **options).latents
    )
    assert [network._hf_hook for network in networks]  # and they are there for the next run
    assert torch.equal(mosaic(ONE, [[cat]], **options).latents, output.latents)


# torch.compile


def compare_to_eager(compiled, eager, prompts, layout, config=None):
    options = dict(seeds=[1, 2], steps=3, guidance=3.0, attention=config)
    expected, output = (p(layout, [prompts] * 2, **options) for p in (eager, compiled))
    assert (output.latents - expected.latents).abs().max() < 1e-4 * expected.latents.std()
    for rows, expected_rows in zip(output.attention, expected.attention):
        for region, expected_region in zip(rows, expected_rows):
            assert region.maps.keys() == expected_region.maps.keys()
            for scale, values in expected_region.maps.items():
                assert region.maps[scale] == pytest.approx(values, abs=1e-4)


@pytest.mark.parametrize("refined", [False, True])
def test_attention_is_read_in_one_graph_that_is_used_again(
    model_folder, pipeline, cat, towel, refined
):
    """What torch.compile traces, without the code generation behind it: ``fullgraph`` allows no
    break, and the counter no second graph."""
    from torch._dynamo.testing import CompileCounter

    torch._dynamo.reset()  # what other tests have compiled
    counter = CompileCounter()
    compiled = MosaicPipeline.from_pretrained(model_folder)
    compiled.unet.compile(backend=counter, fullgraph=True)
    config = AttentionConfig(refined=refined)
    compare_to_eager(compiled, pipeline, [cat], ONE, config)
    assert counter.frame_count == 1
    compare_to_eager(compiled, pipeline, [towel], ONE, config)
    assert counter.frame_count == 1
    if refined:
        return
    halves = MosaicLayout(16, 24, (Region(0, 0, 16, 16), Region(0, 8, 16, 16)))
    compare_to_eager(compiled, pipeline, [cat, towel], halves, config)
    assert counter.frame_count == 2


@pytest.mark.heavy
@pytest.mark.skipif(shutil.which(os.environ.get("CXX", "g++")) is None, reason="no C++ compiler")
@pytest.mark.parametrize("folder", ["tiny_sd_folder", "tiny_sdxl_folder"])
def test_a_compiled_unet_gives_the_same(request, folder, cat):
    folder = request.getfixturevalue(folder)
    torch._dynamo.reset()
    eager = MosaicPipeline.from_pretrained(folder)
    compiled = MosaicPipeline.from_pretrained(folder, compile=True)
    assert compiled.model_hash() == eager.model_hash()
    torch._dynamo.utils.counters.clear()
    compare_to_eager(compiled, eager, [cat], ONE)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
