"""Mask work in processes of its own, while the U-Net goes on with the next group.

Masks, solver, polygons and JPEGs of a group are a pure function of what was painted, so where they
run changes no byte. The processes have a lower priority than the one that denoises, hold
one thread each, and end when it ends, however it ends.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import cv2
from threadpoolctl import threadpool_limits

from mf_plugin.generation.generator import Assembler
from mf_plugin.generation.records import EncodedCanvas, encode_canvas

_NICENESS = 5
_WAITING_PER_WORKER = 2  # groups held for a worker; more would only cost memory


@dataclass(frozen=True)
class MadeGroup:
    """A group that is ready to be written, and the seconds that painting it took.

    Args:
        environment: device and versions of who made it; None: the run's own.
    """

    index: int
    canvases: list[EncodedCanvas]
    seconds: float
    environment: dict[str, Any] | None = None


def assemble_group(assembler: Assembler, group: Any, painted: Any) -> list[EncodedCanvas]:
    """The encoded canvases of a group.

    Args:
        painted: by the painter that the assembler belongs to.
    """
    with threadpool_limits(1, user_api="blas"):  # sums must not depend on the number of cores
        return [
            encode_canvas(canvas, assembler.jpeg_quality) for canvas in assembler(group, painted)
        ]


class MaskWorkers:
    """Context manager: assembles groups beside the caller, and gives them back in order.

    Args:
        assembler: of the painter.
        workers: processes; 0 assembles in the calling process, as does an assembler that shares the
            painter's device.
    """

    def __init__(self, assembler: Assembler, workers: int = 1) -> None:
        self.number = workers if assembler.beside else 0
        self._assembler = assembler
        self._executor: ProcessPoolExecutor | None = None
        self._pending: deque[tuple[int, float, Future[list[EncodedCanvas]]]] = deque()

    def __enter__(self) -> MaskWorkers:
        if self.number:
            self._executor = ProcessPoolExecutor(
                self.number,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_prepare_worker,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=kind is None, cancel_futures=True)

    def add(self, group: Any, painted: Any, seconds: float) -> list[MadeGroup]:
        """Hand over a group; returns the groups that are ready, in order.

        Waits while more groups are pending than the workers may hold.
        """
        if self._executor is None:
            canvases = assemble_group(self._assembler, group, painted)
            return [MadeGroup(group.index, canvases, seconds)]
        with _interrupts_held():  # the first call starts the processes
            future = self._executor.submit(assemble_group, self._assembler, group, painted)
        self._pending.append((group.index, seconds, future))
        limit = self.number * _WAITING_PER_WORKER
        ready = []
        while self._pending and (len(self._pending) > limit or self._pending[0][-1].done()):
            ready.append(self._take())
        return ready

    def finish(self) -> list[MadeGroup]:
        """Wait for the groups that are still pending, in order."""
        return [self._take() for _ in range(len(self._pending))]

    def _take(self) -> MadeGroup:
        index, seconds, future = self._pending.popleft()
        return MadeGroup(index, future.result(), seconds)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Ctrl-C reaches all processes of a terminal; those that start here leave it to the caller,
    which gets it afterwards."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _prepare_worker() -> None:
    os.nice(_NICENESS)
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
