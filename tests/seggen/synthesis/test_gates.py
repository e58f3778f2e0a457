from __future__ import annotations

import numpy as np
import pytest

from mf_plugin.errors import InputError
from mf_plugin.seggen.colormap import Segment
from mf_plugin.seggen.fitting import fit_segments, stretched_view
from mf_plugin.seggen.gates import (
    GateConfig,
    judge_painted,
    judge_real,
    reject_all,
    share_of_caption,
)
from mf_plugin.seggen.views import View


def square(side: int, of: int = 10) -> np.ndarray:
    mask = np.zeros((of, of), bool)
    mask[:side, :side] = True
    return mask


def test_painted_segments_and_why_they_are_rejected():
    segments = [
        Segment(1, square(5), 0.9),
        Segment(1, square(2), 0.9),
        Segment(2, square(10), 0.9),
        Segment(3, square(5), 0.4),
        Segment(4, square(5), 0.9),
    ]
    judged = judge_painted(segments, (1, 5, 2, 3, 5), GateConfig(min_pixels=5))
    assert [(one.category_id, one.reason) for one in judged] == [
        (1, ""),
        (1, "too_small"),
        (2, "too_large"),
        (3, "low_confidence"),
        (4, "not_in_caption"),
        (5, "missing"),
    ]
    assert judged[-1].mask is None and judged[0].confidence == 0.9
    all_rejected = reject_all(judged, "image_rejected")
    assert [one.reason for one in all_rejected][:2] == ["image_rejected", "too_small"]


def test_the_share_of_a_caption_that_is_an_object():
    segments = [Segment(1, square(5), 0.9), Segment(2, square(1), 0.9), Segment(4, square(5), 0.9)]
    judged = judge_painted(segments, (1, 1, 2, 3), GateConfig(min_pixels=5))
    assert share_of_caption(judged, (1, 1, 2, 3)) == 1 / 3
    assert share_of_caption(judged, (1,)) == 1
    assert share_of_caption((), (1,)) == 0
    assert share_of_caption(judged, ()) == 1


def test_captions_need_not_name_what_is_painted():
    segments = [Segment(4, square(5), 0.9)]
    assert judge_painted(segments, (), GateConfig(min_pixels=5, named=False))[0].reason == ""


def test_real_segments_are_judged_by_their_size():
    judged = judge_real([(1, square(5)), (2, square(4))], GateConfig(min_pixels=17))
    assert [one.reason for one in judged] == ["", "too_small"]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"min_pixels": 0}, "min_pixels is 0"),
        ({"max_area": 1.5}, "max_area is 1.5"),
        ({"min_confidence": 2}, "min_confidence is 2"),
    ],
)
def test_gates_that_cannot_be(changes, message):
    with pytest.raises(InputError, match=message):
        GateConfig(**changes)


def test_the_smaller_segment_lies_on_top():
    whole = np.ones((4, 6), bool)
    left = np.zeros((4, 6), bool)
    left[:, :3] = True
    found = fit_segments([(7, left), (8, whole)], stretched_view((4, 6)), merge=False)
    assert [(id_, int(mask.sum())) for id_, mask in found] == [(7, 12), (8, 12)]
    assert (found[0][1] & found[1][1]).sum() == 0


def test_a_view_cuts_and_mirrors_and_leaves_out_what_it_does_not_show():
    left, right = np.zeros((4, 8), bool), np.zeros((4, 8), bool)
    left[:, :1], right[:, 6:] = True, True
    view = View((4, 4), (4, 8), (0, 4), mirrored=True)
    ((category_id, mask),) = fit_segments([(7, left), (8, right)], view, merge=False)
    assert category_id == 8
    assert mask[:, :2].all() and not mask[:, 2:].any()


def test_segments_of_one_category_are_one():
    left, right = np.zeros((4, 8), bool), np.zeros((4, 8), bool)
    left[:, :1], right[:, 6:] = True, True
    ((category_id, mask),) = fit_segments([(7, left), (7, right)], stretched_view((4, 8)), True)
    assert category_id == 7 and mask.sum() == 12
