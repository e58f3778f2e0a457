"""JSON that a person can read in an editor: what fits a line stands on one."""

from __future__ import annotations

import json
from typing import Any

WIDTH = 200  # a category's row of the quality report stands on one line


def to_readable_json(data: Any, width: int = WIDTH) -> str:
    """JSON text, indented by 1; a list or object that fits into ``width`` is not broken up.

    Raises:
        ValueError: the data holds NaN or infinity, which json does not have.
    """
    return _format(data, 0, 0, width)


def _format(data: Any, depth: int, used: int, width: int) -> str:
    """``used``: characters on the line before this value and after it, indentation included."""
    line = json.dumps(data, ensure_ascii=False, allow_nan=False)
    if used + len(line) <= width or not isinstance(data, (dict, list)) or not data:
        return line
    indent = " " * (depth + 1)
    if isinstance(data, dict):
        keys = [f"{json.dumps(str(key), ensure_ascii=False)}: " for key in data]
        brackets, values = "{}", list(data.values())
    else:
        keys, brackets, values = [""] * len(data), "[]", list(data)
    items = [
        f"{indent}{key}{_format(value, depth + 1, len(indent) + len(key) + 1, width)}"
        for key, value in zip(keys, values, strict=True)
    ]
    return f"{brackets[0]}\n" + ",\n".join(items) + f"\n{' ' * depth}{brackets[1]}"
