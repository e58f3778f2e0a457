"""The stream of samples, the learning rate, and the config's errors."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from mf_plugin.errors import InputError
from mf_plugin.seggen.pairs import SegGenPairs
from mf_plugin.seggen.training.config import SegGenTrainConfig, load_train_config
from mf_plugin.seggen.training.samples import (
    SampleStream,
    draw_variant,
    repeat_pairs,
    step_numbers,
)


@pytest.fixture()
def pairs(source, palette):
    return SegGenPairs(source, palette, "instance", (16, 24), zoom=2.0, min_area=4)


def test_every_epoch_meets_every_image_once_in_another_order(pairs):
    stream = SampleStream(pairs, seed=1, empty_caption=0.0, step_size=4)
    epochs = [[stream[n].pair_index for n in range(5 * e, 5 * e + 5)] for e in range(6)]
    assert all(sorted(epoch) == [0, 1, 2, 3, 4] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 2


def test_images_with_rare_categories_are_met_more_often(pairs):
    """Category 3 is in 2 of 5 images, 5 in 3, 9 in 3: with t = 1, r = 1.58, 1.29, 1.29."""
    repeats = repeat_pairs(pairs, 1.0)
    assert pairs.image_ids == (1, 2, 4, 7, 8)
    assert repeats.tolist() == [5, 6, 5, 6, 5]
    stream = SampleStream(pairs, 1, 0.0, 4, repeats=repeats)
    for epoch in range(2):
        met = Counter(stream[n].pair_index for n in range(27 * epoch, 27 * (epoch + 1)))
        assert [met[i] for i in range(5)] == repeats.tolist()
    assert repeat_pairs(pairs, 0.3).tolist() == [4] * 5
    assert repeat_pairs(pairs, 0.0) is None


def test_a_sample_depends_on_its_number_alone(pairs):
    forwards = SampleStream(pairs, 1, 0.3, 4)
    backwards = SampleStream(pairs, 1, 0.3, 4)
    first = [forwards[n] for n in range(12)]
    second = [backwards[n] for n in reversed(range(12))][::-1]
    for a, b in zip(first, second, strict=True):
        assert (a.pair_index, a.empty, a.time, a.noise) == (b.pair_index, b.empty, b.time, b.noise)
        assert (a.pair.image == b.pair.image).all() and a.pair.caption == b.pair.caption
    assert len({s.noise for s in first}) == 12
    other = SampleStream(pairs, 2, 0.3, 4)
    assert [other[n].noise for n in range(12)] != [s.noise for s in first]


def test_times_of_a_step_are_stratified_and_captions_left_out_by_their_share(pairs):
    stream = SampleStream(pairs, 1, 0.25, step_size=4, variants=3)
    samples = [stream[n] for n in range(2000)]
    assert all(n % 4 / 4 <= s.time < (n % 4 + 1) / 4 for n, s in enumerate(samples))
    assert sum(s.empty for s in samples) / 2000 == pytest.approx(0.25, abs=0.03)
    counts = Counter(s.variant for s in samples)
    assert set(counts) == {0, 1, 2} and min(counts.values()) > 550
    assert samples[0].pair is None


def test_shifted_times_lean_towards_noise(pairs):
    even, shifted = (SampleStream(pairs, 1, 0.0, 4, 3, shift) for shift in (1.0, 3.0))
    for number in range(8):
        t = even[number].time
        assert shifted[number].time == pytest.approx(3 * t / (1 + 2 * t))
        assert shifted[number].noise == even[number].noise


def test_processes_share_what_one_would_meet():
    options = dict(batch=2, accumulate=3)
    one = list(step_numbers(0, 4, processes=2, rank=0, **options))
    two = list(step_numbers(0, 4, processes=2, rank=1, **options))
    assert len(one) == len(two) == 24 and sorted(one + two) == list(range(48))
    assert one[:4] == [0, 1, 4, 5] and two[:2] == [2, 3]
    assert list(step_numbers(2, 4, processes=2, rank=1, **options)) == two[12:]
    alone = list(step_numbers(1, 2, processes=1, rank=0, batch=4, accumulate=1))
    assert alone == [4, 5, 6, 7]


def test_the_first_variant_is_the_centre(pairs):
    assert (draw_variant(pairs, 0, 2, 0).image == pairs[2].image).all()
    first, second = (draw_variant(pairs, 0, 2, v) for v in (1, 2))
    assert first.corner != second.corner or (first.image != second.image).any()
    assert (draw_variant(pairs, 0, 2, 1).image == first.image).all()


def test_the_learning_rate_climbs_holds_and_falls(tiny_config):
    config = tiny_config(steps=100, lr=1.0, warmup=10, decay=0.2)
    rates = [config.learning_rate(step) for step in range(100)]
    assert rates[0] == 0.1 and rates[9] == rates[50] == rates[80] == 1.0
    assert rates[90] == pytest.approx(0.5) and rates[99] == pytest.approx(0.05)
    constant = tiny_config(steps=100, lr=1.0, warmup=0, decay=0.0)
    assert {constant.learning_rate(step) for step in range(100)} == {1.0}


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(what="text2img"), "what is 'text2img'; expected one of"),
        (dict(kind="boxes"), "kind is 'boxes'"),
        (dict(captions="none"), "captions is 'none'"),
        (dict(captions="coco"), "captions_file is None; expected a captions json"),
        (dict(captions="blip2"), "blip2_model is None"),
        (dict(precision="fp8"), "precision is 'fp8'"),
        (dict(template="a map"), "template is 'a map'"),
        (dict(steps=0), "steps is 0; expected at least 1"),
        (dict(zoom=0.5), "zoom is 0.5"),
        (dict(empty_caption=1.5), "empty_caption is 1.5; expected 0 to 1"),
        (dict(ema=1.0), "ema is 1.0"),
        (dict(lr=0.0), "lr is 0.0; expected more than 0"),
        (dict(min_snr=0.0), "min_snr is 0.0"),
        (dict(time_shift=0.0), "time_shift is 0.0; expected more than 0"),
        (dict(object_weight=0.0), "object_weight is 0.0; expected more than 0"),
        (dict(what="text2mask", conditioning_lr=2.0), "conditioning_lr is 2.0; expected 1"),
        (dict(repeat_threshold=2.0), "repeat_threshold is 2.0; expected 0 to 1"),
        (dict(what="mask2img", zero_terminal_snr=True), "zero_terminal_snr is True; expected Fal"),
        (dict(tracker="wandb"), "tracker is 'wandb'"),
        (dict(save_dtype="int8"), "save_dtype is 'int8'"),
        (dict(cache_variants=-1), "cache_variants is -1"),
    ],
)
def test_numbers_out_of_range_are_named(tiny_config, change, message):
    with pytest.raises(InputError, match=message):
        tiny_config(**change)


def test_a_config_is_json_and_names_what_differs(tiny_config):
    config = tiny_config()
    as_json = json.loads(json.dumps(config.to_json()))
    assert config.differences(as_json) == []
    assert tiny_config(validate_every=7, tracker="tensorboard").differences(as_json) == []
    (found,) = tiny_config(lr=2e-2).differences(as_json)
    assert found == "lr 0.01; expected 0.02"


def test_a_config_file_defines_one(tmp_path):
    path = tmp_path / "x.py"
    path.write_text(
        "from mf_plugin.seggen.source import SourceConfig\n"
        "from mf_plugin.seggen.training.config import SegGenTrainConfig\n"
        "config = SegGenTrainConfig(what='mask2img', base='a/b', source=SourceConfig("
        "'instance', images='i', annotations='a.json'))\n"
    )
    config = load_train_config(path)
    assert isinstance(config, SegGenTrainConfig)
    assert (config.lr, config.steps, config.size) == (1e-5, 30_000, (768, 768))  # the paper's
    path.write_text("config = 3")
    with pytest.raises(InputError, match="SegGenTrainConfig"):
        load_train_config(path)
