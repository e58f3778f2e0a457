"""Results files a piece at a time: a list of millions is never held as Python objects whole.

With msgspec (extra ``eval``) a detection is read as a `Head`, whose box and mask stay json until
somebody asks for them: a third of the time. Without it everything is a dict.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterator
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any

from mf_plugin.errors import InputError
from mf_plugin.jsonfile import read_json

try:
    import msgspec
except ModuleNotFoundError:
    msgspec = None  # type: ignore[assignment]  # a name that may be None

PIECE_BYTES = 1 << 23
PIECE_ENTRIES = 1 << 15
_BORDER = re.compile(rb"\}\s*,\s*\{")  # between two detections


if msgspec is not None:
    _ABSENT = msgspec.Raw()

    class Head(msgspec.Struct, gc=False):
        """A detection whose box and mask are json still."""

        image_id: int
        category_id: int
        score: float
        bbox: msgspec.Raw = _ABSENT
        segmentation: msgspec.Raw = _ABSENT

    _decode_heads = msgspec.json.Decoder(list[Head]).decode


def column(entries: list[Any], key: str) -> list[Any]:
    """``image_id``, ``category_id`` or ``score`` of every entry.

    Raises:
        KeyError, TypeError: an entry lacks it, or is no dict.
    """
    heads = msgspec is not None and type(entries[0]) is Head
    return list(map(attrgetter(key) if heads else itemgetter(key), entries))


def as_dict(entry: Any) -> Any:
    """The entry, read whole."""
    if msgspec is None or type(entry) is not Head:
        return entry
    found = {"image_id": entry.image_id, "category_id": entry.category_id, "score": entry.score}
    for key in ("bbox", "segmentation"):
        raw = getattr(entry, key)
        if raw is not _ABSENT:
            found[key] = msgspec.json.decode(raw)
    return found


def pieces_of_list(entries: list[Any]) -> Iterator[list[Any]]:
    """The same entries, some thousands at a time."""
    for begin in range(0, len(entries), PIECE_ENTRIES):
        yield entries[begin : begin + PIECE_ENTRIES]


def pieces_of_file(path: Path) -> Iterator[list[Any]]:
    """The entries of a json list, some thousands at a time, each a `Head` or a dict.

    A piece is cut where one detection ends and the next begins. It is read as a list of its own,
    which can only succeed where the cut was at the top level of the file. If it
    does not, the file is unusual or damaged, and is read whole.

    Raises:
        InputError: the file is missing, truncated, or no list.
    """
    done = 0
    try:
        with open(path, "rb") as file:
            pending = file.read(PIECE_BYTES).lstrip()
            if not pending.startswith(b"["):
                raise ValueError("no list")
            pending = pending[1:]
            while block := file.read(PIECE_BYTES):
                pending += block
                cut = _last_border(pending)
                if cut:
                    entries = _read_list(b"[" + pending[: cut[0] + 1] + b"]")
                    pending = pending[cut[1] - 1 :]
                    done += len(entries)
                    yield entries
            yield _read_list(b"[" + pending)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise InputError(f"{path}: no such file, expected a results json") from None
    except (ValueError, RecursionError):
        yield _read_whole(path)[done:]


def _read_list(text: bytes) -> list[Any]:
    """Heads, or dicts of entries that are not as expected; ValueError where it is no json."""
    if msgspec is not None:
        try:
            return _decode_heads(text)
        except msgspec.ValidationError:
            pass
    entries: list[Any] = json.loads(text)
    return entries


def _last_border(text: bytes) -> tuple[int, int] | None:
    for begin in (max(0, len(text) - (1 << 16)), 0):
        last = deque(_BORDER.finditer(text, begin), maxlen=1)
        if last:
            return last[0].span()
    return None


def _read_whole(path: Path) -> list[Any]:
    try:
        entries = read_json(path, "a results json")
    except InputError as error:
        raise InputError(
            f"{path}: not a complete json ({error}), expected a results json"
        ) from None
    if not isinstance(entries, list):
        raise InputError(
            f"{path}: {type(entries).__name__} at the top, expected a list of detections"
        )
    return entries
