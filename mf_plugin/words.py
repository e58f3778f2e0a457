"""English for captions: names of categories as nouns, their plural, numbers, articles, lists."""

from __future__ import annotations

import re
from collections.abc import Sequence

_NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen twenty"
).split()
_PREPOSITIONS = {"of", "in", "on", "with", "for", "at", "to"}

_IRREGULAR = {
    "person": "people",
    "child": "children",
    "foot": "feet",
    "tooth": "teeth",
    "goose": "geese",
    "mouse": "mice",
    "ox": "oxen",
    "die": "dice",
    "cactus": "cacti",
    "stomach": "stomachs",
    **{word: word for word in "sheep deer fish aircraft bison moose shrimp salmon squid".split()},
    **{
        word: re.sub("fe?$", "ves", word)
        for word in "knife wife leaf loaf half shelf bookshelf scarf wolf calf hoof elf".split()
    },
    **{word: f"{word}es" for word in "potato tomato mango mosquito buffalo torpedo echo".split()},
}
_MEN = {"human", "german", "caiman", "ottoman", "talisman", "shaman"}  # no -men
_PAIRS = set(
    "scissors pants trousers shorts jeans tights leggings sunglasses eyeglasses glasses spectacles "
    "goggles binoculars pliers tongs tweezers headphones pajamas overalls underpants".split()
)
_ENDS_IN_S = {"lens", "gas", "canvas", "atlas", "christmas", "compass"}  # and are one thing
_AN = ("hour", "honest", "heir")
_A = ("uni", "use", "utensil", "ukulele", "urinal", "eu", "ewe", "one")


def plain_name(name: str) -> str:
    """A category's name as a noun: ``"wall-other-merged"`` -> ``"wall"``; of ADE20K's
    ``"door;double door"`` and ``"door, double door"`` the first."""
    first = re.split(r"[,;]", name)[0].replace("_", " ")
    return " ".join(re.sub(r"(-other)?(-merged|-stuff|-other)\b", "", first).split()) or name


def plural(name: str) -> str:
    """``"hot dog"`` -> ``"hot dogs"``, ``"bottle of water"`` -> ``"bottles of water"``; names that
    are plural already, such as ``"sunglasses"``, stay."""
    words = name.split(" ")
    head = next((i for i, w in enumerate(words) if i and w in _PREPOSITIONS), len(words)) - 1
    words[head] = _plural_word(words[head])
    return " ".join(words)


def count_phrase(name: str, count: int) -> str:
    """``"a dog"``, ``"two dogs"``, ``"a pair of scissors"``; above twenty ``"many dogs"``."""
    if name.split(" ")[-1].casefold() in _PAIRS:
        return f"{count_phrase('pair', count)} of {name}"
    if count == 1:
        return name if _is_plural(name.split(" ")[-1]) else f"{_article(name)} {name}"
    return f"{_NUMBERS[count] if count < len(_NUMBERS) else 'many'} {plural(name)}"


def join_phrases(phrases: Sequence[str]) -> str:
    """``"a dog"``; ``"a dog and two cats"``; ``"a dog, two cats and a bicycle"``."""
    return " and ".join(filter(None, [", ".join(phrases[:-1]), phrases[-1]]))


def _plural_word(word: str) -> str:
    lower = word.casefold()
    if lower in _IRREGULAR:
        found = _IRREGULAR[lower]
        return found if word == lower else found.capitalize()
    if lower in _PAIRS or _is_plural(word):
        return word
    if lower.endswith("man") and lower not in _MEN:
        return word[:-2] + "en"
    if re.search("(s|x|z|ch|sh)$", lower):
        return word + "es"
    if re.search("[^aeiou]y$", lower):
        return word[:-1] + "ies"
    return word + "s"


def _is_plural(word: str) -> bool:
    lower = word.casefold()
    return bool(re.search("[^sui]s$", lower)) and lower not in _ENDS_IN_S


def _article(name: str) -> str:
    lower = name.casefold()
    spoken_vowel = lower.startswith(tuple("aeiou")) and not lower.startswith(_A)
    return "an" if spoken_vowel or lower.startswith(_AN) else "a"
