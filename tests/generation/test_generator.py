"""A generator of its own through the shared run: nothing there knows MosaicFusion."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")

from mf_plugin.errors import InputError
from mf_plugin.generation.config import UntilConfig
from mf_plugin.generation.generator import (
    GeneratorConfig,
    GeneratorPlan,
    Round,
    select_categories,
)
from mf_plugin.generation.records import CanvasResult, ObjectResult
from mf_plugin.generation.run import generate
from mf_plugin.lvis.io import read_lvis, validate_lvis
from mf_plugin.vocabulary import Category, Vocabulary

VOCABULARY = Vocabulary([Category(2, "dog", frequency="r"), Category(5, "cat", frequency="f")])


@dataclass(frozen=True)
class SquaresConfig(GeneratorConfig):
    """Squares of one colour; every third canvas shows nothing."""

    num_images: int | None = 5
    until: UntilConfig | None = None
    group_size: int = 2
    threads: int = 1
    jpeg_quality: int = 90
    seed: int = 0

    def make_plan(self) -> SquaresPlan:
        main = select_categories(VOCABULARY, ("r",), "main_categories")
        first = Round(0, 0, (main[0],) * (self.num_images or 1))
        return SquaresPlan(self, VOCABULARY, main, (first,))

    @property
    def inputs(self) -> tuple[str, ...]:
        return ()


@dataclass(frozen=True)
class SquaresGroup:
    index: int
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class SquaresPlan(GeneratorPlan):
    def group(self, index: int) -> SquaresGroup:
        return SquaresGroup(index, tuple(self.canvas_numbers(index)))

    def possible_categories(self) -> set[int]:
        return {2}

    def identity(self) -> dict[str, Any]:
        return {"squares": "of 8 pixels"}

    def load_painter(self, device: str) -> SquaresPainter:
        return SquaresPainter()


class SquaresPainter:
    def __init__(self) -> None:
        self.assembler = SquaresAssembler()

    def weights(self) -> dict[str, str]:
        return {"brush": "b"}

    def paint(self, group: SquaresGroup) -> np.ndarray:
        return np.full((len(group.numbers), 16, 16, 3), 10 * group.index, np.uint8)


@dataclass(frozen=True)
class SquaresAssembler:
    jpeg_quality: int = 90
    beside: bool = False  # a worker process could not import this file

    def __call__(self, group: SquaresGroup, painted: np.ndarray) -> list[CanvasResult]:
        return [self._assemble(*item) for item in zip(group.numbers, painted, strict=True)]

    def _assemble(self, number: int, image: np.ndarray) -> CanvasResult:
        planned = {"index": number, "caption": "a dog", "category_ids": [2], "source_image_id": 9}
        if number % 3 == 2:
            return CanvasResult({**planned, "category_ids": []}, None, (), reason="empty")
        mask = np.zeros((16, 16), bool)
        mask[4:12, 4:12] = True
        return CanvasResult(
            {**planned, "not_exhaustive": [5]},
            image,
            (ObjectResult(2, "a dog", mask),),
            labels=mask.astype(np.uint8),
        )


def test_a_generator_of_its_own(tmp_path):
    folder = generate(SquaresConfig(), tmp_path / "set")
    data = read_lvis(folder / "annotations.json")
    validate_lvis(data, folder)
    assert [image["id"] for image in data["images"]] == [1, 2, 4, 5]
    assert data["images"][0]["source_image_id"] == 9
    assert data["images"][0]["not_exhaustive_category_ids"] == [5]
    provenance = json.loads((folder / "dataset.json").read_text())
    assert provenance["squares"] == "of 8 pixels"
    assert provenance["weights_sha256"] == {"brush": "b"}
    assert provenance["canvas_rejections"] == {"empty": 1}
    labels = np.asarray(Image.open(folder / "labels/000000000001.png"))
    assert labels.sum() == 64
    lines = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    assert lines[0]["label_file"] == "labels/000000000001.png" and "reason" in lines[2]


def test_rounds_of_another_generator(tmp_path):
    config = SquaresConfig(num_images=2, until=UntilConfig(accepted=5, max_images=20))
    folder = generate(config, tmp_path / "set")
    provenance = json.loads((folder / "dataset.json").read_text())
    assert provenance["rounds"][0] == 2 and provenance["counts"]["annotations"] >= 5


def test_a_lost_label_map_is_made_again(tmp_path, monkeypatch):
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("mf_plugin.generation.run.DatasetStore.finalise", die)
        with pytest.raises(KeyboardInterrupt):
            generate(SquaresConfig(), tmp_path / "set")
    (tmp_path / "set/labels/000000000001.png").unlink()
    folder = generate(SquaresConfig(), tmp_path / "set")
    assert (folder / "labels/000000000001.png").is_file()


def test_another_config_of_another_generator_is_refused(tmp_path):
    generate(SquaresConfig(), tmp_path / "set")
    with pytest.raises(InputError, match=r"config.group_size: 2 -> 3"):
        generate(dataclasses.replace(SquaresConfig(), group_size=3), tmp_path / "set")


def test_groups_are_a_sequence_that_holds_none():
    groups: Sequence[SquaresGroup] = SquaresConfig().make_plan().groups
    assert [group.numbers for group in groups] == [(0, 1), (2, 3), (4,)]
    with pytest.raises(IndexError, match="group 3 of 3"):
        groups[3]
