"""A vocabulary of four categories and a config that runs the tiny real model in a second."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mf_plugin.generation.config import GenerationConfig
from mf_plugin.generation.filters import FilterConfig
from mf_plugin.vocabulary import Vocabulary

CATEGORIES = [
    {"id": 3, "name": "bath_towel", "frequency": "r", "def": "a towel for a bath"},
    {"id": 5, "name": "cat", "frequency": "r", "def": "a small <b>animal</b>"},
    {"id": 9, "name": "bow_(weapon)", "frequency": "c", "def": "shoots arrows"},
    {"id": 11, "name": "tub", "frequency": "f", "def": "for a bath"},
]


@pytest.fixture
def vocabulary() -> Vocabulary:
    return Vocabulary.from_categories(CATEGORIES)


@pytest.fixture(scope="session")
def vocabulary_json(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("vocabulary") / "lvis.json"
    path.write_text(json.dumps({"images": [], "annotations": [], "categories": CATEGORIES}))
    return path


@pytest.fixture
def make_config(vocabulary_json) -> Callable[..., GenerationConfig]:
    """A config for the tiny model; random weights give scattered masks, so the filters are wide."""

    def make(**changes) -> GenerationConfig:
        values = dict(
            vocabulary=str(vocabulary_json),
            model="no/model",
            images_per_category=3,
            canvas=(64, 64),
            overlap=(8, 8),
            multiple=4,
            steps=2,
            guidance=3.0,
            template="a {name} on {background}",
            backgrounds=("red", "sand"),
            filters=FilterConfig(min_area=0.02, max_area=0.9, components=9),
            group_size=2,
            seed=7,
        )
        return GenerationConfig(**{**values, **changes})

    return make
