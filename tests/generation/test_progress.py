"""The line that a run shows."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from mf_plugin.generation.progress import Progress, describe_outcomes


@pytest.mark.parametrize(
    "outcomes, text",
    [
        ({}, "accepted 0, rejected 0"),
        ({"accepted": 17}, "accepted 17, rejected 0"),
        (
            {"accepted": 3, "no_component": 1, "too_small": 5, "too_large": 1, "unseen": 0},
            "accepted 3, rejected 7: too_small 5, no_component 1, too_large 1",
        ),
    ],
)
def test_outcomes_as_text(outcomes, text):
    assert describe_outcomes(Counter(outcomes)) == text


def test_the_line_counts_earlier_canvases_and_grows_with_the_plan(capfd):
    with Progress(10) as progress:
        progress.add(4, Counter(accepted=9, too_small=7), earlier=True)
        progress.extend(16)
        progress.add(12, Counter(accepted=40, no_component=8))
    last = re.split(r"[\r\n]", capfd.readouterr().err.strip())[-1]
    pattern = r"generating: 16/16 canvases, +(\S+) canvases/s, 00:00 left, (.*)"
    speed, outcomes = re.fullmatch(pattern, last).groups()
    assert float(speed) > 0
    assert outcomes == "accepted 49, rejected 15: no_component 8, too_small 7"
