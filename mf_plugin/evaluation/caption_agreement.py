"""How well a painted mask keeps to its caption.

Of N captions and the categories of the segments painted for each; a caption's categories and a
map's are multisets, once for each object:

    class recall     share of the categories that captions name, of which the map has a segment
    class precision  share of the categories that maps have, which the caption names
    class agreement  mean over captions of the Jaccard index of the two sets of categories
    counts agree     share of the categories named, of which the map has as many segments as the
                     caption says objects (a plural without a number: two)

Published SegGen reports no such number; class recall is the one to read first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mf_plugin.errors import InputError
from mf_plugin.evaluation.bootstrap import draw_weights
from mf_plugin.evaluation.valid_instances import INTERVAL

_COLUMNS = ("both", "named", "painted", "jaccard", "captions", "same_count")
SHARES = {
    "class_recall": ("both", "named"),
    "class_precision": ("both", "painted"),
    "class_agreement": ("jaccard", "captions"),
    "counts_agree": ("same_count", "named"),
}


def measure_agreement(
    named: Sequence[Sequence[int]],
    painted: Sequence[Sequence[int]],
    *,
    num_draws: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Compare captions with the segments painted for them.

    Args:
        named: category ids that each caption names (`captions.expect_categories`).
        painted: category ids of the segments of each map; none is a map without any segment.
        num_draws, seed: of the 95 % intervals, over resampled captions.

    Returns:
        JSON: "captions" and the numbers of the module's head as [share, low, high] in 0..1;
        a share of nothing is null. "by_category" {id: [found, named]} counts captions.

    Raises:
        InputError: other numbers of captions and maps, none at all, or a caption without category.
    """
    if len(named) != len(painted) or not named:
        raise InputError(
            f"{len(named)} captions and {len(painted)} maps: expected one each, at least one"
        )
    rows = np.zeros((len(named), len(_COLUMNS)))
    by_category: dict[int, list[int]] = {}
    for row, (said, drawn) in enumerate(zip(named, painted, strict=True)):
        if not said:
            raise InputError(f"caption {row} names no known category: expected at least one")
        wanted, have = Counter(said), Counter(drawn)
        both = wanted.keys() & have.keys()
        rows[row] = (
            len(both),
            len(wanted),
            len(have),
            len(both) / len(wanted.keys() | have.keys()),
            1,
            sum(wanted[c] == have[c] for c in both),
        )
        for category_id in wanted:
            tally = by_category.setdefault(category_id, [0, 0])
            tally[0] += category_id in have
            tally[1] += 1
    weights = draw_weights(len(rows), num_draws, np.random.default_rng(seed))
    drawn_sums = weights.astype(np.float64) @ rows
    report: dict[str, Any] = {"captions": len(named)}
    for name, (top, bottom) in SHARES.items():
        report[name] = _share(rows.sum(0), drawn_sums, _COLUMNS.index(top), _COLUMNS.index(bottom))
    report["by_category"] = {c: by_category[c] for c in sorted(by_category)}
    return report


def _share(
    total: npt.NDArray[np.float64], drawn: npt.NDArray[np.float64], top: int, bottom: int
) -> list[float] | None:
    if not total[bottom]:
        return None
    some = drawn[drawn[:, bottom] > 0]
    low, high = np.quantile(some[:, top] / some[:, bottom], INTERVAL)
    values = (total[top] / total[bottom], low, high)
    return [round(float(value), 4) for value in values]
