"""What is kept of a run, and how small."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mf_plugin.benchmark.measure import measure_run, pack, unpack
from mf_plugin.errors import InputError


def test_draws_survive_packing_to_a_hundredth():
    rng = np.random.default_rng(0)
    draws = [rng.normal(20, 2, 1000) for _ in range(4)]
    draws[1][::7] = np.nan
    draws[2][:2] = 0, 100
    text = pack(draws)
    found = unpack(text, 1000)
    assert list(found) == ["AP", "APr", "APc", "APf"]
    for one, other in zip(draws, found.values(), strict=True):
        assert np.array_equal(np.isnan(one), np.isnan(other))
        assert np.nanmax(np.abs(one - other)) <= 0.005 + 1e-9
    assert len(text) < 10_000


@pytest.mark.parametrize(
    "text, message", [("abc", "damaged"), (pack([np.zeros(5)] * 4), "40 bytes; expected 6 draws")]
)
def test_damaged_draws_are_refused(text, message):
    with pytest.raises(InputError, match=message):
        unpack(text, 6)


def test_a_run_is_measured_as_ever_and_small(lvis):
    pytest.importorskip("hotcoco")
    from mf_plugin.evaluation.rare import evaluate_lvis

    truth = lvis.random_truth()
    results = lvis.random_results(truth)
    measured = measure_run(truth, results, num_draws=1000, seed=3)
    scores = evaluate_lvis(truth, results)
    for iou_type in ("bbox", "segm"):
        for metric, value in measured["metrics"][iou_type].items():
            assert value is None or value == pytest.approx(scores[iou_type][metric], abs=5e-5)
        assert len(measured["per_category"][iou_type]) == 13
    assert measured["images"] == 40 and measured["categories"]["1"] == ["thing_1", "r"]
    assert len(json.dumps(measured)) < 50_000
