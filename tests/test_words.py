"""English for captions."""

from __future__ import annotations

import pytest

from mf_plugin.words import count_phrase, join_phrases, plural


@pytest.mark.parametrize(
    "phrases, text",
    [
        (["a dog"], "a dog"),
        (["a dog", "two cats"], "a dog and two cats"),
        (["a dog", "two cats", "a bicycle"], "a dog, two cats and a bicycle"),
    ],
)
def test_phrases_are_joined(phrases, text):
    assert join_phrases(phrases) == text


@pytest.mark.parametrize(
    "name, count, text",
    [
        ("airplane", 1, "an airplane"),
        ("unicycle", 1, "a unicycle"),
        ("scissors", 1, "a pair of scissors"),
        ("bottle of water", 2, "two bottles of water"),
        ("mouse", 3, "three mice"),
        ("dog", 21, "many dogs"),
    ],
)
def test_counts(name, count, text):
    assert count_phrase(name, count) == text


def test_plural():
    words = ["hot dog", "sunglasses", "lens", "ladybug", "gemstone", "hour hand", "knife"]
    assert [plural(word) for word in words] == [
        "hot dogs", "sunglasses", "lenses", "ladybugs", "gemstones", "hour hands", "knives",
    ]  # fmt: skip
