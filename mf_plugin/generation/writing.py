"""Write groups as they come, several at once where a put waits for a network."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from mf_plugin.generation.store import DatasetStore
from mf_plugin.generation.workers import MadeGroup

Written = tuple[int, Counter[str]]  # a group's number of canvases, and its objects by outcome


def write_groups(store: DatasetStore, groups: Iterable[MadeGroup]) -> Iterator[Written]:
    """Write groups in their order, as many at once as the storage takes.

    Where making them fails, those that are being written are written first.
    """
    at_once = store.storage.at_once
    if at_once == 1:
        yield from (_write(store, group) for group in groups)
        return
    pending: deque[Future[Written]] = deque()
    with ThreadPoolExecutor(at_once) as pool:
        for group in groups:
            pending.append(pool.submit(_write, store, group))
            while pending and (len(pending) >= at_once or pending[0].done()):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _write(store: DatasetStore, made: MadeGroup) -> Written:
    outcomes = store.add(made.index, made.canvases, made.seconds, made.environment)
    return len(made.canvases), outcomes
