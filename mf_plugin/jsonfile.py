"""Json from anywhere: whatever is wrong with it is one InputError, never another exception."""

from __future__ import annotations

import gc
import json
import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mf_plugin.errors import InputError

ObjectHook = Callable[[dict[str, Any]], Any]
MOST_LEVELS = 64  # of lists and objects in each other, where they are counted
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def read_json(
    path: str | Path,
    what: str = "a json file",
    *,
    hook: ObjectHook | None = None,
    levels: int | None = None,
) -> Any:
    """Read a json file.

    Args:
        path: of the file.
        what: the file was expected to be, for the error.
        hook: called with each object, see ``json.loads``.
        levels: most lists and objects in each other, and no NaN or infinity in them; None: as many
            as Python can read, with whatever it takes for a number.

    Raises:
        InputError: the file is missing, not to be read, truncated, no UTF-8 or no json; it holds
            half a character (a lone surrogate), a number of thousands of digits, or is nested too
            deep.
    """
    try:
        text = Path(path).read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise InputError(f"{path} is not a file: expected {what}") from None
    except OSError as error:  # not allowed, or a name that is too long
        raise InputError(f"{path} cannot be read ({error.strerror}): expected {what}") from None
    except ValueError as error:
        raise InputError(f"{str(path)!r} is no path ({error}): expected {what}") from None
    return parse_json(text, str(path), hook=hook, levels=levels)


def parse_json(
    text: str | bytes, name: str, *, hook: ObjectHook | None = None, levels: int | None = None
) -> Any:
    """Parse json; ``name`` says in errors where the text is from. See `read_json`."""
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"{name} is not valid json (truncated?): {error}") from None
    try:
        with collection_paused():
            data = json.loads(text, object_hook=hook)
        if _SURROGATE.search(text):
            json.dumps(data, ensure_ascii=False).encode()
    except RecursionError:
        raise InputError(f"{name} is nested too deep: expected json of a few levels") from None
    except UnicodeEncodeError as error:
        half = f"U+{ord(error.object[error.start]):04X}"
        raise InputError(f"{name} holds half a character, {half}: expected valid text") from None
    except ValueError as error:
        raise InputError(f"{name} is not valid json (truncated?): {error}") from None
    if levels is not None:
        _check_values(data, levels, name)
    return data


@contextmanager
def collection_paused() -> Iterator[None]:
    """Without cyclic garbage collection: plain data holds no cycles, and looking for them costs a
    third of the time of reading it."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _check_values(data: Any, most: int, name: str) -> None:
    level = [data]
    for _ in range(most):
        level = [
            inner
            for value in level
            if isinstance(value, (dict, list))
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
        if any(isinstance(value, float) and not math.isfinite(value) for value in level):
            raise InputError(f"{name} holds NaN or infinity: expected json, which has neither")
        if not level:
            return
    raise InputError(f"{name} is nested too deep: expected json of at most {most} levels")
