from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from mf_plugin.errors import InputError
from mf_plugin.seggen.colormap import decode, encode
from mf_plugin.seggen.palette import Palette, make_palette
from mf_plugin.seggen.reading import share_of_border

SIZE = (64, 80)
PALETTE = make_palette(range(1, 31))


def box(top, left, height, width):
    mask = np.zeros(SIZE, dtype=bool)
    mask[top : top + height, left : left + width] = True
    return mask


def iou(first, second):
    return (first & second).sum() / (first | second).sum()


def by_category(segments):
    return [(s.category_id, int(s.mask.sum())) for s in segments]


def test_a_map_has_exact_colors():
    image = encode([(3, box(4, 4, 20, 20)), (9, box(30, 30, 16, 16))], SIZE, PALETTE, "instance")
    assert image.dtype == np.uint8 and image.shape == (*SIZE, 3)
    assert (image[box(4, 4, 20, 20)] == PALETTE.color(3)).all()
    assert (image[box(30, 30, 16, 16)] == PALETTE.color(9)).all()
    assert (image == PALETTE.background).all(-1).sum() == 64 * 80 - 400 - 256


def test_what_was_drawn_is_read_again():
    drawn = [(9, box(30, 30, 16, 16)), (3, box(4, 4, 20, 20)), (3, box(40, 2, 20, 20))]
    found = decode(encode(drawn, SIZE, PALETTE, "instance"), PALETTE, "instance")
    assert by_category(found) == [(3, 400), (3, 400), (9, 256)]
    assert (found[2].mask == drawn[0][1]).all()
    assert [s.confidence for s in found] == [1, 1, 1]


def test_two_of_one_category_that_touch_come_apart():
    drawn = [(3, box(10, 10, 24, 24)), (3, box(10, 34, 24, 24)), (5, box(34, 10, 24, 24))]
    image = encode(drawn, SIZE, PALETTE, "instance")
    border = (image == PALETTE.border).all(-1)
    assert border[box(10, 32, 24, 4)].all()  # two pixels of each
    assert not border[:, :28].any() and not border[:, 40:].any()
    assert not border[10:34, :32].any() and not border[10:34, 36:].any()
    assert not border[:7].any() and not border[37:].any()  # a little beyond its ends
    found = decode(image, PALETTE, "instance")
    assert [s.category_id for s in found] == [3, 3, 5]
    assert sorted(int(s.mask[:, 10].any()) for s in found[:2]) == [0, 1]
    for category_id, mask in drawn:
        assert max(iou(mask, s.mask) for s in found if s.category_id == category_id) > 0.9
    assert not (found[0].mask & found[1].mask).any()


def test_a_gap_between_two_of_one_category_is_kept_open():
    drawn = [(3, box(10, 10, 24, 24)), (3, box(10, 35, 24, 24))]
    image = encode(drawn, SIZE, PALETTE, "instance")
    assert (image[12:30, 34] == PALETTE.border).all()
    assert len(decode(image, PALETTE, "instance")) == 2


def test_near_parts_of_one_object_are_one_segment():
    """Four pixels of background, or of a thing before it, lie between; twenty are too many."""
    parts = box(10, 4, 24, 16) | box(10, 24, 24, 16)
    for before in ([], [(5, box(0, 20, 60, 4))]):
        drawn = [(3, parts), (3, box(10, 60, 24, 16)), *before]
        image = encode(drawn, SIZE, PALETTE, "instance")
        assert not (image == PALETTE.border).all(-1).any()
        found = [s.mask for s in decode(image, PALETTE, "instance") if s.category_id == 3]
        assert len(found) == 2 and (found[0] == parts).all()
        assert len(decode(image, PALETTE, "instance", join=4)) == len(drawn) + 1


def test_as_near_objects_are_kept_apart():
    for before in ([], [(5, box(0, 20, 60, 4))]):
        drawn = [(3, box(10, 4, 24, 16)), (3, box(10, 24, 24, 16)), *before]
        image = encode(drawn, SIZE, PALETTE, "instance")
        border = (image == PALETTE.border).all(-1)
        assert border[10:34, 20:24].all() and not border[10:34, :20].any()
        found = [s.mask for s in decode(image, PALETTE, "instance") if s.category_id == 3]
        assert len(found) == 2 and not (found[0] & found[1]).any()
        assert all(max(iou(m, s) for s in found) > 0.8 for c, m in drawn if c == 3)


def test_semantic_has_no_borders_and_one_segment_a_category():
    drawn = [(3, box(10, 10, 24, 24)), (3, box(10, 34, 24, 24)), (3, box(44, 10, 12, 12))]
    image = encode(drawn, SIZE, PALETTE, "semantic")
    assert not (image == PALETTE.border).all(-1).any()
    (found,) = decode(image, PALETTE, "semantic")
    assert (found.category_id, int(found.mask.sum())) == (3, 2 * 576 + 144)


def test_panoptic_makes_stuff_one_segment():
    image = encode(
        [(1, box(0, 0, 20, 80)), (1, box(44, 0, 20, 80)), (2, box(24, 4, 16, 16)),
         (2, box(24, 40, 16, 16))],
        SIZE, PALETTE, "panoptic",
    )  # fmt: skip
    found = decode(image, PALETTE, "panoptic", stuff_ids=[1])
    assert by_category(found) == [(1, 3200), (2, 256), (2, 256)]
    assert by_category(decode(image, PALETTE, "panoptic"))[:2] == [(1, 1600), (1, 1600)]


def test_the_smaller_of_two_lies_on_top():
    for order in (1, -1):
        drawn = [(3, box(10, 10, 30, 30)), (5, box(15, 15, 10, 10))][::order]
        found = decode(encode(drawn, SIZE, PALETTE, "instance"), PALETTE, "instance")
        assert by_category(found) == [(3, 800), (5, 100)]


def test_small_parts_go_to_their_surroundings():
    drawn = [(3, box(10, 10, 30, 30)), (5, box(20, 20, 6, 6)), (7, box(50, 60, 6, 6))]
    image = encode(drawn, SIZE, PALETTE, "instance")
    assert by_category(decode(image, PALETTE, "instance")) == [(3, 864), (5, 36), (7, 36)]
    found = decode(image, PALETTE, "instance", min_area=40)
    assert (3, 900) in by_category(found)


def test_blurred_and_noisy_colors_are_read():
    drawn = [(3, box(5, 5, 24, 24)), (5, box(5, 29, 24, 24)), (30, box(34, 40, 20, 20))]
    exact = encode(drawn, SIZE, PALETTE, "instance").astype(np.float32)
    noise = np.random.default_rng(0).normal(0, 12, exact.shape)
    soft = np.clip(cv2.GaussianBlur(exact, (0, 0), 1.2) + noise, 0, 255).astype(np.uint8)
    found = decode(soft, PALETTE, "instance")
    assert [s.category_id for s in found] == [3, 5, 30]
    for segment, (_, mask) in zip(found, drawn, strict=True):
        assert iou(segment.mask, mask) > 0.85
        assert 0.5 < segment.confidence < 0.95


def test_a_pale_part_belongs_to_what_it_is_a_mixture_of():
    """Halfway between two colours lies the third's, and a palette's own where it is exact."""
    image = encode([(3, box(10, 10, 30, 30))], SIZE, PALETTE, "instance").astype(float)
    image[box(20, 40, 8, 8)] = 0.55 * np.array(PALETTE.color(3)) + 0.45 * 0
    (found,) = decode(image.astype(np.uint8), PALETTE, "instance")
    assert found.category_id == 3
    assert found.mask.sum() > 900


def test_an_empty_map():
    image = encode([], SIZE, PALETTE, "panoptic")
    assert (image == PALETTE.background).all()
    for kind in ("instance", "semantic", "panoptic"):
        assert decode(image, PALETTE, kind) == []


@pytest.mark.parametrize("kind", ["instance", "semantic", "panoptic"])
def test_every_pixel_may_be_covered(kind):
    drawn = [(1, box(0, 0, 64, 40)), (2, box(0, 40, 64, 40))]
    found = decode(encode(drawn, SIZE, PALETTE, kind), PALETTE, kind)
    assert by_category(found) == [(1, 2560), (2, 2560)]


def test_bad_input():
    with pytest.raises(InputError, match="kind of colour map is 'stuff': expected one of instance"):
        encode([], SIZE, PALETTE, "stuff")
    with pytest.raises(InputError, match="category id 31 has no colour"):
        encode([(31, box(0, 0, 9, 9))], SIZE, PALETTE, "instance")
    with pytest.raises(InputError, match=r"mask of category 3 is bool\[8, 8\]: expected bool"):
        encode([(3, np.ones((8, 8), bool))], SIZE, PALETTE, "instance")
    with pytest.raises(InputError, match="border_width is 0"):
        encode([], SIZE, PALETTE, "instance", border_width=0)
    with pytest.raises(InputError, match=r"colour map is float64\[4, 4, 3\]: expected uint8"):
        decode(np.zeros((4, 4, 3)), PALETTE, "instance")
    with pytest.raises(InputError, match=r"colour map is uint8\[0, 4, 3\]: expected uint8"):
        decode(np.zeros((0, 4, 3), np.uint8), PALETTE, "instance")
    for name in ("min_area", "reach", "join"):
        with pytest.raises(InputError, match=f"{name} is -1: expected 0 pixels or more"):
            decode(np.zeros((4, 4, 3), np.uint8), PALETTE, "instance", **{name: -1})


def test_a_border_between_background_and_category():
    """Its colour lies on the line from one to the other: a mixture of them, were it not exact."""
    data = {"ids": [3], "colors": [[200, 0, 0]], "background": [0, 0, 0], "border": [100, 0, 0]}
    palette = Palette.from_json({**data, "min_distance": 100})
    image = encode([(3, box(10, 4, 24, 16)), (3, box(10, 24, 24, 16))], SIZE, palette, "instance")
    with np.errstate(all="raise"):
        share = share_of_border(image, palette, 0)
        found = decode(image, palette, "instance")
    assert (share[(image == palette.border).all(-1)] == 1).all()
    assert [s.category_id for s in found] == [3, 3]


def test_colours_that_come_out_as_one():
    palette = make_palette([3, 5])
    rendered = palette.all_colors.copy()
    rendered[0] = palette.background
    image = encode([(3, box(10, 4, 24, 16)), (5, box(10, 24, 24, 16))], SIZE, palette, "instance")
    with np.errstate(all="raise"):
        share = share_of_border(image, dataclasses.replace(palette, rendered=rendered), 0)
        found = decode(image, dataclasses.replace(palette, rendered=rendered), "instance")
    assert np.isfinite(share).all()
    assert 5 in [s.category_id for s in found]
