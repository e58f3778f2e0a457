"""Mutations of json values and of text: what goes wrong with files, and what somebody may try."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mf_plugin.fuzz.choices import Choices

Place = tuple[Any, Any]  # a dict or list, and a key or index of it
PATHS = (
    "../../etc/passwd",
    "/etc/passwd",
    "images/../../x.jpg",
    "images\\..\\x.jpg",
    "images/x\0.jpg",
    "file:///etc/passwd",
    "http://host/../x.jpg",
    "C:/windows/x.jpg",
    "images/" + "x" * 300,
    "images/link.jpg",
    "linked/1.jpg",
)
MARKUP = ("</script><img src=x onerror=alert(1)>", "{{ 7 * 7 }}", "--><svg/onload=alert(1)>")
TEXTS = (
    *(
        "",
        " ",
        "\0",
        "\n",
        "\u202e",
        "\u2028",
        "\ufeff",
        "\ud800",
        "a\udfffb",
        "é" * 40,
        "_" * 3000,
    ),
    *("{name}", "{", "{0}", "{name[0]}", "%s", "nan", "1", "r", "true", "null", "2x2", "9" * 40),
)
NUMBERS = (
    *(0, 1, -1, 2, 255, 65_536, 1 << 31, -(1 << 31), 1 << 53, 1 << 63, -(1 << 63), 1 << 64),
    *(10**30, 10**400, 0.0, -0.0, 0.5, 1.0, 1e-320, 1e308, -1e308),
    *(math.nan, math.inf, -math.inf),
)
SMALL: tuple[Any, ...] = (
    None,
    True,
    False,
    [],
    {},
    [[]],
    {"": None},
    [None],
    {"id": 1},
    [1, 2, 3, 4],
    "x",
)
DEPTHS = (3, 70, 300, 600, 900)
CORRUPT_TOKENS = (
    *(b"NaN", b"Infinity", b"-", b"1e999", b"9" * 5000, b'"\\ud800"', b"\xff\xfe", b"\xc3", b"\0"),
    *(b"[" * 3000, b'{"a":' * 3000, b"}", b"]", b",", b'"', b"\\", b"\xef\xbb\xbf", b"}, {"),
)


def hostile_value(choices: Choices) -> Any:
    """A value that does not belong where it is put."""
    kind = choices.below(8)
    if kind == 0:
        return choices.pick(SMALL)
    if kind in (1, 2, 3):
        return choices.pick(NUMBERS)
    if kind == 4:
        return choices.pick(TEXTS)
    if kind == 5:
        return choices.pick(PATHS)
    if kind == 6:
        return choices.pick(MARKUP)
    return nested(choices.pick(DEPTHS), choices.below(2) == 0)


def near_value(value: Any, choices: Choices) -> Any:
    """A value that is only a little wrong."""
    if isinstance(value, (int, float)) and abs(value) < 1e300:
        return value + choices.pick((-1, 1, 8, -8, 0.5, 1e9, -value))
    if isinstance(value, str):
        place = choices.below(len(value) + 1)
        return value[:place] + choices.pick(TEXTS) + value[place:]
    if isinstance(value, tuple) and value:
        place = choices.below(len(value))
        return (*value[:place], near_value(value[place], choices), *value[place + 1 :])
    return hostile_value(choices)


def nested(depth: int, as_list: bool) -> Any:
    """Lists or objects in each other."""
    value: Any = 1
    for _ in range(depth):
        value = [value] if as_list else {"a": value}
    return value


def mutate(value: Any, choices: Choices, most: int = 4) -> Any:
    """A copy of a json value with up to ``most`` changes anywhere in it."""
    value = [copy.deepcopy(value)]
    for _ in range(1 + choices.below(most)):
        holder, key = choices.pick(list(_places(value)))
        choices.pick(_CHANGES)(holder, key, choices)
        if not value:
            return None
    return value[0]


def corrupt(text: bytes, choices: Choices) -> bytes:
    """Text as a broken disk, a killed process or an enemy leaves it."""
    for _ in range(1 + choices.below(2)):
        place = choices.below(max(len(text), 1))
        change = choices.below(5)
        if change == 0:
            text = text[:place]
        elif change == 1:
            text = text[:place] + bytes([choices.below(256)]) + text[place + 1 :]
        elif change == 2:
            text = text[:place] + choices.pick(CORRUPT_TOKENS) + text[place:]
        elif change == 3:
            text = text[:place] + text[place + 1 + choices.below(40) :]
        else:
            text = text[:place] + text[place // 2 :]
    return text


def to_bytes(value: Any) -> bytes:
    """Json as Python writes it: with NaN, and lone surrogates as escapes."""
    try:
        return json.dumps(value).encode()
    except (RecursionError, ValueError):  # deeper, or of more digits, than Python writes
        return b"[" * 2000 + b"1" * 5000


def write_mutated(path: Path, value: Any, choices: Choices) -> Path:
    """A file of the value, mutated, and sometimes damaged."""
    kind = choices.below(8)
    text = to_bytes(value if kind == 0 else mutate(value, choices))
    path.write_bytes(corrupt(text, choices) if kind in (1, 2) else text)
    return path


def _places(value: Any) -> Iterator[Place]:
    """Every key of every object and every index of every list; of a deep one the upper levels."""
    waiting = [(value, 0)]
    while waiting:
        holder, depth = waiting.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        for key in keys:
            yield holder, key
            if isinstance(holder[key], (dict, list)) and holder[key] and depth < 12:
                waiting.append((holder[key], depth + 1))


def _replace(holder: Any, key: Any, choices: Choices) -> None:
    holder[key] = hostile_value(choices)


def _drop(holder: Any, key: Any, choices: Choices) -> None:
    del holder[key]


def _double(holder: Any, key: Any, choices: Choices) -> None:
    """An id, or a whole record, twice."""
    if isinstance(holder, list):
        holder.insert(choices.below(len(holder) + 1), holder[key])
    else:
        holder[choices.pick(TEXTS)] = holder[key]


def _wrap(holder: Any, key: Any, choices: Choices) -> None:
    value = holder[key] if choices.below(2) else 1
    holder[key] = choices.pick(([value], {"a": value}, str(value)[:99], bool(value)))


def _nudge(holder: Any, key: Any, choices: Choices) -> None:
    """A number that is only a little wrong, or of another type."""
    holder[key] = near_value(holder[key], choices)


def _swap(holder: Any, key: Any, choices: Choices) -> None:
    keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
    other = choices.pick(keys)
    holder[key], holder[other] = holder[other], holder[key]


_CHANGES: tuple[Callable[[Any, Any, Choices], None], ...] = (
    _replace,
    _replace,
    _drop,
    _double,
    _wrap,
    _nudge,
    _swap,
)
