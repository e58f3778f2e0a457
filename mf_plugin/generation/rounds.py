"""Go on until each main category has enough accepted objects, or the budget of canvases is spent.

The first round is the config's plan. A further round is a pure function of the plan and the
outcomes of all rounds before it, so that a run which was killed plans the same again.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

from mf_plugin.generation.generator import GeneratorPlan
from mf_plugin.generation.records import ACCEPTED, Record
from mf_plugin.vocabulary import Category

Tally = Counter[tuple[int, str]]  # (category id, "accepted" or the reason) -> number of objects


def tally_objects(records: Iterable[Record]) -> Tally:
    """Objects of all regions by category and outcome."""
    return Counter(
        (obj["category_id"], obj["reason"] or ACCEPTED)
        for record in records
        for obj in record["objects"]
    )


def find_lacking(plan: GeneratorPlan, tally: Tally) -> dict[Category, int]:
    """Main categories with fewer accepted objects than ``until`` asks, and how many they lack.

    In the vocabulary's order; empty where there is no ``until``.
    """
    if plan.config.until is None:
        return {}
    wanted = plan.config.until.accepted
    lacking = {category: wanted - tally[category.id, ACCEPTED] for category in plan.main}
    return {category: number for category, number in lacking.items() if number > 0}


def plan_next_round(plan: GeneratorPlan, tally: Tally) -> GeneratorPlan | None:
    """The plan with one more round, or None if nothing lacks or the budget is spent.

    A category that lacks d objects wants d / p canvases, p its acceptance rate so far. It counts
    one imaginary object of the mean rate of all categories, so that p is never 0. In a round it
    gets at most as many canvases as in all rounds before: a bad start does not eat the budget.
    Categories take the canvases in turn, so that the end of the budget hits them evenly.

    Args:
        plan: all its groups are done.
        tally: of all its objects.
    """
    lacking = find_lacking(plan, tally)
    if not lacking or plan.num_images >= plan.config.until.max_images:
        return None
    planned = Counter(main.id for done in plan.rounds for main in done.main if main is not None)
    wanted = {
        category: min(
            math.ceil(number / _acceptance_rate(tally, category.id)), max(1, planned[category.id])
        )
        for category, number in lacking.items()
    }
    in_turn = [
        category
        for turn in range(max(wanted.values()))
        for category, number in wanted.items()
        if turn < number
    ]
    return plan.with_round(in_turn[: plan.config.until.max_images - plan.num_images])


def describe_rounds(plan: GeneratorPlan, tally: Tally) -> dict[str, Any]:
    """What dataset.json says of ``until``: the canvases of each round, and the accepted objects
    that the main categories lack."""
    if plan.config.until is None:
        return {}
    lacking = find_lacking(plan, tally)
    return {
        "rounds": [len(done.main) for done in plan.rounds],
        "lacking": {category.name: number for category, number in lacking.items()},
    }


def _acceptance_rate(tally: Tally, category_id: int) -> Fraction:
    accepted = sum(number for (_, outcome), number in tally.items() if outcome == ACCEPTED)
    mean = Fraction(accepted + 1, tally.total() + 2)
    own = {outcome: number for (id_, outcome), number in tally.items() if id_ == category_id}
    return (own.get(ACCEPTED, 0) + mean) / (sum(own.values()) + 1)
