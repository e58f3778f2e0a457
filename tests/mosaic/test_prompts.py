from __future__ import annotations

import pytest

from mf_plugin.errors import InputError
from mf_plugin.mosaic.prompts import Prompt, build_prompt, subject_tokens
from mf_plugin.vocabulary import Category

TEMPLATE = "a photo of a single {name}, {definition}"


def category(name, definition=""):
    return Category(id=1, name=name, definition=definition)


@pytest.mark.parametrize(
    "name, definition, template, background, text, subject",
    [
        ("cat", "an animal", TEMPLATE, "", "a photo of a single cat, an animal", "cat"),
        ("cat", "", TEMPLATE, "", "a photo of a single cat", "cat"),
        # the first "bath" of the text is not the subject
        ("bath", "x", "in the bath: a {name}", "", "in the bath: a bath", "bath"),
        (
            "bath_towel",
            "a towel",
            TEMPLATE,
            "",
            "a photo of a single bath towel, a towel",
            "bath towel",
        ),
        ("bow_(weapon)", "bent wood", TEMPLATE, "", "a photo of a single bow, bent wood", "bow"),
        ("cat", "", "{name} on a {background} ground", "blue", "cat on a blue ground", "cat"),
        ("cat", "", "{background}, a {name}", "", "a cat", "cat"),
        ("cat", "{odd}", "{definition} {name}", "", "{odd} cat", "cat"),
        # the definition says the name again
        (
            "bow_(weapon)",
            "a bow and arrows; bow",
            TEMPLATE,
            "",
            "a photo of a single bow, a bow and arrows; bow",
            "bow",
        ),
        # LVIS has one name that goes on behind its qualifier
        (
            "monitor_(computer_equipment) computer_monitor",
            "a screen",
            "a {name}",
            "",
            "a monitor",
            "monitor",
        ),
        ("pan_(for_cooking)", "", "a {name}, metal", "", "a pan, metal", "pan"),
        ("first-aid_kit", "", "a {name}", "", "a first-aid kit", "first-aid kit"),
        ("Band_Aid", "", "a {name}", "", "a Band Aid", "Band Aid"),
        ("(odd)", "", "a {name}", "", "a (odd)", "(odd)"),
    ],
)
def test_subject_by_construction(name, definition, template, background, text, subject):
    prompt = build_prompt(category(name, definition), template, background)
    assert prompt.text == text
    start, end = prompt.subject
    assert text[start:end] == subject
    assert end == len(text) or not text[end].isalnum()


def test_the_second_bath_is_the_subject():
    prompt = build_prompt(category("bath"), "in the bath: a {name}")
    assert prompt.subject == (15, 19)


@pytest.mark.parametrize(
    "name, definition, template, word, text, subject",
    [
        ("bath", "holds water", "a {name}, {definition}", None, "a bath, holds water", (2, 6)),
        ("bath", "a tub", "a {name}, {definition}", "tub", "a tub, a tub", (2, 5)),
        ("bath", "a tub", "{definition}: {name}", "tub", "a tub: tub", (7, 10)),
        # inside words and before itself
        ("cat", "", "a photo of a category: {name}", None, "a photo of a category: cat", (23, 26)),
        ("a", "a letter", "a {name}, {definition}", None, "a a, a letter", (2, 3)),
        ("photo", "", "a photo of a single {name}", None, "a photo of a single photo", (20, 25)),
        ("cat", "", "{background} cat {name}", "tom cat", "cat tom cat", (4, 11)),
    ],
)
def test_the_subject_is_where_it_was_put(name, definition, template, word, text, subject):
    assert build_prompt(category(name, definition), template, name=word) == Prompt(text, subject)


def test_a_synonym_of_no_words_is_named():
    with pytest.raises(InputError, match="category 1 has the name 'cat'; expected words"):
        build_prompt(category("cat"), "a {name}", name=" ")


@pytest.mark.parametrize(
    "template, message",
    [
        ("a {colour} {name}", r"has \{colour\}; expected name, definition, background, style"),
        ("a photo", r"expected \{name\} once, found 0"),
        ("{name} {name}", r"expected \{name\} once, found 2"),
        ("a {name", "template 'a {name'"),
    ],
)
def test_bad_templates_are_named(template, message):
    with pytest.raises(InputError, match=message):
        build_prompt(category("cat"), template)


# "bath", "towel" and "cat" are a token each; of other words mostly every letter is one.
TOKEN_TABLE = [
    ("bath", (0, 4), [1]),
    ("bath towel, a towel for a bath", (0, 4), [1]),
    ("bath towel, a towel for a bath", (5, 10), [2]),
    ("bath towel, a towel for a bath", (0, 10), [1, 2]),
    ("bath towel, a towel for a bath", (26, 30), [10]),
    ("a bath, a bath", (10, 14), [5]),
    ("dog", (0, 3), [1, 2, 3]),
    ("a  dog on a cat", (3, 6), [2, 3, 4]),
    ("A CAT", (2, 5), [2]),
    ("baths", (0, 5), [1, 2, 3, 4]),
    ("the cat's bath", (4, 7), [4]),
    ("bath-towel 42", (0, 10), [1, 2, 3]),
    ("a bath 42", (7, 9), [3, 4]),
    # a definition that says the name again, a subject that the template says before
    ("a single bath, the bath, bath", (9, 13), [8]),
    ("a bath photo of a bath", (18, 22), [11]),
    ("cat cat cat", (4, 7), [2]),
    # several tokens of several words; a part of the subject is elsewhere too
    ("towel: bath towel, cat towel", (7, 17), [3, 4]),
    ("a cat of cats: cat bath towel cat", (15, 29), [9, 10, 11]),
    # punctuation inside and at the subject's edges
    ("a cat-bath, a cat", (2, 10), [2, 3, 4]),
    ("the cat's bath, cat", (4, 14), [4, 5, 6, 7]),
    ("a (cat), a cat", (3, 6), [3]),
    ("caf\u00e9 cat", (5, 8), [5]),
    ("caf\u00e9 cat", (0, 4), [1, 2, 3, 4]),
]


@pytest.mark.parametrize("text, subject, positions", TOKEN_TABLE)
def test_subject_tokens(tokenizer, text, subject, positions):
    assert subject_tokens(tokenizer, Prompt(text, subject)) == positions


class Slow:
    """The same tokenizer without offsets, as transformers' slow tokenizers are."""

    def __init__(self, tokenizer):
        self.fast = tokenizer
        self.model_max_length = tokenizer.model_max_length

    def __call__(self, text, **options):
        assert "return_offsets_mapping" not in options
        return self.fast(text, **options)


@pytest.mark.parametrize("text, subject, positions", TOKEN_TABLE)
def test_subject_tokens_without_offsets(tokenizer, text, subject, positions):
    assert subject_tokens(Slow(tokenizer), Prompt(text, subject)) == positions


def test_a_subject_that_is_cut_off_is_named(tokenizer):
    fits = Prompt("dog " * 24 + "cat", (96, 99))  # 72 letters, so the cat is token 73
    assert subject_tokens(tokenizer, fits) == [73]
    last = Prompt("dog " * 24 + "cat cat cat", (104, 107))  # token 75, the end token is 76
    assert subject_tokens(tokenizer, last) == [75]
    lost = Prompt("dog " * 25 + "cat", (100, 103))
    with pytest.raises(InputError, match="subject 'cat' ends at token 76; expected at most 75"):
        subject_tokens(tokenizer, lost)


def test_a_subject_without_tokens_is_named(tokenizer):
    with pytest.raises(InputError, match="subject ' ' of prompt 'a cat' has no token"):
        subject_tokens(tokenizer, Prompt("a cat", (1, 2)))
