"""The exception for bad input, and the one for a run that cannot go on."""

from __future__ import annotations


class InputError(ValueError):
    """Input of a user is not usable; the message is one line: the value and what was expected."""


class RunFailed(RuntimeError):
    """A run cannot go on; the message is one line: what failed, why, and what is left."""
