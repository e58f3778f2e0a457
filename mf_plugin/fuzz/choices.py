"""Decisions read off bytes, so that an input can be repeated and a fuzzer can learn from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Choices:
    """A stream of small decisions; where the bytes end, every further one is the first choice."""

    def __init__(self, data: bytes) -> None:
        self._data, self._place = data, 0

    def below(self, count: int) -> int:
        """A number from 0 to ``count`` - 1; a byte or two are read."""
        size = 1 if count <= 256 else 3
        taken = self._data[self._place : self._place + size]
        self._place += size
        return int.from_bytes(taken, "little") % max(count, 1)

    def pick(self, among: Sequence[T]) -> T:
        """One of a sequence."""
        return among[self.below(len(among))]
