"""The colours of a colour map: one for each category, one for the background, one for borders.

SegGen (arXiv 2311.03355, appendix A2) reads a mask back by the nearest colour, so what matters is
how far the colours lie from each other. They are taken from a regular lattice in the RGB cube: the
distance between any two is known, not searched for. Distances are Euclidean, in RGB of 0 to 255.
Shapes: K categories, L points of a lattice.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from mf_plugin.errors import InputError, shown
from mf_plugin.lvis.validate import are_numbers, is_id

logger = logging.getLogger(__name__)

Color = tuple[int, int, int]
Colors = npt.NDArray[np.uint8]

# The colours of 133 categories (COCO panoptic) keep it; what an autoencoder adds is mostly below
# half of it (docs/seggen.md).
MIN_DISTANCE = 60.0
_MOST_PLANES = 17  # of a lattice along an axis: 16 grey levels between two
_MOST_IDS = _MOST_PLANES**3 - 2  # as many as `make_palette` can colour, at most
_CENTRINGS = ("simple", "body", "face")
_BORDER_FACTOR = 1.5  # borders are thin and come out pale: so much farther from all categories


@dataclass(frozen=True, eq=False)
class Palette:
    """Which colour stands for what.

    Attributes:
        ids: category ids, increasing.
        colors: uint8[K, 3], one for each id.
        background: what no segment covers.
        border: edges of segments.
        min_distance: between any two of all these colours.
        rendered: uint8[K + 2, 3], ``all_colors`` as an autoencoder renders them
            (`calibrate_palette`); None: as they are.
    """

    ids: tuple[int, ...]
    colors: Colors
    background: Color
    border: Color
    min_distance: float
    rendered: Colors | None = None

    def __post_init__(self) -> None:
        self.colors.setflags(write=False)

    @cached_property
    def all_colors(self) -> Colors:
        """uint8[K + 2, 3]: the categories', then background, then border."""
        rest = np.array([self.background, self.border], np.uint8)
        return np.concatenate([self.colors, rest])

    @property
    def seen_colors(self) -> Colors:
        """uint8[K + 2, 3]: what ``all_colors`` are read as."""
        return self.all_colors if self.rendered is None else self.rendered

    @cached_property
    def index(self) -> dict[int, int]:
        """Category id -> its place in ``colors``."""
        return {category_id: place for place, category_id in enumerate(self.ids)}

    def color(self, category_id: int) -> Color:
        """The colour of a category; InputError names an id that has none."""
        if category_id not in self.index:
            raise InputError(
                f"category id {category_id!r} has no colour: the palette has {len(self.ids)} ids "
                f"from {self.ids[0]} to {self.ids[-1]}"
            )
        red, green, blue = self.colors[self.index[category_id]].tolist()
        return red, green, blue

    def only(self, category_ids: Collection[int]) -> Palette:
        """The palette of some of its categories, in their colours and as far apart as all are.

        Raises:
            InputError: none, or one that has no colour.
        """
        if not category_ids:
            raise InputError("no category ids: expected at least one of the palette's")
        places = sorted(self.index[i] for i in set(category_ids) if self.color(i))
        rendered = self.rendered
        if rendered is not None:
            rendered = rendered[[*places, len(self.ids), len(self.ids) + 1]]
        ids = tuple(self.ids[place] for place in places)
        return replace(self, ids=ids, colors=self.colors[places], rendered=rendered)

    def to_json(self) -> dict[str, Any]:
        """As json; `from_json` reads it."""
        return {
            "ids": list(self.ids),
            "colors": self.colors.tolist(),
            "background": list(self.background),
            "border": list(self.border),
            "min_distance": self.min_distance,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Palette:
        """Read what `to_json` wrote.

        Raises:
            InputError: something is missing, no colour, or two colours are nearer than they say.
        """
        try:
            ids = tuple(data["ids"])
            listed = [*data["colors"], data["background"], data["border"]]
            distance = data["min_distance"]
        except (KeyError, TypeError) as error:
            raise InputError(
                f"palette {shown(data)}: expected ids, colors, background, border and "
                f"min_distance ({type(error).__name__}: {error})"
            ) from None
        if not ids or not all(map(is_id, ids)) or list(ids) != sorted(set(ids)):
            raise InputError(f"palette ids {shown(ids)}: expected increasing category ids")
        if len(ids) > _MOST_IDS:
            raise InputError(f"palette of {len(ids)} ids: expected {_MOST_IDS} at most")
        wrong = [color for color in listed if not _is_color(color)]
        if wrong or len(listed) != len(ids) + 2:
            detail = f"the colour {shown(wrong[0])}" if wrong else f"{len(listed) - 2} colours"
            raise InputError(
                f"palette of {len(ids)} ids with {detail}: expected one red, green, blue of 0 to "
                "255 for each id, the background and the border"
            )
        if not are_numbers([distance]) or not 0 <= distance < math.inf:
            raise InputError(f"palette min_distance is {shown(distance)}: expected 0 or more")
        triples = np.array(listed, np.int64)
        found = _least_distance(triples)
        if found < distance - 1e-6 or found == 0:
            raise InputError(
                f"palette colours are {found:.1f} apart: expected at least {distance:.1f}"
            )
        colors = triples.astype(np.uint8)
        background, border = (tuple(c) for c in colors[-2:].tolist())
        return cls(ids, colors[:-2], background, border, float(distance))

    def check_same(self, other: Palette, what: str = "palette") -> None:
        """InputError with the first difference unless both have the same ids and colours."""
        if self == other:
            return
        ours, theirs = set(self.ids), set(other.ids)
        if ours != theirs:
            detail = (
                f"{len(theirs)} categories, {len(theirs - ours)} of them unknown here; expected "
                f"the {len(ours)} from id {self.ids[0]} to {self.ids[-1]}"
            )
        elif (other.colors != self.colors).any():
            place = int((other.colors != self.colors).any(1).argmax())
            detail = (
                f"category id {self.ids[place]} as {other.colors[place].tolist()}; expected "
                f"{self.colors[place].tolist()}"
            )
        else:
            detail = (
                f"background {other.background} and border {other.border}; expected "
                f"{self.background} and {self.border}"
            )
        raise InputError(f"{what} is another one: it has {detail}")

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Palette)
            and self.ids == other.ids
            and np.array_equal(self.all_colors, other.all_colors)
        )

    def __hash__(self) -> int:
        return hash((self.ids, self.all_colors.tobytes()))


def make_palette(category_ids: Sequence[int], *, min_distance: float = MIN_DISTANCE) -> Palette:
    """Colours for a vocabulary, as far apart as their number allows.

    They depend on the set of ids alone. Of a lattice the points farthest from what is taken come
    first, so that a few categories get plainly different colours. The border's keeps half as much
    distance again from every category's.

    Args:
        category_ids: unique, in any order.
        min_distance: what any two colours must keep. Below the default, colours that an
            autoencoder can still confuse are allowed, with a warning.

    Raises:
        InputError: no id, an id twice, or more categories than ``min_distance`` leaves room for.
    """
    ids = tuple(sorted(int(i) for i in category_ids))
    if not ids:
        raise InputError("no category ids: expected at least one to colour")
    if len(set(ids)) < len(ids):
        twice = next(i for i, j in itertools.pairwise(ids) if i == j)
        raise InputError(f"category id {twice} appears twice: expected unique ids")
    chosen = _choose_colors(len(ids))
    found = _least_distance(chosen)
    if found < min_distance:
        raise InputError(
            f"{len(ids)} categories leave colours {found:.1f} apart; expected {min_distance:g} or "
            f"more, which holds up to {_most_categories(min_distance)} categories. A smaller "
            "min_distance takes more, at the price of pixels read back as another category"
        )
    if found < MIN_DISTANCE:
        logger.warning(
            "%d categories: colours are %.1f apart, below the %.0f that survive an autoencoder "
            "nearly everywhere; pixels, small segments first, will be read back as other "
            "categories",
            len(ids), found, MIN_DISTANCE,
        )  # fmt: skip
    background, border = (tuple(c) for c in chosen[:2].tolist())
    return Palette(ids, chosen[2:], background, border, found)


@dataclass(frozen=True)
class _Lattice:
    """A lattice that fills the cube from corner to corner.

    Attributes:
        counts: planes of points along each axis.
        centring: which points of the grid of these planes there are, see ``_CENTRINGS``.
        size: how many points.
        distance: between neighbours, before colours are rounded to whole numbers.
    """

    counts: tuple[int, int, int]
    centring: str
    size: int
    distance: float

    def points(self) -> Colors:
        """uint8[L, 3], black first."""
        planes = [np.arange(count) for count in self.counts]
        grid = np.stack(np.meshgrid(*planes, indexing="ij"), -1).reshape(-1, 3)
        if self.centring == "body":
            grid = grid[(grid % 2 == grid[:, :1] % 2).all(1)]
        elif self.centring == "face":
            grid = grid[grid.sum(1) % 2 == 0]
        levels: npt.NDArray[np.float64] = np.rint(grid * 255 / (np.array(self.counts) - 1))
        return levels.astype(np.uint8)


def _lattice(counts: tuple[int, int, int], centring: str) -> _Lattice:
    """Its size and distance, from the vectors between neighbours."""
    x, y, z = (255 / (count - 1) for count in counts)
    if centring == "simple":
        return _Lattice(counts, centring, math.prod(counts), min(x, y, z))
    twice = [2 * step for count, step in zip(counts, (x, y, z), strict=True) if count > 2]
    if centring == "body":
        size = math.prod((n + 1) // 2 for n in counts) + math.prod(n // 2 for n in counts)
        return _Lattice(counts, centring, size, min([math.hypot(x, y, z), *twice]))
    across = [math.hypot(x, y), math.hypot(x, z), math.hypot(y, z)]
    return _Lattice(counts, centring, (math.prod(counts) + 1) // 2, min([*across, *twice]))


@cache
def _lattices() -> tuple[_Lattice, ...]:
    """All of them, farthest apart first, of equal ones the smallest."""
    found = [
        _lattice((a, b, c), centring)
        for c, b, a in itertools.combinations_with_replacement(range(2, _MOST_PLANES + 1), 3)
        for centring in _CENTRINGS
    ]
    return tuple(sorted(found, key=lambda lattice: (-lattice.distance, lattice.size)))


def _choose_colors(count: int) -> Colors:
    """uint8[count + 2, 3]: background, border, then those of the categories."""
    for lattice in _lattices():
        if lattice.size >= count + 2:
            points = _free_points(lattice)
            if len(points) >= count + 2:
                return points[_spread(points, count + 2)]
    most = max(lattice.size for lattice in _lattices())
    raise InputError(f"{count} categories: expected fewer than {most}, which 8 bits tell apart")


def _free_points(lattice: _Lattice) -> Colors:
    """Its points, background and border first, without those too near the border."""
    points = lattice.points()
    values = points.astype(np.int64)
    border = int((values**2).sum(1).argmax())
    away = ((values - values[border]) ** 2).sum(1) > (_BORDER_FACTOR * lattice.distance) ** 2
    away[[0, border]] = False
    return np.concatenate([points[[0, border]], points[away]])


def _most_categories(min_distance: float) -> int:
    """How many categories keep this distance."""
    wide = [lattice for lattice in _lattices() if lattice.distance >= min_distance + 1]
    return max((len(_free_points(lattice)) - 2 for lattice in wide), default=0)


def _spread(points: Colors, count: int) -> list[int]:
    """Farthest points first, from the first two on; of equal ones the first."""
    values = points.astype(np.int64)
    order = [0, 1]
    nearest = ((values[:, None] - values[None, :2]) ** 2).sum(-1).min(1)
    while len(order) < count:
        order.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, ((values - values[order[-1]]) ** 2).sum(1))
    return order


def _least_distance(colors: npt.NDArray[Any]) -> float:
    values = colors.astype(np.int64)
    squared = ((values[:, None] - values[None]) ** 2).sum(-1)
    np.fill_diagonal(squared, np.iinfo(np.int64).max)
    return float(np.sqrt(squared.min()))


def _is_color(value: object) -> bool:
    return (
        isinstance(value, (list, tuple))
        and len(value) == 3
        and all(type(level) is int and 0 <= level <= 255 for level in value)
    )
