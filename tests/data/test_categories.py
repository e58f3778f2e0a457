from __future__ import annotations

import pytest

from mf_plugin.data.categories import Label, labels_by_id, match_categories
from mf_plugin.errors import InputError

LABELS = (Label(("anvil",), 2), Label(("bow_(weapon)",), 5), Label(("cup",), 7))


def categories(*pairs):
    return [{"id": i, "name": name} for i, name in pairs]


def test_labels_follow_the_ids():
    assert labels_by_id(categories((7, "cup"), (2, "anvil"))) == (
        Label(("anvil",), 2),
        Label(("cup",), 7),
    )


@pytest.mark.parametrize(
    "given, used, expected",
    [
        # the same, in another order of the list
        ([(7, "cup"), (5, "bow_(weapon)"), (2, "anvil")], [2, 5, 7], {7: 2, 5: 1, 2: 0}),
        # a subset
        ([(7, "cup")], [7], {7: 2}),
        # other ids, as in a json that is numbered anew; one of them another class's id
        ([(1, "cup"), (2, "bow_(weapon)"), (3, "anvil")], [1, 2, 3], {1: 2, 2: 1, 3: 0}),
        # other spelling
        ([(5, "Bow (weapon)")], [5], {5: 1}),
        # a category that no class has, and no annotation either
        ([(7, "cup"), (8, "dog")], [7], {7: 2}),
        ([], [], {}),
    ],
)
def test_what_fits_is_mapped_by_name(given, used, expected):
    assert match_categories(categories(*given), LABELS, used, "a.json") == expected


def test_what_does_not_fit_is_listed():
    given = categories((2, "cup"), (5, "dog"), (7, "cat"), (9, "bow"), (11, "eel"))
    with pytest.raises(InputError) as error:
        match_categories(given, LABELS, [2, 5, 7, 9], "a.json")
    assert str(error.value) == (
        "a.json: 3 of its 5 categories fit none of the detector's 3 classes by name: "
        "'dog' (id 5, which is 'bow_(weapon)' there); 'cat' (id 7, which is 'cup' there); "
        "'bow' (id 9)"
    )


def test_the_id_decides_between_classes_of_one_name():
    labels = (Label(("bow",), 1), Label(("bow",), 2))
    assert match_categories(categories((2, "bow")), labels, [2], "a.json") == {2: 1}
    with pytest.raises(InputError, match="'bow' .id 3."):
        match_categories(categories((3, "bow")), labels, [3], "a.json")


def test_a_class_goes_by_several_names():
    labels = (Label(("monitor_(computer_equipment) computer_monitor", "monitor"), 1),)
    assert match_categories(categories((4, "monitor")), labels, [4], "a.json") == {4: 0}


def test_two_categories_of_one_class_are_refused():
    given = categories((7, "cup"), (8, "Cup"))
    with pytest.raises(InputError, match="'cup' .id 7. and 'Cup' .id 8. are both 'cup'"):
        match_categories(given, LABELS, [7], "a.json")


def test_long_lists_are_cut():
    given = categories(*((i, f"animal {i}") for i in range(80)))
    with pytest.raises(InputError, match="80 of its 80 categories.*'animal 9' .*; and 70 more$"):
        match_categories(given, LABELS, range(80), "a.json")
