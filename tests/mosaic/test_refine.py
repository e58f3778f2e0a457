"""Refined masks: the running sums and the last steps, on hand-made numbers and the tiny model."""

from __future__ import annotations

import numpy as np
import pytest

from mf_plugin.errors import InputError
from mf_plugin.mosaic.attention import AttentionConfig, RegionAttention, SubjectAttention
from mf_plugin.mosaic.bilateral import BilateralConfig
from mf_plugin.mosaic.masks import MaskConfig, attention_config_for, attention_to_mask
from mf_plugin.mosaic.prompts import Prompt
from mf_plugin.mosaic.refine import RefineConfig, heat_log_odds, merge_refined
from mf_plugin.mosaic.refined_sums import RefinedMaps, RefinedSums, agreement, propagate

torch = pytest.importorskip("torch")


def test_heads_weigh_what_they_agree_with_their_mean():
    # Two heads agree, the third is flat, the fourth says the opposite.
    maps = torch.tensor([[[0.0, 1.0], [0.0, 3.0], [1.0, 1.0], [1.0, 0.0]]])
    assert agreement(maps).tolist() == [[pytest.approx(1), pytest.approx(1), 0, 0]]


def test_the_walk_ends_where_its_equation_holds():
    heat, affinity = torch.tensor([[1.0, 0.0, 0.0]]), torch.eye(3).roll(1, 0).unsqueeze(0)
    walked = propagate(heat, affinity, 0.5)
    inverse = torch.linalg.inv(torch.eye(3) - 0.5 * affinity[0])
    assert walked[0].tolist() == pytest.approx((0.5 * inverse @ heat[0]).tolist(), abs=1e-5)
    assert torch.equal(propagate(heat, affinity, 0), heat)


def test_shares_are_of_the_words_and_weighted_by_agreement():
    # One row, one head, two places, tokens: start, subject, padding.
    sums = RefinedSums(torch.tensor([[0.0, 1, 0]]), torch.tensor([[1.0, 1, 0]]), 1, (1, 2))
    shares, weights = sums.weigh(torch.tensor([[[[0.3, 0.1, 0.6], [0.1, 0.3, 0.6]]]]))
    assert weights.tolist() == [[pytest.approx(1)]]
    assert shares[0].tolist() == pytest.approx([0.25, 0.75])
    sums.add(1, shares, weights)
    sums.add_affinity(slice(0, 1), torch.eye(2).view(1, 1, 2, 2))
    (result,) = sums.results({1: (1, 2)}, propagation=0.8)
    assert result.maps[1][0].tolist() == pytest.approx([1 / 3, 1])
    assert result.agreement[1] == pytest.approx(1)


def test_what_is_held_does_not_grow_and_published_reading_pays_nothing(pipeline):
    prompts = [Prompt("a photo of a cat", (13, 16))] * 2
    held = {}
    for refined in (False, True):
        with (
            torch.no_grad(),
            SubjectAttention(pipeline.unet, AttentionConfig(refined=refined)) as reader,
        ):
            sums = reader.make_sums(pipeline.tokenizer, prompts, 77, (8, 8))
            sizes = []
            for seed in range(3):
                generator = torch.Generator().manual_seed(seed)
                sample = torch.randn(2, 4, 8, 8, generator=generator)
                context = torch.randn(2, 77, 16, generator=generator)
                with reader.recording(sums):
                    pipeline.unet(sample, 10, encoder_hidden_states=context)
                sizes.append(sums.numel)
        assert len(set(sizes)) == 1
        held[refined] = sizes[0]
        (first, _) = sums.results()
        assert (first.refined is not None) == refined
    assert held[False] == 2 * (64 + 16)
    # The same again, a number per row and resolution, and 64 x 64 of self-attention per row.
    assert held[True] == 2 * held[False] + 2 * 2 + 2 * 64 * 64


def test_log_odds_are_0_at_the_threshold():
    odds = heat_log_odds(np.array([[0.0, 0.2], [0.8, 1.0]]), 0.5, contrast=4.0)
    assert odds.ravel().tolist() == pytest.approx([-2.5, -1.5, 1.5, 2.5])


def disk(size: int, outer: float, inner: float = 0.0) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size]
    radius = np.hypot(rows - (size - 1) / 2, columns - (size - 1) / 2)
    return (radius <= outer) & (radius >= inner)


def ring_attention(size: int) -> RegionAttention:
    """Heat of a whole disk: attention is too coarse to see the hole."""
    heat = disk(size // 4, size / 4 * 0.36).astype(np.float32)
    return RegionAttention({1: heat}, RefinedMaps({1: heat}, {1: 1.0}))


def test_a_hole_of_the_grounds_colour_is_not_filled():
    ring = disk(64, 24, 12)
    image = np.where(ring[..., None], (220, 180, 40), (30, 60, 160)).astype(np.uint8)
    maps = ring_attention(64)
    ious = {}
    for method in ("published", "refined"):
        small_cells = BilateralConfig(sigma_spatial=2.3)
        config = MaskConfig(method=method, scales=(1,), bilateral=small_cells)
        mask = attention_to_mask(maps, image, config)
        ious[method] = (mask & ring).sum() / (mask | ring).sum()
    assert ious["refined"] > 0.95 > ious["published"]


def test_scales_count_by_their_agreement():
    maps = RefinedMaps(
        {1: np.array([[1.0, 0.0]], np.float32), 2: np.array([[0.0, 1.0]], np.float32)},
        {1: 0.75, 2: 0.25},
    )
    assert merge_refined(maps, (1, 2), (1, 2))[0].tolist() == pytest.approx([1, 1 / 3])


def test_nothing_seen_no_mask():
    image = np.zeros((16, 16, 3), np.uint8)
    for value in (0.0, 1.0):
        flat = np.full((4, 4), value, np.float32)
        maps = RegionAttention({1: flat}, RefinedMaps({1: flat}, {1: 1.0}))
        assert not attention_to_mask(maps, image, MaskConfig(scales=(1,))).any()


def test_what_is_missing_or_wrong_is_named():
    image, heat = np.zeros((8, 8, 3), np.uint8), np.eye(4, dtype=np.float32)
    with pytest.raises(InputError, match="attention that was read with"):
        attention_to_mask(RegionAttention({1: heat}), image, MaskConfig(scales=(1,)))
    read = RegionAttention({1: heat}, RefinedMaps({1: heat}, {1: 1.0}))
    with pytest.raises(InputError, match=r"mask scale 2: the model has attention at \[1\]"):
        attention_to_mask(read, image, MaskConfig(scales=(2,)))
    with pytest.raises(InputError, match="refine rounds is 0; expected at least 1"):
        RefineConfig(rounds=0)
    with pytest.raises(InputError, match="propagation is 1; expected 0 <= number < 1"):
        AttentionConfig(propagation=1)


def test_the_method_says_what_is_read():
    assert attention_config_for(MaskConfig(), AttentionConfig()).refined
    published = MaskConfig(method="published")
    assert attention_config_for(published, AttentionConfig()) == AttentionConfig()
