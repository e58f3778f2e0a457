from __future__ import annotations

import json

import pytest

from mf_plugin.errors import InputError
from mf_plugin.evaluation.caption_agreement import measure_agreement


def test_exact_shares():
    named = [(1, 1, 2), (3,), (1, 2, 3)]
    painted = [(1, 1, 4), (3, 3), ()]
    found = measure_agreement(named, painted, num_draws=300)
    assert found["captions"] == 3
    assert found["class_recall"][0] == round(2 / 6, 4)  # 1 and 3 of {1, 2}, {3}, {1, 2, 3}
    assert found["class_precision"][0] == round(2 / 3, 4)  # 1 and 3 of {1, 4}, {3}, {}
    assert found["class_agreement"][0] == round((1 / 3 + 1 + 0) / 3, 4)
    assert found["counts_agree"][0] == round(1 / 6, 4)  # both of 1; of 3 there is one too many
    assert found["by_category"] == {1: [1, 2], 2: [0, 2], 3: [1, 2]}
    assert found["class_recall"][1:] == [0.0, 1.0]  # of the third caption alone, of the second
    assert json.loads(json.dumps(found))["class_recall"] == found["class_recall"]


def test_all_as_said():
    found = measure_agreement([(1, 2, 2)] * 4, [(2, 1, 2)] * 4)
    for name in ("class_recall", "class_precision", "class_agreement", "counts_agree"):
        assert found[name] == [1, 1, 1]


def test_nothing_painted_has_no_precision():
    found = measure_agreement([(1,)], [()])
    assert found["class_precision"] is None
    assert found["class_recall"] == [0, 0, 0]


@pytest.mark.parametrize(
    "named, painted, message",
    [
        ([(1,)], [], "1 captions and 0 maps"),
        ([], [], "0 captions and 0 maps"),
        ([(1,), ()], [(1,), (1,)], "caption 1 names no known category"),
    ],
)
def test_bad_input(named, painted, message):
    with pytest.raises(InputError, match=message):
        measure_agreement(named, painted)
