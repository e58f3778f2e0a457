from __future__ import annotations

import copy

import numpy as np
import pytest

from mf_plugin.errors import InputError
from mf_plugin.mosaic.attention import (
    AttentionConfig,
    AttentionSums,
    SubjectAttention,
    cross_attention_scales,
    map_scale,
    map_size,
)
from mf_plugin.mosaic.prompts import Prompt

torch = pytest.importorskip("torch")


@pytest.mark.parametrize(
    "latents, places, scale",
    [
        ((16, 16), 256, 1),
        ((16, 16), 64, 2),
        ((16, 16), 16, 4),
        ((8, 32), 64, 2),  # as many places as 8 x 8
        ((51, 68), 26 * 34, 2),  # odd sides are rounded up
        ((51, 68), 13 * 17, 4),
        ((5, 9), 3 * 5, 2),
        ((1, 1), 1, 1),
    ],
)
def test_map_scale(latents, places, scale):
    assert map_scale(latents, places) == scale
    assert np.prod(map_size(latents, scale)) == places


def test_map_scale_of_other_maps():
    with pytest.raises(ValueError, match=r"attention of 50 places for latents of \(16, 16\)"):
        map_scale((16, 16), 50)


def test_another_kind_of_unet_does_not_tell_its_scales():
    pytest.importorskip("diffusers")
    assert cross_attention_scales(torch.nn.Identity(), ("down", "up")) == ()


def test_sums_are_means_over_heads_layers_and_steps():
    # One row, two heads, latents 1 x 2, three tokens of which the last two are the subject.
    sums = AttentionSums(torch.tensor([[0, 0.5, 0.5]]), (1, 2))
    head_1 = [[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]]
    head_2 = [[0.0, 1.0, 0.0], [0.5, 0.25, 0.25]]
    sums.add(torch.tensor([[head_1, head_2]]))
    assert sums.results()[0].maps[1].tolist() == [[0.25, 0.375]]
    sums.add(torch.zeros(1, 2, 2, 3))
    assert sums.results()[0].maps[1].tolist() == [[0.125, 0.1875]]


def unet_inputs(rows, size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    sample = torch.randn((rows, 4, *size), generator=generator)
    return sample, torch.randn((rows, 7, 16), generator=generator)


class Stored:
    """Brute force: keeps every query and key of the cross-attention layers."""

    def __init__(self, unet):
        self.layers, self.handles = {}, []
        for name, module in unet.named_modules():
            if name.endswith("attn2") and not name.startswith("mid"):
                layer = self.layers[name] = {"module": module, "q": [], "k": []}
                self.handles += [
                    module.to_q.register_forward_hook(lambda m, i, o, to=layer["q"]: to.append(o)),
                    module.to_k.register_forward_hook(lambda m, i, o, to=layer["k"]: to.append(o)),
                ]

    def attention(self):
        """Per call and layer float[rows, heads, T, K]."""
        for layer in self.layers.values():
            heads = layer["module"].heads
            for query, key in zip(layer["q"], layer["k"]):
                q, k = (x.unflatten(-1, (heads, -1)).transpose(1, 2).double() for x in (query, key))
                yield (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)


@pytest.mark.parametrize("size", [(16, 16), (8, 32), (7, 10)])
def test_streamed_maps_equal_the_mean_of_stored_ones(pipeline, size):
    unet = pipeline.unet
    weights = torch.zeros(2, 7)
    weights[0, 2], weights[1, 3:5] = 1, 0.5
    sums = AttentionSums(weights, size)
    stored = Stored(unet)
    with torch.no_grad(), SubjectAttention(unet) as reader, reader.recording(sums):
        for seed, time in enumerate((900, 500, 100)):
            sample, context = unet_inputs(4, size, seed)  # two unconditional, two conditional rows
            unet(sample, time, encoder_hidden_states=context)
    for handle in stored.handles:
        handle.remove()

    kept: dict[int, list] = {}
    for attention in stored.attention():
        subject = torch.einsum("nhtk,nk->nt", attention[2:], weights.double()) / attention.shape[1]
        kept.setdefault(map_scale(size, subject.shape[1]), []).append(subject)
    # 3 steps of 1 layer down and 2 up at each of the two resolutions.
    assert {scale: len(maps) for scale, maps in kept.items()} == {1: 9, 2: 9}
    results = sums.results()
    for scale, expected in kept.items():
        mean = torch.stack(expected).mean(0).reshape(2, *map_size(size, scale))
        assert mean.std() > 0.01  # there is something to compare
        for row in range(2):
            assert results[row].maps[scale] == pytest.approx(mean[row].numpy(), abs=1e-5)


def test_reading_changes_neither_the_output_nor_the_processors(pipeline):
    # In double precision, where the softmax, always in float32, is all that rounds differently.
    unet = copy.deepcopy(pipeline.unet).double()
    before = dict(unet.attn_processors)
    sample, context = (x.double() for x in unet_inputs(3, (8, 8)))
    with torch.no_grad():
        plain = unet(sample, 10, encoder_hidden_states=context).sample
        with SubjectAttention(unet, AttentionConfig(("down", "mid", "up"))) as reader:
            changed = {name for name, p in unet.attn_processors.items() if p is not before[name]}
            assert changed == {name for name in before if "attn2" in name}
            idle = unet(sample, 10, encoder_hidden_states=context).sample
            with reader.recording(AttentionSums(torch.ones(2, 7) / 7, (8, 8))):
                read = unet(sample, 10, encoder_hidden_states=context).sample
    assert torch.equal(idle, plain)
    assert (read - plain).abs().max() < 1e-6
    assert all(unet.attn_processors[name] is before[name] for name in before)


def test_processors_come_back_after_an_error(pipeline):
    before = dict(pipeline.unet.attn_processors)
    with (
        pytest.raises(KeyboardInterrupt),
        SubjectAttention(pipeline.unet) as reader,
        reader.recording(None),
    ):
        raise KeyboardInterrupt
    assert all(pipeline.unet.attn_processors[name] is before[name] for name in before)


def test_memory_does_not_grow_with_steps(pipeline):
    sums = AttentionSums(torch.ones(1, 7) / 7, (8, 8))
    sizes = []
    with torch.no_grad(), SubjectAttention(pipeline.unet) as reader, reader.recording(sums):
        for seed in range(4):
            sample, context = unet_inputs(2, (8, 8), seed)
            pipeline.unet(sample, 10, encoder_hidden_states=context)
            sizes.append(sums.numel)
    assert sizes == [64 + 16] * 4


def test_config():
    steps = AttentionConfig(steps=(2, 4))
    assert [step for step in range(6) if steps.reads_step(step)] == [2, 3]
    assert AttentionConfig().reads_step(49)
    with pytest.raises(InputError, match="attention blocks"):
        AttentionConfig(blocks=("side",))
    with pytest.raises(InputError, match="attention tokens is 'first'"):
        AttentionConfig(tokens="first")


@pytest.mark.parametrize(
    "text, subject, tokens, positions",
    [
        ("a bath towel, a cat", (2, 12), "all", [2, 3]),
        ("a bath towel, a cat", (2, 12), "last", [3]),
        ("a bath towel, a cat", (2, 12), "next", [2, 3, 4]),
        ("a bath towel", (2, 12), "next", [2, 3]),  # behind it is the end token
    ],
)
def test_which_tokens_are_read(pipeline, text, subject, tokens, positions):
    prompt = Prompt(text, subject)
    with SubjectAttention(pipeline.unet, AttentionConfig(tokens=tokens)) as reader:
        sums = reader.make_sums(pipeline.tokenizer, [prompt], 10, (8, 8))
    expected = [1 / len(positions) if place in positions else 0 for place in range(10)]
    assert sums.token_weights[0].tolist() == pytest.approx(expected)
