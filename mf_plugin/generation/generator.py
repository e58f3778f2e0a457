"""What a generator is: a config that makes a plan, and a painter that makes the plan's groups.

    config.make_plan() -> plan -> plan.group(i) -> painter.paint(group) -> assemble(group, painted)

The unit of work is a *group*: a few canvases that are denoised in one batch. A group is a pure
function of the plan and its index, and what it becomes of the group and the painter's weights
alone, so that any process can make any group. Folder, resume, rounds, report and gallery (store.py,
run.py, rounds.py, gallery.py) know nothing but what stands here.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import mf_plugin
from mf_plugin.errors import InputError
from mf_plugin.fields import check_fields
from mf_plugin.generation.records import CanvasResult
from mf_plugin.vocabulary import GROUPS, Category, Vocabulary

MOST_IMAGES = 10_000_000  # of a run; a plan lists the main category of each
_PACKAGE = Path(mf_plugin.__file__).resolve().parent


@dataclass(frozen=True)
class UntilConfig:
    """When to stop: go on in rounds until each main category has enough, or the budget is spent.

    Args:
        accepted: objects that each main category shall have, counted over all regions.
        max_images: the budget: canvases of all rounds together.
    """

    accepted: int
    max_images: int

    def __post_init__(self) -> None:
        check_fields(self, "until ")
        for name in ("accepted", "max_images"):
            if getattr(self, name) < 1:
                raise InputError(f"until {name} is {getattr(self, name)}; expected at least 1")
        if self.max_images > MOST_IMAGES:
            raise InputError(
                f"until max_images is {self.max_images}; expected {MOST_IMAGES} at most"
            )


class GeneratorConfig(ABC):
    """Everything that decides what a dataset folder contains; a frozen dataclass.

    Args:
        num_images: total number of canvases, or None for as many as the config's other numbers say.
        until: see UntilConfig; None: the plan's first round is all.
        group_size: canvases that are denoised in one batch.
        threads: threads of torch; part of the run because sums depend on it.
        jpeg_quality: of the written images.
    """

    num_images: int | None
    until: UntilConfig | None
    group_size: int
    threads: int
    jpeg_quality: int
    seed: int

    @abstractmethod
    def make_plan(self) -> GeneratorPlan:
        """The first round, with everything checked that needs no model.

        Raises:
            InputError: something does not fit.
        """

    @property
    @abstractmethod
    def inputs(self) -> tuple[str, ...]:
        """Files, folders and hub ids that the content depends on."""

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON values; paths inside this package are written relative to it."""
        fields = dataclasses.asdict(self)  # type: ignore[call-overload]
        values: dict[str, Any] = json.loads(json.dumps(fields, default=_jsonable))
        return values

    @property
    def config_hash(self) -> str:
        """SHA-256 of all fields in canonical JSON; the same on every machine."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Round:
    """Canvases that are planned at one time.

    Args:
        main: the main category of each; None where the plan has no main categories.
    """

    first_group: int
    first_canvas: int
    main: Sequence[Category | None]


@dataclass(frozen=True)
class GeneratorPlan(ABC):
    """All canvases of a run, computed on demand; ``plan.groups[i]`` is the unit of work.

    Args:
        vocabulary: the categories of the dataset, in its order.
        main: the categories that the dataset is made for.
    """

    config: Any
    vocabulary: Vocabulary
    main: tuple[Category, ...]
    rounds: tuple[Round, ...]

    @abstractmethod
    def group(self, index: int) -> Any:
        """Group ``index`` of ``len(plan.groups)``; it has an ``index`` and can be pickled."""

    @abstractmethod
    def possible_categories(self) -> set[int]:
        """Ids of all categories that the dataset may hold objects of."""

    @abstractmethod
    def load_painter(self, device: str) -> Painter:
        """Load the models and see that they fit the plan.

        Raises:
            InputError: they do not.
            MissingExtra: the extra "diffusion" is not installed.
        """

    def identity(self) -> dict[str, Any]:
        """What the content depends on besides config, vocabulary and weights; JSON values."""
        return {}

    @property
    def num_images(self) -> int:
        """Canvases of all rounds."""
        return self.rounds[-1].first_canvas + len(self.rounds[-1].main)

    @property
    def groups(self) -> Groups:
        return Groups(self)

    @property
    def last_round(self) -> range:
        """Indices of the groups of the last round."""
        return range(self.rounds[-1].first_group, len(self.groups))

    def with_round(self, main: Sequence[Category]) -> Self:
        """The plan and one more round, of a canvas for each of ``main``."""
        another = Round(len(self.groups), self.num_images, tuple(main))
        return dataclasses.replace(self, rounds=(*self.rounds, another))

    def canvas_numbers(self, index: int) -> range:
        """Numbers of the canvases of group ``index``."""
        current = self.round_of(index)
        size = self.config.group_size
        first = current.first_canvas + (index - current.first_group) * size
        return range(first, min(first + size, current.first_canvas + len(current.main)))

    def round_of(self, group: int) -> Round:
        """The round that a group belongs to."""
        return next(r for r in reversed(self.rounds) if r.first_group <= group)


@dataclass(frozen=True)
class Groups(Sequence[Any]):
    """The groups of a plan as a sequence that holds none of them."""

    plan: GeneratorPlan

    def __len__(self) -> int:
        last, size = self.plan.rounds[-1], int(self.plan.config.group_size)
        return last.first_group + math.ceil(len(last.main) / size)

    def __getitem__(self, index: int) -> Any:  # type: ignore[override]
        if not 0 <= index < len(self):
            raise IndexError(f"group {index} of {len(self)}")
        return self.plan.group(index)


class Assembler(Protocol):
    """From what was painted to kept objects: a pure function, which a worker process can run.

    Attributes:
        jpeg_quality: of the written images.
        beside: whether it may run in a process of its own; not so where it shares the painter's
            device. It can then be pickled.
    """

    @property
    def jpeg_quality(self) -> int: ...

    @property
    def beside(self) -> bool: ...

    def __call__(self, group: Any, painted: Any) -> list[CanvasResult]:
        """The group's canvases, in its order."""
        ...


class Painter(Protocol):
    """The models of a run.

    Attributes:
        assembler: makes canvases of what is painted.
    """

    @property
    def assembler(self) -> Assembler: ...

    def weights(self) -> Any:
        """SHA-256 of the weights, or one for each of several models by name; JSON values."""
        ...

    def paint(self, group: Any) -> Any:
        """Pixels, and whatever the assembler needs beside them: arrays, which can be pickled."""
        ...


def check_budget(config: GeneratorConfig, count: int, main: Sequence[Category]) -> None:
    """See that the first round is not over the budget of canvases, nor over what a run can have.

    Raises:
        InputError: it is.
    """
    if count > MOST_IMAGES:
        raise InputError(
            f"{count} canvases for {len(main)} main categories; expected {MOST_IMAGES} at most"
        )
    if config.until is not None and count > config.until.max_images:
        raise InputError(
            f"until max_images is {config.until.max_images}; expected at least {count}, "
            f"the canvases of the first round ({len(main)} main categories)"
        )


def select_categories(
    vocabulary: Vocabulary, names: Iterable[str], field: str
) -> tuple[Category, ...]:
    """Categories of the groups ("r", "c", "f") and names, each once, in the vocabulary's order.

    Args:
        field: of the config, for errors.

    Raises:
        InputError: there is no such name, or none of a group.
    """
    chosen: set[int] = set()
    for name in names:
        if name in GROUPS:
            found = vocabulary.group(name)
            if not found and field == "main_categories":
                raise InputError(f"{field}: the vocabulary has no category of frequency {name!r}")
        else:
            found = [vocabulary.by_name(name)]
        chosen.update(category.id for category in found)
    if not chosen:
        raise InputError(f"{field} is {tuple(names)!r}; the vocabulary has none of these")
    return tuple(category for category in vocabulary if category.id in chosen)


def _jsonable(value: object) -> str:
    if not isinstance(value, Path):
        raise TypeError(f"a config holds {type(value).__name__}; expected numbers, text and paths")
    resolved = value.resolve()
    if resolved.is_relative_to(_PACKAGE):
        return (Path(_PACKAGE.name) / resolved.relative_to(_PACKAGE)).as_posix()
    return value.as_posix()
