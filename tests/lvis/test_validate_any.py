"""Property: whatever an LVIS json holds, it is refused with an InputError or can be used."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mf_plugin.data.provider import categories_per_image
from mf_plugin.errors import InputError
from mf_plugin.fuzz import seeds
from mf_plugin.lvis.io import validate_lvis, write_json_atomic
from mf_plugin.lvis.merge import merge_lvis
from mf_plugin.vocabulary import Vocabulary

ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=10,
)
PLACES = [
    (key, name) for key in ("images", "annotations", "categories") for name in seeds.lvis()[key][0]
]


@given(st.sampled_from(PLACES), ANY)
def test_any_value_at_any_place(tmp_path_factory, place, value):
    key, name = place
    data = copy.deepcopy(seeds.lvis())
    data[key][0][name] = value
    try:
        validate_lvis(data)
    except InputError as error:
        assert "\n" not in str(error)
        return
    categories_per_image(data)
    Vocabulary.from_categories(data["categories"])
    merge_lvis(data, data, real_root="a", synthetic_root="b")


@pytest.mark.parametrize(
    "place", [(key, n) for key, n in PLACES if key != "categories" or n in ("id", "name")]
)
def test_every_key_that_is_used_has_to_be_there(place):
    key, name = place
    if name in ("file_name", "iscrowd"):
        return
    data = seeds.lvis()
    del data[key][0][name]
    with pytest.raises(InputError):
        validate_lvis(data)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"height": 1 << 40}, "expected height in pixels"),
        ({"height": 60_000, "width": 60_000}, "is of 60000 x 60000 pixels: expected at most"),
        ({"height": True}, "expected height in pixels, got True"),
        ({"id": True}, "expected an integer id"),
        ({"id": -1}, "expected an integer id"),
        ({"neg_category_ids": [[1]]}, r"unknown category id \[1\]"),
    ],
)
def test_sizes_and_ids_of_images(change, message):
    data = seeds.lvis()
    data["images"][0] |= change
    with pytest.raises(InputError, match=message):
        validate_lvis(data)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"segmentation": [[0, 0, 1e7, 0, 1e7, 1e7]]}, "far outside of its image"),
        ({"segmentation": [[0, 0, 4, 0, 0, 10**400]]}, "a value has the wrong type"),
        ({"segmentation": [[0, 0, 4, 0, 0, True]]}, "a value has the wrong type"),
        ({"segmentation": ["012345"]}, "expected a list of numbers"),
        ({"area": 10**400}, "expected area > 0"),
        ({"bbox": "0123"}, "expected bbox"),
        ({"iscrowd": 2}, "iscrowd is 2, expected 0 or 1"),
        ({"id": "1"}, "expected an integer id"),
    ],
)
def test_values_of_annotations(change, message):
    data = seeds.lvis()
    data["annotations"][0] |= change
    with pytest.raises(InputError, match=message):
        validate_lvis(data)


def test_what_cannot_be_written_is_said(tmp_path):
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    for value, message in ((deep, "nested too deep"), ("\ud800", "surrogates not allowed")):
        with pytest.raises(InputError, match=message):
            write_json_atomic(tmp_path / "a.json", value)
    assert list(tmp_path.iterdir()) == []
    while deep:
        deep = deep[0]
