"""Make groups on a Ray cluster: an actor for each GPU, or share of CPUs, holds the models.

The driver hands out indices and writes what comes back: it is the only writer, loads no model, and
sees every failure. A worker that dies, alone or with its machine, costs the group it was making;
another one is started in its place. A worker whose models differ from the first's is not used.
"""

from __future__ import annotations

import logging
import math
import os
import socket
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from types import ModuleType
from typing import Any, NamedTuple

from mf_plugin.errors import InputError, RunFailed
from mf_plugin.extras import MissingExtra, require
from mf_plugin.generation.config import differences
from mf_plugin.generation.generator import GeneratorConfig, GeneratorPlan, Round
from mf_plugin.generation.makers import identify
from mf_plugin.generation.ray_worker import GroupWorker, Introduction
from mf_plugin.generation.schedule import Failure, Schedule
from mf_plugin.generation.workers import MadeGroup

logger = logging.getLogger(__name__)

_FATAL = (InputError, MissingExtra)  # the same worker would fail in the same way again
_PATIENCE = 10.0  # seconds
_TIMES_LONGEST = 10  # a group is lost that takes so much longer than the longest one so far


@dataclass(frozen=True)
class RayConfig:
    """Where workers come from.

    Args:
        address: of a running cluster, "auto" or "HOST:PORT"; None starts Ray on this machine.
        workers: actors; None for as many as the cluster has GPUs, or shares of ``threads`` CPUs.
        tries: of a group, or of starting a worker, before it is given up. A lost worker counts as
            a try, so that a group which kills its worker ends; more where machines come and go.
        hung_after: seconds without an answer, and ten times the longest group so far, after which
            a worker that makes a group is taken for hung: it is ended like a lost one.
    """

    address: str | None = None
    workers: int | None = None
    tries: int = 5
    hung_after: float = 1800.0

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise InputError(f"workers is {self.workers}; expected at least 1")
        if self.tries < 1:
            raise InputError(f"tries is {self.tries}; expected at least 1")
        if not self.hung_after > 0:
            raise InputError(f"hung_after is {self.hung_after}; expected seconds, more than 0")


class _Call(NamedTuple):
    worker: int
    what: str  # "load" or "make"
    began: float  # of time.monotonic


@dataclass(frozen=True)
class _Worker:
    number: int
    actor: Any
    introduction: Introduction | None = None

    @property
    def node(self) -> str | None:
        return None if self.introduction is None else self.introduction.node


class RayMaker:
    """Context manager: starts or joins Ray, starts the workers, and ends them.

    Args:
        plan: the config's own, of one round.
        device: of torch, for every worker; Ray gives a worker on "cuda" a GPU of its own.
        config: where the workers come from.

    Raises (on entering):
        InputError: the cluster cannot be joined, or no worker can load the models.
        MissingExtra: the extra "scale" is not installed.
    """

    def __init__(self, plan: GeneratorPlan, device: str, config: RayConfig) -> None:
        self._generator: GeneratorConfig = plan.config
        self._identity = identify(plan)
        self._device, self._config = device, config
        self._workers: dict[int, _Worker] = {}
        self._calls: dict[Any, _Call] = {}
        self._longest = 0.0  # seconds of a group
        self._idle: list[int] = []
        self._later: tuple[Round, ...] = ()
        self._start_failures = 0  # in a row
        self._num_started = 0
        self._first: Introduction | None = None
        self._failures: list[Failure] = []
        self._made: Counter[str] = Counter()
        self._ray: ModuleType
        self._own = False

    def __enter__(self) -> RayMaker:
        self._ray = require("ray", "scale")
        if not self._ray.is_initialized():
            self._join()
        try:
            number = self._config.workers or self._count_room()
            for _ in range(number):
                self._start()
            while self._first is None:
                self._wait(None)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers.values():
            self._ray.kill(worker.actor)
        self._workers.clear()
        if self._own:
            self._ray.shutdown()
            self._own = False

    @property
    def weights(self) -> Any:
        return self._introduced.weights

    @property
    def environment(self) -> dict[str, Any]:
        return self._introduced.environment

    @property
    def status(self) -> str:
        ready = sum(worker.introduction is not None for worker in self._workers.values())
        text = f"{ready} of {len(self._workers)} workers"
        return f"{text}, {len(self._failures)} failures" if self._failures else text

    def describe(self) -> dict[str, Any]:
        """Workers and failures for run.json."""
        return {
            "launcher": "ray",
            "workers": len(self._workers),
            "workers_started": self._num_started,
            "groups_by_node": dict(sorted(self._made.items())),
            "failures": [asdict(failure) for failure in self._failures],
        }

    def make(self, plan: GeneratorPlan, indices: Sequence[int]) -> Iterator[MadeGroup]:
        """The groups, in the order in which they become ready.

        Raises:
            RunFailed: a group failed as often as it may, or no worker is left; the groups that
                other workers were making come first.
        """
        self._later = plan.rounds[1:]
        for worker in self._workers.values():
            if worker.introduction is not None:
                worker.actor.follow.remote(self._later)
        schedule = Schedule(indices, self._config.tries)
        self._hand_out(schedule)
        while not schedule.finished:
            made = self._wait(schedule)
            self._hand_out(schedule)  # before the group is written: no worker waits for that
            yield from made
        if schedule.given_up is not None:
            failure = schedule.given_up
            raise RunFailed(
                f"group {failure.group} failed {self._config.tries} times, the last time on "
                f"{failure.node}: {failure.cause}; what is done stays"
            )

    @property
    def _introduced(self) -> Introduction:
        assert self._first is not None, "RayMaker is a context manager"
        return self._first

    def _join(self) -> None:
        address = self._config.address or "local"
        options = {"include_dashboard": False} if address == "local" else {}
        try:
            _check_listening(address)  # Ray itself waits for minutes
            self._ray.init(address=address, log_to_driver=False, logging_level="error", **options)
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(
                f"cannot join Ray at {address!r} ({_one_line(error)}); expected the address of a "
                "running cluster"
            ) from error
        self._own = True

    @property
    def _share(self) -> dict[str, float]:
        """What Ray reserves for a worker."""
        if self._device.startswith("cuda"):
            return {"num_gpus": 1, "num_cpus": 1}
        return {"num_cpus": self._generator.threads}

    def _count_room(self) -> int:
        found = self._ray.cluster_resources()
        if self._device.startswith("cuda"):
            room = int(found.get("GPU", 0))
        else:
            room = int(found.get("CPU", 0)) // self._generator.threads
        if room < 1:
            raise InputError(
                f"the cluster has {found.get('CPU', 0):.0f} CPUs and {found.get('GPU', 0):.0f} "
                f"GPUs; expected room for a worker, {self._share}"
            )
        return room

    def _start(self) -> None:
        actor_class = self._ray.remote(**self._share, max_restarts=0)(GroupWorker)
        number, self._num_started = self._num_started, self._num_started + 1
        actor = actor_class.remote(self._generator, self._device, os.getcwd())
        self._workers[number] = _Worker(number, actor)
        self._calls[actor.load.remote()] = _Call(number, "load", time.monotonic())

    def _hand_out(self, schedule: Schedule) -> None:
        for number in tuple(self._idle):
            index = schedule.take(number)
            if index is None:
                return
            self._idle.remove(number)
            ref = self._workers[number].actor.make.remote(index)
            self._calls[ref] = _Call(number, "make", time.monotonic())

    def _wait(self, schedule: Schedule | None) -> Iterator[MadeGroup] | tuple[()]:
        """Take in what comes back next."""
        if not self._calls:
            cause = self._failures[-1].cause if self._failures else "none was started"
            raise RunFailed(f"no worker is left: {cause}; what is done stays")
        ready, _ = self._ray.wait(list(self._calls), num_returns=1, timeout=self._time_left())
        if not ready:
            assert schedule is not None
            self._end_hung(schedule)
            return ()
        (ref,) = ready
        number, what, began = self._calls.pop(ref)
        try:
            result = self._ray.get(ref)
        except self._ray.exceptions.RayError as error:
            lost = not isinstance(error, self._ray.exceptions.RayTaskError)
            cause = error if lost else error.cause
            if what == "load":
                self._not_started(number, cause)
            else:
                assert schedule is not None
                self._not_made(schedule, number, cause, lost)
            return ()
        if what == "load":
            self._started(number, result)
            return ()
        assert schedule is not None
        schedule.done(number)
        self._longest = max(self._longest, time.monotonic() - began)
        self._end_hung(schedule)
        self._idle.append(number)
        self._made[self._workers[number].node or ""] += 1
        return iter((result,))

    @property
    def _limit(self) -> float:
        """Seconds after which a worker that makes a group is taken for hung."""
        return max(self._config.hung_after, _TIMES_LONGEST * self._longest)

    def _time_left(self) -> float | None:
        """Seconds until the next worker is taken for hung; None while none makes a group."""
        began = min((c.began for c in self._calls.values() if c.what == "make"), default=math.inf)
        return None if began == math.inf else max(0.0, began + self._limit - time.monotonic())

    def _end_hung(self, schedule: Schedule) -> None:
        now, limit = time.monotonic(), self._limit
        late = [r for r, c in self._calls.items() if c.what == "make" and now - c.began > limit]
        for ref in late:
            if self._ray.wait([ref], timeout=0)[0]:
                continue  # its answer came meanwhile
            number = self._calls.pop(ref).worker
            cause = TimeoutError(f"no answer for {limit:.0f} seconds")
            self._not_made(schedule, number, cause, lost=True)

    def _started(self, number: int, introduction: Introduction) -> None:
        first = self._first
        expected = {**self._identity, "weights": (first or introduction).weights}
        given = {**introduction.identity, "weights": introduction.weights}
        found = differences(expected, given)
        if found:
            text = f"not as the run's: {'; '.join(found)}"
            self._not_started(number, InputError(f"{introduction.node} is {text}"))
            return
        if first is not None and introduction.environment != first.environment:
            changed = differences(first.environment, introduction.environment)
            logger.warning(
                "%s differs (%s): its groups may differ in bytes, and dataset.json says so",
                introduction.node,
                "; ".join(changed),
            )
        self._first = first or introduction
        self._start_failures = 0
        worker = _Worker(number, self._workers[number].actor, introduction)
        self._workers[number] = worker
        worker.actor.follow.remote(self._later)
        self._idle.append(number)

    def _not_started(self, number: int, error: BaseException) -> None:
        """Without a worker that works, the cause is the user's to mend; later, one is given up."""
        failure = Failure(number, _one_line(error))
        self._drop(failure)
        self._start_failures += 1
        if isinstance(error, _FATAL):
            if self._first is None:
                raise error
        elif self._start_failures < self._config.tries:
            self._start()
        elif self._first is None:
            raise InputError(f"no worker can be started: {failure.cause}") from error

    def _not_made(self, schedule: Schedule, number: int, error: BaseException, lost: bool) -> None:
        failure = schedule.failed(number, _one_line(error), self._workers[number].node)
        if lost:
            self._drop(failure)
            self._start()
        else:
            self._note(failure)
            self._idle.append(number)

    def _drop(self, failure: Failure) -> None:
        self._note(failure)
        self._ray.kill(self._workers.pop(failure.worker).actor)

    def _note(self, failure: Failure) -> None:
        self._failures.append(failure)
        doing = "loading the models" if failure.group is None else f"group {failure.group}"
        where = f" on {failure.node}" if failure.node else ""
        logger.warning("worker %d%s, %s: %s", failure.worker, where, doing, failure.cause)


def _check_listening(address: str) -> None:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:500]}"
