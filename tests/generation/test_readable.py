"""JSON in an editor: short things on one line, long ones broken up, the same content."""

from __future__ import annotations

import json

import pytest

from mf_plugin.generation.readable import to_readable_json


def test_what_fits_stands_on_one_line():
    data = {"a": {"x": 1, "y": [1, 2]}, "long": {"first": "é" * 12, "second": "b" * 12}, "e": {}}
    assert to_readable_json(data, width=30) == (
        '{\n "a": {"x": 1, "y": [1, 2]},\n "long": {\n  "first": "éééééééééééé",\n'
        '  "second": "bbbbbbbbbbbb"\n },\n "e": {}\n}'
    )
    assert json.loads(to_readable_json(data, width=30)) == data


def test_rows_of_1203_categories_are_lines():
    row = {"objects": 100, "accepted": 75, "acceptance": 0.7512, "stability": 0.9123}
    row |= {"of_region": 0.2345, "confidence": 0.8765, "named_right": 0.9123}
    rows = {f"category_with_a_longer_name_{i}": row for i in range(1203)}
    lines = to_readable_json({"quality": {"categories": rows}}).splitlines()
    assert len(lines) == 1203 + 6 and max(map(len, lines)) <= 200


def test_a_list_of_lists_and_a_scalar():
    assert to_readable_json([[1, 2], [3]], width=5) == "[\n [\n  1,\n  2\n ],\n [3]\n]"
    assert to_readable_json("text", width=1) == '"text"'
    with pytest.raises(ValueError):
        to_readable_json([float("nan")])
