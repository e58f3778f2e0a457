"""Whether the values of a record are what its annotations say: configs are checked by it.

Knows what configs are made of: numbers, text, paths, None, tuples and other records, and unions of
these. True is no number; a whole number is a float too; floats are finite.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from functools import cache
from pathlib import Path
from typing import Any

from mf_plugin.errors import InputError, shown

LARGEST = (1 << 63) - 1  # of whole numbers: what torch and numpy take


def check_fields(record: Any, what: str = "", **expected: str) -> None:
    """Check a dataclass's values against the annotations of its fields.

    Args:
        record: the dataclass.
        what: stands before a field's name in the error.
        expected: by a field's name, what the error says was expected; its annotation where absent.

    Raises:
        InputError: names the first field whose value does not fit, and the value.
    """
    for name, kind in _annotations(record.__class__).items():
        value = getattr(record, name)
        if not _fits(value, kind):
            wanted = expected.get(name) or _describe(kind)
            raise InputError(f"{what}{name} is {shown(value)}; expected {wanted}")


@cache
def _annotations(record: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(record)
    return {field.name: hints[field.name] for field in dataclasses.fields(record)}


def _fits(value: object, kind: Any) -> bool:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, one) for one in inner)
    if origin is tuple:
        if type(value) is not tuple:
            return False
        if len(inner) == 2 and inner[1] is Ellipsis:
            return all(_fits(one, inner[0]) for one in value)
        return len(value) == len(inner) and all(map(_fits, value, inner))
    if kind is float:
        return _is_number(value)
    if kind is int:
        return type(value) is int and abs(value) <= LARGEST
    if kind is str:
        return isinstance(value, str) and _is_text(value)
    if kind is Path:
        return isinstance(value, Path) and _is_text(str(value))
    if kind is None or kind is types.NoneType:
        return value is None
    return isinstance(value, kind)


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) <= LARGEST if isinstance(value, int) else math.isfinite(value)


def _is_text(value: str) -> bool:
    """Whether text can be written, and handed to the system."""
    try:
        return b"\0" not in value.encode()
    except UnicodeEncodeError:
        return False


def _describe(kind: Any) -> str:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_describe(one) for one in inner)
    if origin is tuple:
        parts = ["..." if one is Ellipsis else _describe(one) for one in inner]
        return f"({', '.join(parts)})"
    words = {int: "a whole number", float: "a number", str: "text", bool: "True or False"}
    words |= {Path: "a path", types.NoneType: "None"}
    return words.get(kind) or f"{kind.__name__}(...)"
