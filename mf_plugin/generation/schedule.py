"""Which worker makes which group, and what a failure costs: no clock, no Ray, no files.

A worker has at most one group. A group whose worker was lost, or that failed, goes to the front of
the queue, so that a hopeless one is found early; after so many tries it is given up, and no new
group is handed out. ``ray_maker.py`` runs on it, ``bench/schedule.py`` simulates with it.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Failure:
    """What went wrong.

    Args:
        worker: its number.
        cause: one line.
        group: that it was making; None while it was loading the models.
        node: where it ran, as far as is known.
    """

    worker: int
    cause: str
    group: int | None = None
    node: str | None = None


class Schedule:
    """The groups that are to be made, and who makes them.

    Args:
        groups: indices, in the order in which they are handed out.
        tries: after which a group is given up.
    """

    def __init__(self, groups: Iterable[int], tries: int = 5) -> None:
        self._waiting = deque(groups)
        self._running: dict[int, int] = {}
        self._tries: Counter[int] = Counter()
        self._limit = tries
        self.given_up: Failure | None = None

    @property
    def finished(self) -> bool:
        """Whether nothing runs and nothing is to be handed out."""
        return not self._running and (not self._waiting or self.given_up is not None)

    def take(self, worker: int) -> int | None:
        """The next group for a worker that has none; None if there is none to hand out."""
        if self.given_up is not None or not self._waiting:
            return None
        self._running[worker] = group = self._waiting.popleft()
        return group

    def done(self, worker: int) -> int:
        """The worker's group is made; returns it."""
        return self._running.pop(worker)

    def failed(self, worker: int, cause: str, node: str | None = None) -> Failure:
        """The worker's group is not made, because of ``cause``; the worker has none then."""
        group = self._running.pop(worker)
        failure = Failure(worker, cause, group, node)
        self._tries[group] += 1
        self._waiting.appendleft(group)
        if self._tries[group] >= self._limit and self.given_up is None:
            self.given_up = failure
        return failure
