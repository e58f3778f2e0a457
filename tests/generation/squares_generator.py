"""A generator without models whose groups can fail in every way."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mf_plugin.errors import InputError
from mf_plugin.generation.config import UntilConfig
from mf_plugin.generation.generator import GeneratorConfig, GeneratorPlan, Round, select_categories
from mf_plugin.generation.records import CanvasResult, ObjectResult
from mf_plugin.vocabulary import Category, Vocabulary

VOCABULARY = Vocabulary([Category(2, "dog", frequency="r"), Category(5, "cat", frequency="f")])


@dataclass(frozen=True)
class SquaresConfig(GeneratorConfig):
    """Squares of one colour; every third canvas shows nothing.

    Args:
        seconds: that painting a group takes.
        killed: group -> how often its worker's process is killed.
        broken: group -> how often painting it raises.
        hung: group -> how often painting it never ends.
        unloadable: how many workers cannot load their models; -1: the models are bad.
        marks: a folder where workers note what happened.
    """

    marks: Path = Path()
    num_images: int | None = 11
    until: UntilConfig | None = None
    group_size: int = 2
    threads: int = 1
    jpeg_quality: int = 90
    seed: int = 0
    seconds: float = 0.0
    killed: dict[int, int] = field(default_factory=dict)
    broken: dict[int, int] = field(default_factory=dict)
    hung: dict[int, int] = field(default_factory=dict)
    unloadable: int = 0
    strange: int = 0

    def make_plan(self) -> SquaresPlan:
        main = select_categories(VOCABULARY, ("r",), "main_categories")
        first = Round(0, 0, (main[0],) * (self.num_images or 1))
        return SquaresPlan(self, VOCABULARY, main, (first,))

    def to_json(self) -> dict[str, Any]:
        until = self.until and [self.until.accepted]
        return {"num_images": self.num_images, "until": until, "group_size": self.group_size}

    @property
    def inputs(self) -> tuple[str, ...]:
        return ()

    def happens(self, what: str, times: int) -> bool:
        """Whether it has happened less than so many times, over all processes; it has, then."""
        for number in range(times):
            try:
                (self.marks / f"{what}-{number}").touch(exist_ok=False)
            except FileExistsError:
                continue
            return True
        return False


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
        if self.config.unloadable == -1:
            raise InputError("model 'brush' is bad")
        if self.config.happens("unloadable", self.config.unloadable):
            raise MemoryError("no memory for the brush")
        return SquaresPainter(self.config)


class SquaresPainter:
    def __init__(self, config: SquaresConfig) -> None:
        self._config = config
        self.assembler = SquaresAssembler()
        self._strange = config.happens("strange", config.strange)

    def weights(self) -> dict[str, str]:
        return {"brush": "of another" if self._strange else "b"}

    def paint(self, group: SquaresGroup) -> np.ndarray:
        config = self._config
        time.sleep(config.seconds)
        if config.happens(f"killed-{group.index}", config.killed.get(group.index, 0)):
            os.kill(os.getpid(), signal.SIGKILL)
        if config.happens(f"hung-{group.index}", config.hung.get(group.index, 0)):
            time.sleep(3600)
        if config.happens(f"broken-{group.index}", config.broken.get(group.index, 0)):
            raise ZeroDivisionError(f"the brush of group {group.index} is broken")
        return np.full((len(group.numbers), 16, 16, 3), 10 * group.index, np.uint8)


@dataclass(frozen=True)
class SquaresAssembler:
    jpeg_quality: int = 90
    beside: bool = False

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
