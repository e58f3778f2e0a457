"""The bench on a tiny real model: what it counts, never how fast it is."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from mf_plugin.bench.generation import measure_generation, measure_solver  # noqa: E402
from mf_plugin.bench.peers import UnetCalls  # noqa: E402
from mf_plugin.bench.table import generation_table  # noqa: E402
from mf_plugin.generation.config import GenerationConfig  # noqa: E402
from mf_plugin.generation.filters import FilterConfig  # noqa: E402


def test_calls_are_repeated_in_their_shapes(tiny_sd_folder):
    from mf_plugin.mosaic.pipeline import MosaicPipeline

    unet = MosaicPipeline.from_pretrained(tiny_sd_folder).unet
    context = torch.zeros(2, 7, 16)
    calls = UnetCalls()
    with calls.recorded(unet):
        for size in (8, 16, 8):
            unet(torch.zeros(2, 4, size, size), 10, encoder_hidden_states=context)
    unet(torch.zeros(2, 4, 8, 8), 10, encoder_hidden_states=context)
    assert len(calls) == 3 and calls.rows == 6

    again = UnetCalls()
    with again.recorded(unet):
        calls.repeat(unet)
    assert again._order == calls._order


def test_a_generation_config_is_measured(tiny_sd_folder, tmp_path):
    config = GenerationConfig(
        vocabulary="minilvis:demo",
        model=tiny_sd_folder,
        canvas=(64, 64),
        jitter=0.5,
        overlap=(0, 0),
        multiple=4,
        steps=2,
        template="a {name}",
        filters=FilterConfig(0.02, 0.9, components=9),
        group_size=2,
    )
    measured = measure_generation(config, groups=2, rounds=1)
    # 4 regions of one shape share a call; 2 groups x 2 steps; 4 regions x 2 canvases x 2 halves.
    assert measured["unet_calls"] == 4 and measured["unet_rows"] == 64
    assert measured["canvases"] == 4 and measured["mask_method"] == "refined"
    assert {name: len(values) for name, values in measured["seconds"].items()} == {
        "generation": 1,
        "floor": 1,
        "plain": 1,
    }
    solver = measure_solver(repeats=1)
    assert [entry["size"] for entry in solver] == [[384, 512], [512, 512], [768, 1024]]
    table = generation_table({"generation": measured, "solver": solver})
    assert "| time of generation / bare U-Net calls |" in table
