"""Whether a run-length mask is sound: pycocotools reads past the end of one that is not.

COCO's form: {"size": [height, width], "counts"}, where counts are the lengths of runs down the
columns, background first: a list of numbers, or these as text. A character holds five bits, a sixth
says that the number goes on; from the third number on the difference to the last but one is stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mf_plugin.errors import shown

_FIRST, _LAST = 48, 48 + 63  # "0" to "o"
_MOST_CHARACTERS = 7  # of a number below 2^32, with its sign


def rle_problem(mask: Mapping[str, Any], height: int, width: int) -> str | None:
    """What is wrong with a run-length mask of an image; None where nothing is."""
    size, counts = mask.get("size"), mask.get("counts")
    if not isinstance(size, (list, tuple)) or list(size) != [height, width]:
        return f"mask of size {shown(size)}, expected RLE counts of size {[height, width]}"
    if isinstance(counts, (str, bytes)):
        runs = read_counts(counts)
    elif isinstance(counts, (list, tuple)):
        runs = counts
    else:
        return f"mask with counts {shown(counts)}, expected RLE counts"
    if runs is None or not all(type(run) is int and run >= 0 for run in runs):
        return f"mask with counts {shown(counts)}, expected RLE counts from 0"
    if sum(runs) > height * width:
        return f"mask of {sum(runs)} pixels, expected at most {height * width}"
    return None


def read_counts(text: str | bytes) -> Sequence[int] | None:
    """The lengths of runs that compressed counts stand for; None where they stand for none."""
    try:
        data = text.encode("ascii") if isinstance(text, str) else text
    except UnicodeEncodeError:
        return None
    runs: list[int] = []
    value = shift = 0
    for character in data:
        if not _FIRST <= character <= _LAST or shift >= 5 * _MOST_CHARACTERS:
            return None
        bits = character - _FIRST
        value |= (bits & 0x1F) << shift
        shift += 5
        if not bits & 0x20:
            if bits & 0x10:
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return runs if shift == 0 else None
