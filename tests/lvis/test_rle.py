"""Run-length masks: what pycocotools writes is sound, what would make it read on is not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as mask_api

from mf_plugin.lvis.rle import read_counts, rle_problem


@given(st.integers(1, 40), st.integers(1, 40), st.binary(max_size=30))
def test_reads_what_pycocotools_writes(height, width, data):
    pixels = np.resize(np.frombuffer(data or b"\0", np.uint8) % 2, (height, width))
    coded = mask_api.encode(np.asfortranarray(pixels))
    flat = np.concatenate([[0], pixels.ravel(order="F")])
    changes = np.flatnonzero(np.diff(flat)).tolist()
    runs = np.diff([0, *changes, height * width]).tolist()
    assert list(read_counts(coded["counts"])) == runs
    assert rle_problem(coded, height, width) is None


@given(st.text(max_size=12) | st.binary(max_size=12))
def test_any_counts_are_judged(counts):
    problem = rle_problem({"size": [10, 10], "counts": counts}, 10, 10)
    runs = read_counts(counts)
    assert (problem is None) == (
        runs is not None and min(runs, default=0) >= 0 and sum(runs) <= 100
    )


@pytest.mark.parametrize(
    "mask, message",
    [
        ({"size": [10, 10], "counts": "P"}, "expected RLE counts from 0"),  # the number goes on
        ({"size": [10, 10], "counts": "o" * 9 + "0"}, "expected RLE counts from 0"),
        ({"size": [10, 10], "counts": [-1, 5]}, "expected RLE counts from 0"),
        ({"size": [10, 10], "counts": [True]}, "expected RLE counts from 0"),
        ({"size": [10, 10], "counts": [50, 51]}, "mask of 101 pixels, expected at most 100"),
        ({"size": [10, 11], "counts": []}, "expected RLE counts of size [10, 10]"),
        ({"counts": []}, "mask of size None"),
        ({"size": [10, 10]}, "mask with counts None"),
    ],
)
def test_what_is_wrong_is_said(mask, message):
    assert message in rle_problem(mask, 10, 10)
