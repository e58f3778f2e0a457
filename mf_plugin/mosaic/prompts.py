"""Category -> prompt, with the characters and the tokens of its subject known by construction.

MosaicFusion, section 3.2: "a photo of a single c, d_c" with the category's name c and its
definition d_c. The subject's span is noted while the text is put together and its tokens follow
from character offsets: token ids are never searched for, so the "bath" of "bath towel, a towel for
a bath" has one right answer.
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mf_plugin.errors import InputError

if TYPE_CHECKING:
    from mf_plugin.vocabulary import Category

_WORDS = ("name", "definition", "background", "style")


@dataclass(frozen=True)
class Prompt:
    """A text and its subject, ``text[subject[0]:subject[1]]``."""

    text: str
    subject: tuple[int, int]


def build_prompt(
    category: Category,
    template: str,
    background: str = "",
    name: str | None = None,
    style: str = "",
) -> Prompt:
    """Fill in a template such as ``"a photo of a single {name}, {definition}"``.

    Args:
        category: gives {name}, the subject, and {definition}.
        template: contains {name} once; {definition}, {background} and {style} are free to use.
        background, style: give {background} and {style}.
        name: the word for {name}, such as one of ``category.clean_names``; None is the clean name.

    Returns:
        The text with the subject's characters. A word that is empty takes the comma, semicolon or
        colon before it along, at the text's start the one behind it.

    Raises:
        InputError: the template has another word, or {name} not exactly once; or the name is empty.
    """
    try:
        pieces = list(string.Formatter().parse(template))
    except ValueError as error:
        raise InputError(f"template {template!r}: {error}") from error
    fields = [field for _, field, _, _ in pieces if field is not None]
    unknown = [field for field in fields if field not in _WORDS]
    if unknown:
        raise InputError(
            f"template {template!r} has {{{unknown[0]}}}; expected {', '.join(_WORDS)}"
        )
    if fields.count("name") != 1:
        raise InputError(
            f"template {template!r}: expected {{name}} once, found {fields.count('name')}"
        )
    name = category.clean_name if name is None else name.strip()
    words = (name, category.definition.strip(), background.strip(), style.strip())
    values = dict(zip(_WORDS, words, strict=True))
    if not values["name"]:
        raise InputError(f"category {category.id} has the name {category.name!r}; expected words")

    text, subject = "", (0, 0)
    for literal, field, _, _ in pieces:
        text += literal if text else literal.lstrip(" ,;:")
        if field is None:
            continue
        if not values[field]:
            kept = text.rstrip()
            text = kept[:-1].rstrip() if kept[-1:] in (",", ";", ":") else text
            continue
        if field == "name":
            subject = (len(text), len(text) + len(values[field]))
        text += values[field]
    return Prompt(text[: max(len(text.rstrip()), subject[1])], subject)


def subject_tokens(tokenizer: Any, prompt: Prompt) -> list[int]:
    """Positions of the subject's tokens in the encoded prompt, the start token being position 0.

    Args:
        tokenizer: a CLIPTokenizer of transformers, fast (offsets are its own) or slow.
        prompt: text and character span.

    Raises:
        InputError: the subject has no token, or the tokenizer's length limit cuts it off.
    """
    start, end = prompt.subject
    name = prompt.text[start:end]
    if getattr(tokenizer, "is_fast", False):
        encoded = tokenizer(
            prompt.text, return_offsets_mapping=True, truncation=False, verbose=False
        )
        positions = [
            position
            for position, (first, last) in enumerate(encoded["offset_mapping"])
            if first < end and last > start and last > first
        ]
    else:
        positions = _positions_by_prefix(tokenizer, prompt)
    if not positions:
        raise InputError(
            f"subject {name!r} of prompt {prompt.text!r} has no token; expected at least one"
        )
    limit = tokenizer.model_max_length
    if positions[-1] > limit - 2:  # the end token takes the last place
        raise InputError(
            f"prompt {prompt.text!r}: its subject {name!r} ends at token {positions[-1]}; "
            f"expected at most {limit - 2}, where the tokenizer cuts"
        )
    return positions


def _positions_by_prefix(tokenizer: Any, prompt: Prompt) -> list[int]:
    """For tokenizers without offsets: CLIP encodes word by word, so the text up to a word's edge
    encodes as in the whole."""
    start, end = (
        len(tokenizer(prompt.text[:edge], add_special_tokens=False, verbose=False)["input_ids"])
        for edge in prompt.subject
    )
    return list(range(start + 1, end + 1))
