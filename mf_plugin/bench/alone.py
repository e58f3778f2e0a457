"""Measure work in a process of its own: memory that was used once stays with a process."""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable
from typing import Any


def measure_alone(work: Callable[..., float], *arguments: Any) -> dict[str, Any]:
    """Run a function in a fresh process.

    Args:
        work: of a module, so that another process finds it.
        arguments: of it.

    Returns:
        "result" of it, "wall_s" and "cpu_s", and "peak_gb" of the process's memory.

    Raises:
        RuntimeError: it failed.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_report, args=(sender, work, arguments))
    process.start()
    sender.close()
    try:
        measured: dict[str, Any] = receiver.recv()
    except EOFError:
        raise RuntimeError(f"{work.__name__} failed; its traceback stands above") from None
    finally:
        process.join()
    return measured


def _report(sender: Any, work: Callable[..., float], arguments: tuple[Any, ...]) -> None:
    before, begin = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    result = work(*arguments)
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    sender.send(
        {
            "result": float(result),
            "wall_s": time.perf_counter() - begin,
            "cpu_s": cpu,
            "peak_gb": used.ru_maxrss / 1e6,
        }
    )
