"""The one line that a run shows while it works: how fast, how much is left, what is kept."""

from __future__ import annotations

from collections import Counter

from tqdm import tqdm

from mf_plugin.generation.records import ACCEPTED

_LINE = "{desc}: {n_fmt}/{total_fmt} canvases, {rate_noinv_fmt}, {remaining} left{postfix}"


class Progress:
    """Context manager: a line on stderr, ``"generating: 6/120 canvases, 1.25 canvases/s, 01:31
    left, accepted 17, rejected 7: too_small 5, no_component 2"``.

    Args:
        canvases: planned, done ones among them.
    """

    def __init__(self, canvases: int) -> None:
        self._outcomes: Counter[str] = Counter()
        self._bar = tqdm(
            desc="generating",
            unit=" canvases",
            total=canvases,
            postfix=describe_outcomes(self._outcomes),
            bar_format=_LINE,
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def extend(self, canvases: int) -> None:
        """The plan has grown to so many canvases in all."""
        self._bar.total = canvases

    def add(
        self, canvases: int, outcomes: Counter[str], earlier: bool = False, status: str = ""
    ) -> None:
        """Canvases are done.

        Args:
            outcomes: their objects by outcome.
            earlier: done by an earlier process: they count, and not for the speed.
            status: of the workers, in a few words.
        """
        self._outcomes += outcomes
        text = "; ".join(filter(None, (describe_outcomes(self._outcomes), status)))
        self._bar.set_postfix_str(text, refresh=False)
        if earlier:
            self._bar.initial += canvases
            self._bar.n += canvases
        else:
            self._bar.update(canvases)


def describe_outcomes(outcomes: Counter[str]) -> str:
    """``"accepted 17, rejected 7: too_small 5, no_component 2"``, the commonest reason first."""
    reasons = Counter({key: n for key, n in outcomes.items() if key != ACCEPTED and n})
    text = f"accepted {outcomes[ACCEPTED]}, rejected {reasons.total()}"
    named = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    return ": ".join(filter(None, (text, ", ".join(f"{key} {n}" for key, n in named))))
