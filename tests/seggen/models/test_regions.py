"""Region attention on tiny, real networks: exact weights; pixels that read their region alone."""

from __future__ import annotations

import numpy as np
import pytest

from mf_plugin.errors import InputError
from mf_plugin.seggen.palette import make_palette

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
from mf_plugin.mosaic.components import load_components  # noqa: E402
from mf_plugin.seggen.base import encode_captions  # noqa: E402
from mf_plugin.seggen.mask2img import Mask2Img, build_controlnet  # noqa: E402
from mf_plugin.seggen.record import ModelRecord  # noqa: E402
from mf_plugin.seggen.regions import (  # noqa: E402
    RegionAttention,
    Regions,
    RegionTexts,
    find_regions,
)

PALETTE = make_palette([3, 5, 9])
PROMPTS = {3: "a cat", 5: "a dog", 9: "a bath towel"}
BASES = ("tiny_sd_folder", "tiny_sd2_folder", "tiny_sdxl_folder")


def paint(*rows: tuple[int, ...]) -> np.ndarray:
    """uint8[len(rows), len(row), 3]: of 0 the background's colour, else the category's."""
    colors = {0: PALETTE.background, **{i: PALETTE.color(i) for i in PALETTE.ids}}
    return np.array([[colors[value] for value in row] for row in rows], np.uint8)


def test_each_category_of_a_map_is_a_region_and_the_rest_the_background():
    maps = np.stack([paint((3, 3), (0, 9)), paint((0, 0), (0, 0))])
    maps[0, 1, 0] = PALETTE.border
    regions = find_regions(maps, PALETTE, [PROMPTS, PROMPTS], ["one", "two"])
    assert sorted(regions.prompts[:2]) == ["a bath towel", "a cat"]
    assert regions.prompts[2:] == ["one", "two"]
    assert regions.rows.tolist() == [0, 0, 0, 1]
    cat, towel = (regions.prompts.index(PROMPTS[i]) for i in (3, 9))
    masks = regions.masks.astype(int)
    assert masks[[cat, towel]].tolist() == [[[1, 1], [0, 0]], [[0, 0], [0, 1]]]
    assert masks[2:].tolist() == [[[0, 0], [1, 0]], [[1, 1], [1, 1]]]


def test_a_category_without_a_prompt_is_one_error():
    with pytest.raises(InputError, match=r"colour map 0 shows category id 9; .* 1 for others"):
        find_regions(paint((3, 9))[None], PALETTE, [{3: "a cat"}], ["a cat"])


def test_weights_are_roots_of_covered_shares_that_sum_to_one():
    masks = torch.zeros(3, 4, 8)
    masks[0, :, 0] = 1  # a quarter of the first 4 x 4 cell
    masks[1] = 1 - masks[0]
    masks[2] = 1  # another image's only prompt
    texts = RegionTexts(torch.zeros(3, 1, 1), torch.tensor([0, 0, 1]), masks)
    coarse = texts.weights(2)[:, :, 0]  # 1 x 2 cells
    small, large = 0.25**0.5, 0.75**0.5
    expected = [[small / (small + large), 0], [large / (small + large), 1], [1, 1]]
    assert torch.allclose(coarse, torch.tensor(expected))
    assert torch.equal(texts.weights(32)[:, :, 0], masks.flatten(1))  # as fine as the masks


@pytest.mark.parametrize("guided", [False, True])
def test_pixels_read_their_own_prompt_alone(tiny_sd_folder, guided):
    pipeline = load_components(tiny_sd_folder)
    torch.manual_seed(0)
    modules = pipeline.unet.named_modules()
    attn = next(module for name, module in modules if name.endswith("attn2"))
    masks = np.zeros((3, 2, 4), bool)
    masks[0, :, :2], masks[1, :, 2:], masks[2] = True, True, True
    regions = Regions(["a cat", "a dog", "a dog"], np.array([0, 0, 1]), masks)
    hidden = torch.randn(4 if guided else 2, 8, attn.to_q.in_features)
    captions = encode_captions(pipeline, ["", "", "a bath towel", "a bath towel"])[0]
    context = captions if guided else captions[2:]
    cat, dog = encode_captions(pipeline, ["a cat", "a dog"])[0]

    with torch.no_grad():
        alone = {key: attn(hidden[-2:], torch.stack([text, text]))
                 for key, text in (("cat", cat), ("dog", dog))}  # fmt: skip
        before = attn(hidden, context)
        attention = RegionAttention([pipeline.unet])
        idle = attn(hidden, context)
        attention.texts = RegionTexts.of(regions, torch.stack([cat, dog, dog]), "cpu")
        found = attn(hidden, context)
        attention.remove()
        after = attn(hidden, context)
    first, second = found[-2:].unflatten(1, (2, 4))
    as_cat, as_dog = (alone[key].unflatten(1, (2, 4)) for key in ("cat", "dog"))
    assert torch.allclose(first[:, :2], as_cat[0][:, :2], atol=1e-6)
    assert torch.allclose(first[:, 2:], as_dog[0][:, 2:], atol=1e-6)
    assert torch.allclose(second, as_dog[1], atol=1e-6)
    assert (as_cat - as_dog).abs().max() > 1e-4
    if guided:
        assert torch.allclose(found[:2], before[:2], atol=1e-6)
    assert torch.equal(before, idle) and torch.equal(before, after)


@pytest.fixture(scope="module", params=BASES)
def model(request) -> Mask2Img:
    base = load_components(request.getfixturevalue(request.param))
    torch.manual_seed(5)
    network = build_controlnet(base)
    with torch.no_grad():
        for parameter in network.parameters():  # zero layers would ignore the colour map
            parameter += 0.02 * torch.randn_like(parameter)
    record = ModelRecord("mask2img", "x", "0" * 64, PALETTE, "instance", (16, 24))
    return Mask2Img(base, network, record)


MAPS = np.repeat(np.repeat(paint((3, 9, 0), (3, 0, 9)), 8, axis=0), 8, axis=1)[None].repeat(2, 0)
CAPTIONS = ["a cat", "a dog"]
OPTIONS = dict(seeds=[1, 2], steps=2, guidance=2.0)


def test_prompts_that_say_what_the_caption_says_change_nothing(model):
    usual = model(CAPTIONS, MAPS, **OPTIONS)
    same = model(["a cat"] * 2, MAPS, region_prompts=dict.fromkeys(PROMPTS, "a cat"), **OPTIONS)
    assert np.abs(same[0].astype(int) - usual[0]).max() <= 1
    again = model(CAPTIONS, MAPS, **OPTIONS)
    assert (again == usual).all()


def test_region_prompts_and_backgrounds_are_read(model):
    usual = model(CAPTIONS, MAPS, **OPTIONS)
    regions = model(CAPTIONS, MAPS, region_prompts=PROMPTS, **OPTIONS)
    assert (usual != regions).any()
    empty = model(CAPTIONS, MAPS, region_prompts=PROMPTS, backgrounds=["", ""], **OPTIONS)
    assert (regions != empty).any()
    alone = model(CAPTIONS[1:], MAPS[1:], region_prompts=PROMPTS, backgrounds=[""], seeds=[2],
                  steps=2, guidance=2.0)  # fmt: skip
    assert np.abs(empty[1].astype(int) - alone[0]).max() <= 1
