"""Who makes which group, and when one is given up."""

from __future__ import annotations

import pytest

from mf_plugin.generation.schedule import Schedule


def test_groups_are_handed_out_in_order_and_once():
    schedule = Schedule([3, 5, 8])
    assert [schedule.take(worker) for worker in (0, 1)] == [3, 5]
    assert schedule.done(1) == 5 and schedule.take(1) == 8 and schedule.take(2) is None
    assert schedule.done(1) == 8 and schedule.take(1) is None and not schedule.finished
    assert schedule.done(0) == 3 and schedule.finished


def test_a_failed_group_is_the_next_one():
    schedule = Schedule([3, 5, 8])
    schedule.take(0), schedule.take(1)
    failure = schedule.failed(0, "lost", "here")
    assert (failure.group, failure.worker, failure.node) == (3, 0, "here")
    assert schedule.take(2) == 3 and schedule.given_up is None
    schedule.done(1)
    assert schedule.take(1) == 8


@pytest.mark.parametrize("tries", [1, 2, 3])
def test_a_group_is_given_up_and_the_others_running_are_waited_for(tries):
    schedule = Schedule([3, 5, 8], tries)
    assert schedule.take(9) == 3 and schedule.take(0) == 5
    for attempt in range(tries):
        assert schedule.given_up is None
        schedule.failed(0, f"cause {attempt}")
        assert schedule.take(0) == (5 if attempt + 1 < tries else None)
    assert (schedule.given_up.group, schedule.given_up.cause) == (5, f"cause {tries - 1}")
    assert not schedule.finished
    schedule.done(9)
    assert schedule.finished
