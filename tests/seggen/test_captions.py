from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest

from mf_plugin.errors import InputError
from mf_plugin.lvis.sprites import preset_categories
from mf_plugin.mosaic.tiny_sd.data import list_objects
from mf_plugin.seggen.captions import (
    TEMPLATES,
    compose_caption,
    expect_categories,
    find_categories,
    read_coco_captions,
    split_caption,
)
from mf_plugin.vocabulary import Category, Vocabulary

NAMES = "dog hot_dog bicycle scissors sheep person bow_(weapon) wall-other-merged".split()
VOCABULARY = Vocabulary.from_names([*NAMES, "door;double door", "bottle of water", "sunglasses"])


def ids(*names):
    return tuple(VOCABULARY.by_name(name).id for name in names)


@pytest.mark.parametrize(
    "names, caption",
    [
        (["dog", "bicycle", "dog"], "two dogs and a bicycle"),
        (["wall-other-merged"], "a wall"),
        (["door;double door"] * 3, "three doors"),
        (
            ["bow_(weapon)", "scissors", "person", "person"],
            "a bow, a pair of scissors and two people",
        ),
    ],
)
def test_composes(names, caption):
    assert compose_caption(ids(*names), VOCABULARY) == caption


def test_the_words_are_those_of_the_bundled_model():
    categories = tuple(Vocabulary.from_categories(preset_categories("demo")))
    objects = (3, 3, 7, 1)
    composed = compose_caption([categories[c].id for c in objects], Vocabulary(categories))
    assert composed == list_objects(objects, categories)


def test_a_generator_draws_the_template():
    rng = np.random.default_rng(0)
    drawn = {compose_caption(ids("dog"), VOCABULARY, rng) for _ in range(20)}
    assert drawn == {"a dog", "a photo of a dog"}
    assert compose_caption(ids("dog"), VOCABULARY, None, TEMPLATES[1:]) == "a photo of a dog"


def test_bad_objects_and_templates():
    with pytest.raises(InputError, match="no objects to caption"):
        compose_caption([], VOCABULARY)
    with pytest.raises(InputError, match="unknown category id 99"):
        compose_caption([99], VOCABULARY)
    with pytest.raises(InputError, match="template 'a photo': expected one with {objects}"):
        compose_caption([1], VOCABULARY, templates=["a photo"])


@pytest.mark.parametrize(
    "caption, expected",
    [
        ("two dogs and a bicycle", "dog dog bicycle"),
        ("A photo of 3 large brown Dogs, a hot dog.", "dog dog dog hot_dog"),
        ("hot dogs", "hot_dog hot_dog"),
        ("two pairs of scissors", "scissors scissors"),
        ("a pair of scissors", "scissors"),
        ("a couple of dogs", "dog dog"),
        ("a sheep by two sheep", "sheep sheep sheep"),
        ("people with sunglasses", "person person sunglasses"),
        ("two cats and dogs", "dog dog"),  # the two are cats
        ("the dog's bicycle", "dog bicycle"),
        ("bicycles", "bicycle bicycle"),
        ("many bows", "bow_(weapon) bow_(weapon)"),
        ("a dogma of dogfish", ""),
        ("", ""),
    ],
)
def test_finds(caption, expected):
    assert find_categories(caption, VOCABULARY) == ids(*expected.split())


@pytest.mark.parametrize(
    "caption, phrases, expected",
    [
        ("two dogs, a cat and a bow", 3, ["two dogs", "a cat", "a bow"]),
        ("two dogs, a cat, and a bow", 4, ["two dogs", "a cat", "a bow", ""]),
        ("two dogs, a cat and a bow", 2, ["two dogs", "a cat and a bow"]),
        ("two dogs, a cat and a bow", 1, ["two dogs, a cat and a bow"]),
        ("a band and a sandwich", 3, ["a band", "a sandwich", ""]),
        ("", 2, ["", ""]),
    ],
)
def test_splits_a_caption(caption, phrases, expected):
    assert split_caption(caption, phrases) == expected


def test_finds_names_of_several_words():
    assert find_categories("two bottles of water", VOCABULARY) == ids("bottle of water") * 2
    assert find_categories("double doors", VOCABULARY) == ids("door;double door") * 2


def test_a_name_goes_before_a_synonym_and_the_first_before_the_second():
    vocabulary = Vocabulary(
        [
            Category(1, "puppy", synonyms=("puppy", "dog")),
            Category(2, "dog"),
            Category(3, "bow_(weapon)"),
            Category(4, "bow_(ribbon)"),
            Category(5, "kitten", synonyms=("kitten", "kitty")),
        ]
    )
    assert find_categories("a dog, a puppy, a bow and two kitties", vocabulary) == (2, 1, 3, 5, 5)


def test_what_was_composed_is_found_again():
    vocabulary = Vocabulary.from_categories(preset_categories("all"))
    twins = Counter(category.clean_name for category in vocabulary)
    usual = [c.id for c in vocabulary if twins[c.clean_name] == 1]
    rng = np.random.default_rng(0)
    for _ in range(300):
        chosen = rng.choice(usual, int(rng.integers(1, 6))).tolist()
        chosen += chosen[:1] * int(rng.integers(0, 3))
        caption = compose_caption(chosen, vocabulary, rng)
        assert Counter(find_categories(caption, vocabulary)) == Counter(chosen), caption


def test_a_caption_without_any_known_category():
    assert expect_categories("a dog", VOCABULARY) == ids("dog")
    with pytest.raises(InputError, match=r"'a cat' names no known .*of the 11 .*\(dog, hot dog, b"):
        expect_categories("a cat", VOCABULARY)


def write(path, data):
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def test_reads_coco_captions(tmp_path):
    entries = [(7, " A dog\n runs. "), (9, "Two cats."), (7, "A brown dog.")]
    annotations = [{"id": n, "image_id": i, "caption": c} for n, (i, c) in enumerate(entries)]
    path = write(tmp_path / "captions.json", {"images": [], "annotations": annotations})
    assert read_coco_captions(path) == {7: ("A dog runs.", "A brown dog."), 9: ("Two cats.",)}
    assert read_coco_captions(path, [9, 10]) == {9: ("Two cats.",)}
    with pytest.raises(InputError, match="has 3 captions, of none of the 2 images"):
        read_coco_captions(path, [1, 2])


@pytest.mark.parametrize(
    "data, message",
    [
        ("{", "is not valid json"),
        ([], "expected COCO captions, a list under the key 'annotations'"),
        ({"annotations": []}, "expected COCO captions"),
        ({"annotations": [{"image_id": 1, "bbox": []}]}, "expected an image_id and a caption"),
        ({"annotations": [{"image_id": 1, "caption": " "}]}, "expected an image_id and a caption"),
    ],
)
def test_other_captions_files(tmp_path, data, message):
    with pytest.raises(InputError, match=message):
        read_coco_captions(write(tmp_path / "captions.json", data))
    with pytest.raises(InputError, match="is not a file: expected a captions json"):
        read_coco_captions(tmp_path / "none.json")
