"""The one exception for bad input."""

from __future__ import annotations


class InputError(ValueError):
    """Input of a user is not usable; the message is one line: the value and what was expected."""
