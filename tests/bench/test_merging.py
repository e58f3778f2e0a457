"""The bench of merging on a stand-in of 40 images: what it counts, never how fast it is."""

from __future__ import annotations

import argparse
import json
import runpy
import sys
from pathlib import Path

import pytest

pytest.importorskip("mmdet")

from mf_plugin.bench.merging import MERGE_PEER, READ_PEER, add_arguments, measure, merging_table
from mf_plugin.bench.pages import performance_page
from mf_plugin.errors import InputError

ROOT = Path(__file__).parents[2]


def arguments(*given: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args([str(value) for value in given])


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    out = tmp_path_factory.mktemp("bench")
    return measure(arguments("--images", 40, "--rounds", 1, "--out", out))


def test_every_case_meets_every_annotation(measured):
    """40 of 100,170 images: 1,203 categories are there once at least; 13 synthetic, 4 on each."""
    assert measured["images"] == [40, 13]
    assert measured["annotations"] > 1203
    found = {name: case["rounds"][0]["result"] for name, case in measured["cases"].items()}
    both = measured["annotations"]
    real = both - 4 * 13
    assert found == {
        READ_PEER: real,
        "read": real,
        "read and validate, with every image on disk": real,
        MERGE_PEER: both,
        "read both, merge, write": both,
    }
    peers = {name: case["peer"] for name, case in measured["cases"].items()}
    assert set(peers.values()) == {READ_PEER, MERGE_PEER}
    assert measured["cases"][READ_PEER]["ratio"] == measured["cases"][MERGE_PEER]["ratio"] == 1
    assert "| read both, merge, write |" in merging_table(json.loads(json.dumps(measured)))


def test_numbers_out_of_range(tmp_path):
    with pytest.raises(InputError, match="--images 0: expected 1 to 100170"):
        measure(arguments("--images", 0, "--out", tmp_path))
    with pytest.raises(InputError, match="--rounds 0: expected at least 1"):
        measure(arguments("--rounds", 0, "--out", tmp_path))


def test_the_page_has_a_section_for_each_bench_that_was_run(measured, tmp_path, monkeypatch):
    machine = {"cpu": "a processor", "cores": 2}
    command = "python tools/bench.py merge"
    content = {"machine": machine, "command": command, "merge": measured}
    (tmp_path / "merge.json").write_text(json.dumps(content))
    out = tmp_path / "docs/performance.md"
    given = ["bench.py", "page", "--results", str(tmp_path), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", given)
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(ROOT / "tools/bench.py"), run_name="__main__")
    assert stop.value.code == 0
    text = out.read_text()
    assert text == performance_page(tmp_path)
    assert "## Reading, validating, merging" in text and "## Evaluation" not in text
    assert f"    {command}\n\na processor, 2 cores. 40 real and 13 synthetic images" in text


def test_no_page_of_nothing(tmp_path):
    with pytest.raises(InputError, match="holds none of generation.json, merge.json"):
        performance_page(tmp_path)
    (tmp_path / "eval.json").write_text("{}")
    with pytest.raises(InputError, match=r"eval\.json: expected what tools/bench\.py wrote"):
        performance_page(tmp_path)
