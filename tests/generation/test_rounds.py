"""Rounds: exact numbers of what lacks and what is planned for it, out of hand-made outcomes."""

from __future__ import annotations

from collections import Counter

import pytest

from mf_plugin.generation.config import UntilConfig
from mf_plugin.generation.plan import make_plan
from mf_plugin.generation.rounds import (
    describe_rounds,
    find_lacking,
    plan_next_round,
    tally_objects,
)

BATH_TOWEL, CAT, BOW = 3, 5, 9  # bath towel and cat are the main categories


@pytest.fixture
def make_rounds(make_config, vocabulary):
    """A plan with a first round of ``first`` canvases."""

    def make(accepted: int, max_images: int, first: int):
        until = UntilConfig(accepted, max_images)
        return make_plan(make_config(num_images=first, until=until), vocabulary)

    return make


def tally(**outcomes: tuple[int, int]) -> Counter:
    """``bath_towel=(accepted, rejected)``, and so on."""
    ids = {"bath_towel": BATH_TOWEL, "cat": CAT, "bow": BOW}
    counts = Counter()
    for name, (accepted, rejected) in outcomes.items():
        counts[ids[name], "accepted"] = accepted
        counts[ids[name], "too_small"] = rejected
    return counts


def main_names(plan) -> list[str]:
    return [category.name for category in plan.rounds[-1].main]


def test_objects_are_tallied_over_all_regions():
    def obj(category_id, reason):
        return {"category_id": category_id, "reason": reason}

    records = [
        {"objects": [obj(5, ""), obj(5, "too_small"), obj(9, "")]},
        {"objects": [obj(5, ""), obj(5, "too_large")]},
    ]
    assert tally_objects(records) == {
        (5, "accepted"): 2,
        (5, "too_small"): 1,
        (5, "too_large"): 1,
        (9, "accepted"): 1,
    }


def test_what_lacks_is_counted_for_main_categories_alone(make_rounds):
    plan = make_rounds(accepted=5, max_images=99, first=4)
    lacking = find_lacking(plan, tally(cat=(2, 9), bow=(0, 3)))
    assert {category.name: number for category, number in lacking.items()} == {
        "bath_towel": 5,
        "cat": 3,
    }
    assert find_lacking(plan, tally(cat=(5, 0), bath_towel=(6, 0))) == {}


@pytest.mark.parametrize(
    "outcomes, expected",
    [
        # Mean rate (10 + 1) / (16 + 2) = 11 / 18, cat's (2 + 11/18) / (8 + 1) = 47 / 162. It lacks
        # 3: ceil(3 x 162 / 47) = ceil(10.3) = 11 canvases.
        ({"bath_towel": (5, 0), "cat": (2, 6), "bow": (3, 0)}, ["cat"] * 11),
        # All were accepted: mean 10 / 11, cat (3 + 10/11) / 4 = 43 / 44: ceil(2 x 44 / 43) = 3.
        ({"bath_towel": (6, 0), "cat": (3, 0)}, ["cat"] * 3),
        # In turn: mean (2 + 1) / (4 + 2) = 1 / 2. Bath towel (0 + 1/2) / 3 = 1 / 6: 5 x 6 = 30, at
        # most the 20 that it had; cat (2 + 1/2) / 3 = 5 / 6: ceil(3 x 6 / 5) = 4.
        (
            {"bath_towel": (0, 2), "cat": (2, 0)},
            ["bath_towel", "cat"] * 4 + ["bath_towel"] * 16,
        ),
    ],
)
def test_canvases_are_estimated_from_the_acceptance_rate(make_rounds, outcomes, expected):
    plan = make_rounds(accepted=5, max_images=999, first=40)
    assert main_names(plan_next_round(plan, tally(**outcomes))) == expected


def test_a_category_gets_no_more_than_it_has_had(make_rounds):
    plan = make_rounds(accepted=50, max_images=999, first=3)  # bath towel, cat, bath towel
    outcomes = tally(bath_towel=(0, 9), cat=(0, 9))
    plan = plan_next_round(plan, outcomes)
    assert main_names(plan) == ["bath_towel", "cat", "bath_towel"]
    plan = plan_next_round(plan, outcomes)
    assert main_names(plan) == ["bath_towel", "cat"] * 2 + ["bath_towel"] * 2


def test_a_category_that_the_first_round_left_out_gets_one(make_rounds):
    plan = make_rounds(accepted=5, max_images=99, first=1)
    assert main_names(plan_next_round(plan, tally(bath_towel=(5, 0)))) == ["cat"]


def test_the_budget_is_kept_to_the_canvas(make_rounds):
    plan = make_rounds(accepted=50, max_images=9, first=6)
    plan = plan_next_round(plan, tally(cat=(1, 1)))
    assert main_names(plan) == ["bath_towel", "cat", "bath_towel"]
    assert plan.num_images == 9
    assert plan_next_round(plan, tally(cat=(1, 1))) is None


def test_no_round_follows_where_nothing_lacks_or_nothing_was_asked(
    make_rounds, make_config, vocabulary
):
    enough = tally(bath_towel=(5, 3), cat=(7, 0))
    assert plan_next_round(make_rounds(5, 99, 6), enough) is None
    assert plan_next_round(make_plan(make_config(), vocabulary), tally()) is None


def test_what_dataset_json_says(make_rounds, make_config, vocabulary):
    plan = make_rounds(accepted=5, max_images=9, first=6)
    plan = plan_next_round(plan, tally(cat=(1, 1)))
    assert describe_rounds(plan, tally(cat=(4, 0), bath_towel=(9, 0))) == {
        "rounds": [6, 3],
        "lacking": {"cat": 1},
    }
    assert describe_rounds(make_plan(make_config(), vocabulary), tally()) == {}
