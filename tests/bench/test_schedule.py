"""The simulated schedule against cases worked out by hand."""

from __future__ import annotations

import dataclasses
import random

import pytest

from mf_plugin.bench import schedule as bench
from mf_plugin.bench.schedule import SimulationConfig, simulate
from mf_plugin.errors import InputError


def test_without_failures_it_is_arithmetic():
    # 5 groups of 10 s on 2 workers after 3 s of loading: 3 + 10 + 10 + 10, and 1 s to write.
    # The two that end together: worker 1 is taken in 1 s later, and waits for nothing else.
    result = simulate(SimulationConfig(5, 2, 10, load_seconds=3, write_seconds=1))
    assert result.makespan == 3 + 10 + 10 + 10 + 1
    assert (result.made, result.losses, result.lost_seconds) == (5, 0, 0)
    assert result.ideal == 25 and result.driver_load == 5 / 34
    assert result.longest_queue == 1


def test_a_driver_that_is_too_slow_sets_the_pace():
    # Each write takes as long as a group: the 4 workers' first groups end at 10, and are written
    # by 20, 30, 40, 50; the others meanwhile wait behind them: 8 writes of 10 s from second 10 on.
    result = simulate(SimulationConfig(8, 4, 10, write_seconds=10))
    assert result.makespan == 10 + 8 * 10 and result.driver_load == 80 / 90
    assert result.longest_queue == 4 - 1  # one is written


def test_several_writers_keep_up():
    # As above with 4 writers: groups end at 10 and 20, the last writes at 30.
    result = simulate(SimulationConfig(8, 4, 10, write_seconds=10, writers=4))
    assert result.makespan == 30 and result.driver_load == 80 / (30 * 4)


class Lives:
    """Draws of `random.Random` that are given: how long each worker lives, in order of groups."""

    def __init__(self, lives: list[float]) -> None:
        self._lives = iter(lives)

    def expovariate(self, rate: float) -> float:
        return next(self._lives)


def test_a_lost_worker_costs_its_group_and_its_loading(monkeypatch):
    # 2 workers, 3 groups of 10 s, 5 s to load. Group 0 on worker 0 is lost at 5 + 4 = 9; worker 0
    # is back at 14 and, as a failed group goes first, makes group 0 till 24. Worker 1 makes
    # group 1 till 15 and group 2 till 25.
    lives = [4.0, 99.0, 99.0, 99.0]
    monkeypatch.setattr(bench.random, "Random", lambda seed: Lives(lives))
    result = simulate(SimulationConfig(3, 2, 10, load_seconds=5, mean_life=1000))
    assert result.makespan == 25 and result.made == 3
    assert (result.losses, result.lost_seconds, result.lost_share) == (1, 4, 4 / 34)


def test_an_idle_worker_takes_what_a_lost_one_leaves(monkeypatch):
    # 2 workers, 2 groups of 10 s, 5 s to load. Group 0 is lost at 5 + 3 = 8; worker 0 is back at
    # 13, takes it again, and is lost at 13 + 8 = 21. Worker 1, idle since 15, begins it at 21.
    lives = [3.0, 99.0, 8.0, 99.0]
    monkeypatch.setattr(bench.random, "Random", lambda seed: Lives(lives))
    result = simulate(SimulationConfig(2, 2, 10, load_seconds=5, mean_life=1000))
    assert result.makespan == 31 and result.losses == 2 and result.lost_seconds == 11


def test_a_group_that_is_lost_again_and_again_is_given_up(monkeypatch):
    monkeypatch.setattr(bench.random, "Random", lambda seed: Lives([99.0, 1.0, 1.0, 1.0]))
    result = simulate(SimulationConfig(9, 2, 10, mean_life=1000, tries=3))
    assert result.given_up == 1 and result.made == 1 and result.makespan == 10


def test_a_thousand_workers():
    calm = SimulationConfig(20_000, 1000, 24, spread=0.1, load_seconds=60, write_seconds=0.01)
    result = simulate(calm)
    assert result.made == 20_000 and result == simulate(calm)
    assert 1 < result.makespan / result.ideal < 1.3
    failing = simulate(dataclasses.replace(calm, mean_life=3600))
    expected = 20_000 * 24 / 3600  # losses: work over mean life
    assert abs(failing.losses - expected) < 5 * expected**0.5 and failing.made == 20_000
    assert failing.lost_seconds < failing.losses * 1.5 * 24  # a group each, and no more
    assert result.makespan < failing.makespan < 1.3 * result.makespan
    assert simulate(dataclasses.replace(calm, mean_life=3600, seed=1)) != failing


def test_every_group_is_made_whatever_the_draws():
    for seed in range(50):
        rng = random.Random(seed)
        config = SimulationConfig(
            rng.randint(1, 40),
            rng.randint(1, 9),
            10,
            spread=0.3,
            load_seconds=5,
            write_seconds=rng.random(),
            writers=rng.randint(1, 3),
            mean_life=60,
            tries=99,
            seed=seed,
        )
        assert simulate(config).made == config.groups


@pytest.mark.parametrize(
    "name, value", [("workers", 0), ("groups", 0), ("group_seconds", 0), ("mean_life", -1)]
)
def test_what_cannot_be_simulated_is_named(name, value):
    values = {"groups": 5, "workers": 2, "group_seconds": 10.0, name: value}
    with pytest.raises(InputError, match=f"{name} is {value}; expected"):
        SimulationConfig(**values)
