"""Values of a record against its annotations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mf_plugin.errors import InputError
from mf_plugin.fields import check_fields

VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(),
    st.complex_numbers(), st.lists(st.integers()), st.tuples(st.integers(), st.text()),
    st.dictionaries(st.text(), st.none()),
)  # fmt: skip


@dataclass(frozen=True)
class Inner:
    count: int = 1


@dataclass(frozen=True)
class Record:
    number: int = 1
    share: float = 0.5
    name: str | None = None
    path: str | Path = "a"
    on: bool = False
    pair: tuple[int, int | None] = (1, None)
    names: tuple[str, ...] = ()
    inner: Inner | None = None


@pytest.mark.parametrize(
    "changes",
    [{}, {"share": 1}, {"name": "x"}, {"path": Path("b")}, {"pair": (1, 2)}, {"names": ("a", "b")},
     {"inner": Inner()}],
)  # fmt: skip
def test_what_fits(changes):
    check_fields(Record(**changes))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"number": True}, "number is True; expected a whole number"),
        ({"number": 1.0}, "number is 1.0; expected a whole number"),
        ({"number": 1 << 64}, "number is 18446744073709551616; expected a whole number"),
        ({"share": math.nan}, "share is nan; expected a number"),
        ({"share": math.inf}, "share is inf; expected a number"),
        ({"share": "1"}, "share is '1'; expected a number"),
        ({"name": 3}, "name is 3; expected text or None"),
        ({"name": "\ud800"}, "name is '\\ud800'; expected text or None"),
        ({"path": "a\0b"}, "path is 'a\\x00b'; expected text or a path"),
        ({"on": 1}, "on is 1; expected True or False"),
        ({"pair": [1, 2]}, "pair is [1, 2]; expected (a whole number, a whole number or None)"),
        ({"pair": (1,)}, "pair is (1,); expected"),
        ({"names": ("a", 1)}, "names is ('a', 1); expected (text, ...)"),
        ({"inner": {"count": 1}}, "inner is {'count': 1}; expected Inner(...) or None"),
    ],
)
def test_what_does_not_is_named(changes, message):
    with pytest.raises(InputError) as error:
        check_fields(Record(**changes), "record ")
    assert f"record {message}" in str(error.value)


def test_a_field_s_own_words():
    with pytest.raises(InputError, match="pair is 3; expected two numbers"):
        check_fields(Record(pair=3), pair="two numbers")


@given(st.sampled_from(list(Record.__dataclass_fields__)), VALUES)
def test_any_value_is_judged(field: str, value: Any) -> None:
    try:
        check_fields(Record(**{field: value}))
    except InputError as error:
        assert str(error).startswith(f"{field} is ")
