from __future__ import annotations

import numpy as np
import pytest

from mf_plugin.errors import InputError
from mf_plugin.lvis.backgrounds import BACKGROUNDS, draw_background
from mf_plugin.lvis.compose import ComposeOptions, compose_image, compose_single


def square(colour=(255, 0, 0), side: int = 96) -> np.ndarray:
    """A filled square without a margin, so that its alpha box is the sprite."""
    sprite = np.full((side, side, 4), 255, np.uint8)
    sprite[:, :, :3] = colour
    return sprite


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("size", [(64, 64), (48, 80), (96, 40)])
def test_a_single_object_fills_the_image_and_stays_inside(size):
    for seed in range(30):
        image, alpha, word = compose_single(rng(seed), square(), size)

        assert image.shape == (*size, 3) and image.dtype == np.uint8
        assert alpha.shape == size and alpha.dtype == np.float32
        assert alpha.min() >= 0.0 and alpha.max() <= 1.0
        assert word in BACKGROUNDS
        rows, columns = (np.flatnonzero((alpha > 0.5).any(axis=axis)) for axis in (1, 0))
        assert rows[0] > 0 and rows[-1] < size[0] - 1
        assert columns[0] > 0 and columns[-1] < size[1] - 1
        fill = max(len(rows), len(columns)) / min(size)
        assert 0.5 < fill < 0.95


def test_a_wide_object_uses_the_width_of_a_wide_image():
    sprite = square()[:32]
    widths = [
        np.count_nonzero((compose_single(rng(s), sprite, (48, 96))[1] > 0.5).any(axis=0))
        for s in range(20)
    ]
    assert min(widths) > 48


@pytest.mark.parametrize("word", BACKGROUNDS)
def test_every_background_can_be_asked_for(word):
    assert compose_single(rng(), square(), background=word)[2] == word
    ground = draw_background(rng(), word, (300, 280))
    assert ground.shape == (300, 280, 3) and ground.dtype == np.float32
    assert ground.min() >= 0.0 and ground.max() <= 255.0


@pytest.mark.parametrize("word, channel", [("red", 0), ("green", 1), ("blue", 2)])
def test_a_colour_word_is_the_colour(word, channel):
    for seed in range(20):
        mean = draw_background(rng(seed), word, (16, 16)).mean(axis=(0, 1))
        assert mean.argmax() == channel


def test_words_are_drawn_from_those_given():
    words = {compose_single(rng(s), square(), background=("sand", "blue"))[2] for s in range(20)}
    assert words == {"sand", "blue"}


def test_composing_follows_from_the_seed():
    sprites = [(1, square()), (2, square((0, 0, 255)))]
    first, again, other = (compose_image(rng(s), sprites) for s in (5, 5, 6))
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.instances[0].mask, again.instances[0].mask)
    assert not np.array_equal(first.image, other.image)
    single, same = (compose_single(rng(5), square()) for _ in range(2))
    assert np.array_equal(single[0], same[0]) and np.array_equal(single[1], same[1])


def test_colours_of_transparent_pixels_do_not_bleed_in():
    sprite = square((0, 0, 0))
    sprite[:24], sprite[-24:] = (0, 255, 0, 0), (0, 255, 0, 0)  # green, but transparent
    for seed in range(10):
        image, alpha, _ = compose_single(rng(seed), sprite, background="white")
        edge = image[(alpha > 0.4) & (alpha < 0.9)].astype(int)
        assert np.all(edge[:, 1] - edge[:, [0, 2]].max(axis=1) < 30)


def test_masks_are_the_visible_parts():
    options = ComposeOptions(
        object_size=(0.5, 0.6), max_cover=1.0, placement_tries=1, shadow=0.0, grain=(0.0, 0.0)
    )
    sprites = [(7, square((255, 0, 0))), (8, square((0, 255, 0)))]
    overlaps = 0
    for seed in range(40):
        result = compose_image(rng(seed), sprites, (96, 96), options)
        masks = {i.category_id: i.mask for i in result.instances}
        assert len(result.instances) + len(result.unannotated) <= 2
        if len(masks) < 2:
            continue
        assert not np.any(masks[7] & masks[8])
        overlaps += masks[7].sum() < 0.9 * result.instances[0].full_area
        inner = result.image[masks[8]].astype(int)
        assert np.mean(inner[:, 1] > inner[:, 0]) > 0.95  # green lies in front
    assert overlaps >= 5


def test_hidden_objects_are_not_annotated():
    # Two squares as large as the image: the second covers most of the first.
    options = ComposeOptions(object_size=(0.999, 1.0), rotation_std=0.0, min_inside=0.999)
    result = compose_image(rng(), [(3, square()), (4, square())], (64, 64), options)
    assert [i.category_id for i in result.instances] == [4]
    assert set(result.unannotated) <= {3}


def test_objects_below_the_pixel_floor_are_not_annotated():
    options = ComposeOptions(object_size=(0.1, 0.1001), min_pixels=50)
    result = compose_image(rng(), [(3, square())], (64, 64), options)
    assert result.instances == () and result.unannotated == (3,)


def test_truncation_keeps_half_of_the_box_inside():
    options = ComposeOptions(object_size=(0.4, 0.4001), rotation_std=0.0)
    shares = []
    for seed in range(60):
        (instance,) = compose_image(rng(seed), [(1, square())], (80, 80), options).instances
        shares.append(instance.mask.sum() / instance.full_area)
    assert 0.47 <= min(shares) < 0.95 and max(shares) == 1.0


def test_bad_input_is_named():
    with pytest.raises(InputError, match=r"sprite is uint8\[4, 4, 3\]: expected uint8\[h, w, 4\]"):
        compose_single(rng(), np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(InputError, match="unknown background 'moon': expected one of red"):
        compose_single(rng(), square(), background="moon")
    with pytest.raises(InputError, match="image size 8x64: expected at least 16x16"):
        compose_image(rng(), [(1, square())], (8, 64))
