"""The plan is a pure function of config and index, and covers the main categories evenly."""

from __future__ import annotations

from collections import Counter

import pytest

from mf_plugin.errors import InputError
from mf_plugin.generation.config import UntilConfig
from mf_plugin.generation.plan import load_vocabulary, make_plan
from mf_plugin.vocabulary import Category, Vocabulary


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


@pytest.mark.parametrize(
    "regions, sizes",
    [
        ((4,), {(64, 64, 4)}),
        ((1, 2, 4), {(32, 32, 1), (32, 64, 2), (64, 32, 2), (64, 64, 4)}),
        (("2x3", "1x1"), {(64, 96, 6), (32, 32, 1)}),
    ],
)
def test_each_group_draws_an_entry_of_regions(make_config, vocabulary, regions, sizes):
    config = make_config(canvas=None, region_size=(32, 32), regions=regions, num_images=160)
    groups = list(make_plan(config, vocabulary).groups)
    drawn = Counter((g.layout.height, g.layout.width, len(g.layout.regions)) for g in groups)
    assert set(drawn) == sizes
    for number in {count for _, _, count in sizes}:
        share = sum(n for (_, _, count), n in drawn.items() if count == number) / 80
        assert share == pytest.approx(1 / len(regions), abs=0.12)
    for group in groups:
        for canvas in group.canvases:
            assert len(canvas.prompts) == len(canvas.categories) == len(group.layout.regions)
            assert canvas.main_region < len(group.layout.regions)


def test_a_mix_of_regions_leaves_the_canvases_main_categories(make_config, vocabulary):
    mixed = make_plan(make_config(regions=(1, 2, 4), num_images=20), vocabulary)
    canvases = [canvas for group in mixed.groups for canvas in group.canvases]
    main = [canvas.categories[canvas.main_region].name for canvas in canvases]
    assert main == ["bath_towel", "cat"] * 10


def test_the_first_canvases_of_a_seed(make_config, vocabulary):
    """Exact draws: a dataset that was begun goes on with them."""
    group = make_plan(make_config(), vocabulary).groups[0]
    regions = group.layout.to_json()["regions"]
    assert regions == [[0, 0, 36, 40], [0, 32, 36, 32], [28, 0, 36, 40], [28, 32, 36, 32]]
    assert [canvas.seed for canvas in group.canvases] == [3737738445, 267078629]
    assert [canvas.main_region for canvas in group.canvases] == [3, 2]
    assert [[prompt.text for prompt in canvas.prompts] for canvas in group.canvases] == [
        ["a tub on red", "a bath towel on red", "a cat on sand", "a bath towel on red"],
        ["a bath towel on red", "a bow on sand", "a cat on red", "a bath towel on sand"],
    ]


def test_synonyms_are_drawn_uniformly(make_config):
    names = ("cat", "tom_cat", "cat", "feline_(animal)")
    vocabulary = Vocabulary([Category(1, "cat", frequency="r", synonyms=names)])
    changes = dict(num_images=150, template="a {name}", backgrounds=())
    plain = [c for g in make_plan(make_config(**changes), vocabulary).groups for c in g.canvases]
    assert {prompt.text for canvas in plain for prompt in canvas.prompts} == {"a cat"}

    plan = make_plan(make_config(**changes, synonyms=True), vocabulary)
    varied = [c for g in plan.groups for c in g.canvases]
    counts = Counter(prompt.text for canvas in varied for prompt in canvas.prompts)
    assert set(counts) == {"a cat", "a tom cat", "a feline"}
    assert all(150 < count < 250 for count in counts.values())  # 600 / 3 expected
    assert [canvas.seed for canvas in varied] == [canvas.seed for canvas in plain]
    for canvas in varied:
        assert all(prompt.subject == (2, len(prompt.text)) for prompt in canvas.prompts)


def test_styles_are_drawn_uniformly_and_change_nothing_else(make_config, vocabulary):
    plain = make_plan(make_config(num_images=100, template="a {name}, {background}"), vocabulary)
    changes = dict(template="a {name}, {background}, {style}", styles=("flat", "bold"))
    styled = make_plan(make_config(num_images=100, **changes), vocabulary)
    texts = [
        [p.text for g in plan.groups for c in g.canvases for p in c.prompts]
        for plan in (plain, styled)
    ]
    assert [text.rsplit(", ", 1)[0] for text in texts[1]] == texts[0]
    words = Counter(text.rsplit(", ", 1)[1] for text in texts[1])
    assert set(words) == {"flat", "bold"} and min(words.values()) > 0.4 * len(texts[0])


def test_a_round_is_numbered_on(make_config, vocabulary):
    plan = make_plan(make_config(num_images=5), vocabulary)
    bath_towel, cat = plan.main
    longer = plan.with_round([cat, cat, bath_towel])
    assert (len(longer.groups), longer.num_images, longer.last_round) == (5, 8, range(3, 5))
    assert list(longer.groups)[:3] == list(plan.groups)
    assert [list(longer.canvas_numbers(i)) for i in range(5)] == [[0, 1], [2, 3], [4], [5, 6], [7]]
    canvases = [canvas for group in longer.groups for canvas in group.canvases]
    assert [canvas.index for canvas in canvases] == list(range(8))
    main = [canvas.categories[canvas.main_region].name for canvas in canvases]
    assert main[5:] == ["cat", "cat", "bath_towel"]
    # the draws of a canvas and of a group's layout depend on their numbers alone
    through = make_plan(make_config(num_images=20), vocabulary)
    assert longer.groups[4].layout == through.groups[4].layout
    assert canvases[7].seed == through.groups[3].canvases[1].seed


def test_a_first_round_over_the_budget_is_refused(make_config, vocabulary):
    config = make_config(until=UntilConfig(accepted=1, max_images=5))
    with pytest.raises(InputError, match=r"max_images is 5; expected at least 6, .* \(2 main"):
        make_plan(config, vocabulary)


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
