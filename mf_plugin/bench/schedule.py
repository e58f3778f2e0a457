"""A run on many workers that fail, simulated: makespan, lost work, load of the driver.

The policy is generation's own (generation/schedule.py); Ray, models and clock are replaced by an
event queue. The driver takes in as many groups as it writes at once: it gives the worker its next
one, then writes. A worker whose group waits for the driver waits too. All times are seconds.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass

from mf_plugin.errors import InputError
from mf_plugin.generation.schedule import Schedule

_READY, _MADE, _LOST = range(3)


@dataclass(frozen=True)
class SimulationConfig:
    """What is simulated.

    Args:
        groups: that are made.
        workers: that make them.
        group_seconds: mean time of a group on a worker.
        spread: relative standard deviation of that time.
        load_seconds: from starting a worker until its models are loaded, after a loss too.
        write_seconds: of the driver, for a group.
        writers: groups that it writes at once; 1 for a folder, 16 for an object store.
        mean_life: mean seconds until a worker is lost (exponential); 0: none is.
        tries: as in RayConfig.
        seed: of all draws.
    """

    groups: int
    workers: int
    group_seconds: float
    spread: float = 0.0
    load_seconds: float = 0.0
    write_seconds: float = 0.0
    writers: int = 1
    mean_life: float = 0.0
    tries: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("groups", "workers", "writers", "tries"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; expected at least 1")
        for name in ("spread", "load_seconds", "write_seconds", "mean_life"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} is {getattr(self, name)}; expected 0 or more")
        if self.group_seconds <= 0:
            raise InputError(f"group_seconds is {self.group_seconds}; expected more than 0")


@dataclass(frozen=True)
class Simulated:
    """What came of it.

    Args:
        makespan: seconds until the last group is written.
        ideal: seconds if no worker failed, waited, or had to load its models.
        made: groups that are written; all of them, unless one was given up.
        losses: of workers while they made a group.
        lost_seconds: of work on groups whose worker was lost.
        lost_share: of all work on groups.
        driver_load: share of the makespan in which the driver's writers wrote.
        longest_queue: groups that waited for the driver at one time.
        given_up: the group that failed too often, if any.
    """

    makespan: float
    ideal: float
    made: int
    losses: int
    lost_seconds: float
    lost_share: float
    driver_load: float
    longest_queue: int
    given_up: int | None


def simulate(config: SimulationConfig) -> Simulated:
    """Run the schedule. A worker that is lost while it has no group is replaced unseen."""
    rng = random.Random(config.seed)
    schedule = Schedule(range(config.groups), config.tries)
    events: list[tuple[float, int, int, float]] = [
        (config.load_seconds, _READY, worker, 0.0) for worker in range(config.workers)
    ]
    heapq.heapify(events)
    clock = written = lost = worked = 0.0
    made = losses = longest = 0
    idle: list[int] = []
    waiting: list[float] = []  # when each group that waits for the driver is taken in
    free = [0.0] * config.writers  # when each of them is

    while events and not schedule.finished:
        clock, what, worker, seconds = heapq.heappop(events)
        if what == _MADE:
            schedule.done(worker)
            made += 1
            worked += seconds
            taken_in = max(clock, heapq.heappop(free))
            heapq.heappush(free, taken_in + config.write_seconds)
            written += config.write_seconds
            waiting = [begin for begin in (*waiting, taken_in) if begin > clock]
            longest = max(longest, len(waiting))
            heapq.heappush(events, (taken_in, _READY, worker, 0.0))
        elif what == _LOST:
            schedule.failed(worker, "lost")
            losses += 1
            lost += seconds
            heapq.heappush(events, (clock + config.load_seconds, _READY, worker, 0.0))
            if idle:
                heapq.heappush(events, (clock, _READY, idle.pop(), 0.0))
        elif schedule.take(worker) is not None:
            heapq.heappush(events, _begin(config, rng, clock, worker))
        else:
            idle.append(worker)  # until a group comes back from a worker that is lost

    makespan = max(clock, *free)
    return Simulated(
        makespan=makespan,
        ideal=config.groups * config.group_seconds / config.workers,
        made=made,
        losses=losses,
        lost_seconds=lost,
        lost_share=lost / (lost + worked) if lost + worked else 0.0,
        driver_load=written / makespan / config.writers if makespan else 0.0,
        longest_queue=longest,
        given_up=None if schedule.given_up is None else schedule.given_up.group,
    )


def _begin(
    config: SimulationConfig, rng: random.Random, clock: float, worker: int
) -> tuple[float, int, int, float]:
    """A group's end: made, or its worker lost on the way."""
    seconds = config.group_seconds
    if config.spread:
        seconds *= max(0.1, rng.gauss(1, config.spread))
    life = rng.expovariate(1 / config.mean_life) if config.mean_life else float("inf")
    if life < seconds:
        return clock + life, _LOST, worker, life
    return clock + seconds, _MADE, worker, seconds
