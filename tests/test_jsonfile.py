"""Whatever is in a file, reading it as json gives a value or an InputError."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mf_plugin.errors import InputError
from mf_plugin.jsonfile import parse_json, read_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(VALUES)
def test_what_json_writes_is_read(value):
    assert parse_json(json.dumps(value), "a") == value


@given(st.text() | st.text('[]{}":,0123456789.-+eEtrufalsn\\ud8', max_size=40))
def test_any_text_is_read_or_refused(text):
    try:
        json.dumps(parse_json(text, "a"), ensure_ascii=False).encode()
    except InputError as error:
        assert str(error).startswith("a ")


@pytest.mark.parametrize(
    "data, message",
    [
        (b"[" * 100_000, "is nested too deep"),
        (b'{"a":' * 100_000, "is nested too deep"),
        (b"9" * 5000, "is not valid json"),
        (b'"\\ud800"', "holds half a character, U\\+D800"),
        (b'{"\\udfff": 1}', "holds half a character"),
        (b"\xff", "is not valid json"),
        (b"", "is not valid json"),
        (b'{"a": 1', "is not valid json"),
    ],
)
def test_damaged_files_are_named(tmp_path, data, message):
    path = tmp_path / "a.json"
    path.write_bytes(data)
    with pytest.raises(InputError, match=f"a.json {message}"):
        read_json(path)


def test_a_whole_character_in_two_halves(tmp_path):
    (tmp_path / "a.json").write_bytes(b'"\\ud83d\\ude00"')
    assert read_json(tmp_path / "a.json") == "\U0001f600"


@pytest.mark.parametrize("text", ["[NaN]", '{"a": -Infinity}', "[[1e999]]"])
def test_numbers_that_json_has_not(text):
    parse_json(text, "a")
    with pytest.raises(InputError, match="a holds NaN or infinity"):
        parse_json(text, "a", levels=9)


def test_levels_are_counted():
    assert parse_json("[[[1]]]", "a", levels=4) == [[[1]]]
    with pytest.raises(InputError, match="a is nested too deep: expected json of at most 3 levels"):
        parse_json("[[[[1]]]]", "a", levels=3)


@pytest.mark.parametrize("path", ["none.json", ".", "a\0b"])
def test_what_is_no_file(tmp_path, path):
    with pytest.raises(InputError, match="expected an LVIS json"):
        read_json(f"{tmp_path}/{path}", "an LVIS json")


def test_a_name_that_is_too_long(tmp_path):
    with pytest.raises(InputError, match="a{300} cannot be read .*: expected a table"):
        read_json(tmp_path / ("a" * 300), "a table")
