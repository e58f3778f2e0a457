from __future__ import annotations

import json

import pytest

from mf_plugin.errors import InputError
from mf_plugin.vocabulary import Category, Vocabulary

LVIS = [
    {
        "id": 3,
        "name": "bow_(weapon)",
        "synset": "bow.n.04",
        "synonyms": ["bow_(weapon)"],
        "def": "a weapon for shooting arrows",
        "frequency": "r",
        "image_count": 6,
        "instance_count": 9,
    },
    {"id": 1, "name": "airplane", "synset": "airplane.n.01", "synonyms": ["airplane", "aeroplane"],
     "def": "", "frequency": "f", "image_count": 1911, "instance_count": 6000},
    {"id": 7, "name": "bow_(decorative_ribbons)", "synset": "bow.n.08", "synonyms": [],
     "def": "a decorative ribbon", "frequency": "c", "image_count": 40, "instance_count": 50},
]  # fmt: skip


@pytest.mark.parametrize(
    "name, expected",
    [
        ("bow_(weapon)", "bow"),
        ("bow_(decorative_ribbons)", "bow"),
        ("fish_(food)", "fish"),
        ("tank_top_(clothing)", "tank top"),
        ("Bible", "Bible"),
        ("first-aid_kit", "first-aid kit"),
        ("monitor_(computer_equipment) computer_monitor", "monitor"),
        ("teddy bear", "teddy bear"),
        ("(odd)", "(odd)"),
    ],
)
def test_clean_name(name, expected):
    assert Category(1, name).clean_name == expected


@pytest.mark.parametrize(
    "name, synonyms, expected",
    [
        ("cat", (), ("cat",)),
        ("bow_(weapon)", ("bow_(weapon)",), ("bow",)),
        ("aerosol_can", ("aerosol_can", "spray_can"), ("aerosol can", "spray can")),
        (
            "pop_(soda)",
            ("pop_(soda)", "soda_(pop)", "Pop", "tonic", "soft_drink"),
            ("pop", "soda", "tonic", "soft drink"),
        ),
        ("wiper", ("wiper_(for_windshield/screen)", "screenwiper"), ("wiper", "screenwiper")),
        ("saw", ("carpenter's_saw", "_", "saw"), ("saw", "carpenter's saw")),
    ],
)
def test_clean_names_are_the_name_and_its_synonyms_each_once(name, synonyms, expected):
    assert Category(1, name, synonyms=synonyms).clean_names == expected


def test_keeps_order_and_round_trips_through_lvis():
    vocabulary = Vocabulary.from_categories(LVIS)
    assert [c.id for c in vocabulary] == [3, 1, 7]
    assert vocabulary.to_lvis() == LVIS
    assert Vocabulary.from_categories(vocabulary.to_lvis()) == vocabulary
    assert vocabulary.by_name("bow_(weapon)") == Category(
        id=3,
        name="bow_(weapon)",
        synset="bow.n.04",
        frequency="r",
        definition="a weapon for shooting arrows",
        synonyms=("bow_(weapon)",),
        image_count=6,
        instance_count=9,
    )
    assert vocabulary.by_id(1) is vocabulary[1]
    assert vocabulary[1] in vocabulary and Category(1, "airplane") not in vocabulary
    assert [c.name for c in vocabulary[:2]] == ["bow_(weapon)", "airplane"]


@pytest.mark.parametrize("whole", [True, False], ids=["annotation json", "list of categories"])
def test_reads_lvis_json(tmp_path, whole):
    path = tmp_path / "lvis.json"
    data = {"images": [], "annotations": [], "categories": LVIS} if whole else LVIS
    path.write_text(json.dumps(data))
    assert Vocabulary.from_lvis_json(path) == Vocabulary.from_categories(LVIS)


def test_groups():
    vocabulary = Vocabulary.from_categories(LVIS)
    assert [[c.id for c in vocabulary.group(g)] for g in "rcf"] == [[3], [7], [1]]
    with pytest.raises(InputError, match="unknown frequency group 'rare'"):
        vocabulary.group("rare")


def test_bare_names_have_no_groups_until_counts_give_them():
    vocabulary = Vocabulary.from_names(["cat", "dog", "owl", "emu"])
    assert vocabulary[1] == Category(2, "dog") and vocabulary[1].frequency is None
    assert vocabulary.to_lvis()[0] == {
        "id": 1, "name": "cat", "synset": "", "synonyms": [], "def": ""
    }  # fmt: skip
    with pytest.raises(InputError, match="'cat' has no frequency group"):
        vocabulary.group("r")

    counted = vocabulary.with_image_counts({1: 10, 2: 11, 3: 101})
    assert [c.frequency for c in counted] == ["r", "c", "f", "r"]
    assert [c.image_count for c in counted] == [10, 11, 101, 0]
    with pytest.raises(InputError, match="unknown category id 9"):
        vocabulary.with_image_counts({9: 1})


@pytest.mark.parametrize(
    "name, expected",
    [
        ("bow", "unknown category 'bow': did you mean 'bow_(weapon)', 'bow_(decorative_ribbons)'?"),
        ("airplan", "unknown category 'airplan': did you mean 'airplane'?"),
        ("Airplane", "unknown category 'Airplane': did you mean 'airplane'?"),
        (
            "xyzzy",
            "unknown category 'xyzzy': the vocabulary has 3 categories, none with a name like it",
        ),
    ],
)
def test_unknown_name_is_named_with_close_matches(name, expected):
    with pytest.raises(InputError) as error:
        Vocabulary.from_categories(LVIS).by_name(name)
    assert str(error.value) == expected


def test_unknown_id():
    with pytest.raises(InputError, match="unknown category id 2: .* 3 ids from 1 to 7"):
        Vocabulary.from_categories(LVIS).by_id(2)


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: Vocabulary([]), "the vocabulary is empty"),
        (lambda: Vocabulary.from_names(["cat", "cat"]), "name 'cat' appears twice: ids 1 and 2"),
        (lambda: Vocabulary.from_names("cat"), "list of category names, got the string 'cat'"),
        (lambda: Vocabulary.from_names(["cat", " "]), "category 2 has an empty name"),
        (lambda: Vocabulary([Category(1, "a"), Category(1, "b")]), "id 1 appears twice: 'a' and"),
        (lambda: Vocabulary([Category(1, "a", frequency="x")]), "frequency 'x': expected"),
        (lambda: Vocabulary.from_categories([{"id": 1}]), "expected 'name' as str, got None"),
        (lambda: Vocabulary.from_categories(["cat"]), "an id and a name, got 'cat'"),
    ],
)
def test_errors(build, message):
    with pytest.raises(InputError, match=message):
        build()


@pytest.mark.parametrize(
    "text, message",
    [
        (None, "is not a file"),
        ('{"categories": [{"id": 1', "is not valid json"),
        ('{"images": []}', "has no list of categories"),
        ("[]", "the vocabulary is empty"),
        ('[{"id": "1", "name": "a"}]', "expected 'id' as int, got '1'"),
    ],
)
def test_json_errors_name_the_file(tmp_path, text, message):
    path = tmp_path / "lvis.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=message) as error:
        Vocabulary.from_lvis_json(path)
    assert "lvis.json" in str(error.value)
