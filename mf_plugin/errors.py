"""The exception for bad input, and the one for a run that cannot go on."""

from __future__ import annotations

import reprlib

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60
_SHORT.maxlevel = 3


LONGEST = 2000  # letters of a message; a hostile value may have millions


class InputError(ValueError):
    """Input of a user is not usable; the message is one line: the value and what was expected."""

    def __init__(self, message: str) -> None:
        line = " ".join(str(message).splitlines())
        super().__init__(line if len(line) <= LONGEST else line[: LONGEST - 3] + "...")


def shown(value: object) -> str:
    """``repr`` for a message: of anything, however long, deep or wild, 80 characters at most."""
    try:
        text = " ".join(_SHORT.repr(value).split())
    except ValueError:  # an integer of more digits than Python prints
        text = f"a very large {type(value).__name__}"
    return text if len(text) <= 80 else text[:77] + "..."


class RunFailed(RuntimeError):
    """A run cannot go on; the message is one line: what failed, why, and what is left."""
