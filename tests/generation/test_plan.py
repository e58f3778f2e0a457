"""The plan is a pure function of config and index, and covers the main categories evenly."""

from __future__ import annotations

from collections import Counter

import pytest

from mf_plugin.errors import InputError
from mf_plugin.generation.plan import load_vocabulary, make_plan


def test_every_main_category_gets_its_canvases(make_config, vocabulary):
    plan = make_plan(make_config(), vocabulary)
    canvases = [canvas for group in plan.groups for canvas in group.canvases]
    assert [canvas.index for canvas in canvases] == [0, 1, 2, 3, 4, 5]
    main = [canvas.categories[canvas.main_region].name for canvas in canvases]
    assert main == ["bath_towel", "cat"] * 3
    assert len({canvas.seed for canvas in canvases}) == 6
    for canvas in canvases:
        for category, prompt in zip(canvas.categories, canvas.prompts):
            start, end = prompt.subject
            assert prompt.text[start:end] == category.clean_name
            assert prompt.text.split(" on ")[1] in ("red", "sand")


def test_a_group_does_not_depend_on_the_others(make_config, vocabulary):
    plan = make_plan(make_config(images_per_category=50), vocabulary)
    alone = make_plan(make_config(images_per_category=50), vocabulary).groups[31]
    assert list(plan.groups)[31] == alone
    assert len(plan.groups) == 50
    with pytest.raises(IndexError, match="group 50 of 50"):
        plan.groups[50]


def test_a_shorter_plan_is_the_start_of_a_longer_one(make_config, vocabulary):
    short = make_plan(make_config(num_images=5), vocabulary)
    long = make_plan(make_config(num_images=50), vocabulary)
    assert (len(short.groups), short.num_images) == (3, 5)
    assert list(short.groups)[:2] == [long.groups[0], long.groups[1]]
    assert short.groups[2].canvases == long.groups[2].canvases[:1]


def test_seeds_change_everything(make_config, vocabulary):
    one = make_plan(make_config(seed=1), vocabulary).groups[0]
    two = make_plan(make_config(seed=2), vocabulary).groups[0]
    assert one.canvases[0].seed != two.canvases[0].seed


def test_regions_and_their_categories_are_spread_evenly(make_config, vocabulary):
    plan = make_plan(make_config(num_images=400), vocabulary)
    canvases = [canvas for group in plan.groups for canvas in group.canvases]
    places = Counter(canvas.main_region for canvas in canvases)
    others = Counter(
        category.name
        for canvas in canvases
        for place, category in enumerate(canvas.categories)
        if place != canvas.main_region
    )
    assert all(70 < places[place] < 130 for place in range(4))  # 100 expected
    assert all(240 < count < 360 for count in others.values()) and len(others) == 4  # 300


def test_categories_by_name(make_config, vocabulary):
    config = make_config(main_categories=("cat", "f"), other_categories=("bow_(weapon)",))
    plan = make_plan(config, vocabulary)
    assert [category.name for category in plan.main] == ["cat", "tub"]
    for canvas in plan.groups[0].canvases:
        names = [category.name for category in canvas.categories]
        assert names.count("bow_(weapon)") == 3


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"main_categories": ("cta",)}, "'cta'"),
        ({"other_categories": ("q",)}, "'q'"),
        ({"overlap": (6, 8)}, "overlap"),
        ({"template": "{nam}"}, "{nam}"),
    ],
)
def test_what_does_not_fit_is_named(make_config, vocabulary, changes, message):
    with pytest.raises(InputError) as error:
        make_plan(make_config(**changes), vocabulary)
    assert message in str(error.value)


def test_a_group_that_the_vocabulary_lacks(make_config, vocabulary):
    common = vocabulary[2:3]
    with pytest.raises(InputError, match="main_categories: .* no category of frequency 'r'"):
        make_plan(make_config(), common)
    config = make_config(main_categories=("c",))
    assert [c.name for c in make_plan(config, common).others] == ["bow_(weapon)"]


def test_the_bundled_vocabulary():
    assert len(load_vocabulary("minilvis:demo").group("r")) == 10
    with pytest.raises(InputError, match="nonsense"):
        load_vocabulary("minilvis:nonsense")
