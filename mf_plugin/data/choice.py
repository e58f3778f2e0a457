"""What a command line says about synthetic data, the same for both frameworks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mf_plugin.data.replacement import as_numbers
from mf_plugin.errors import InputError


class SyntheticOptions(Protocol):
    """The options that say so: both adapters' ``TrainingOptions``."""

    @property
    def synthetic(self) -> str | Sequence[str] | None: ...

    @property
    def no_synthetic(self) -> bool: ...

    @property
    def synthetic_only(self) -> bool: ...

    @property
    def policy(self) -> str | None: ...

    @property
    def synthetic_ratio(self) -> float | Sequence[float] | None: ...


@dataclass(frozen=True)
class SyntheticChoice:
    """The synthetic data of a run.

    Attributes:
        folders: dataset folders or generation configs; none leaves those of the config.
        policy: see `sampling.repeat_factors`; None leaves the config's.
        ratio: one for all folders, or one for each; None where the policy has none.
    """

    folders: tuple[str, ...]
    policy: str | None
    ratio: float | tuple[float, ...] | None


def choose_synthetic(options: SyntheticOptions) -> SyntheticChoice:
    """
    Raises:
        InputError: the options contradict one another.
    """
    given = options.synthetic or ()
    folders = (given,) if isinstance(given, str) else tuple(given)
    policy, ratio = options.policy, options.synthetic_ratio
    ratios = () if ratio is None else as_numbers(ratio)
    how = [f"--policy {policy}"] if policy else []
    how += [f"--synthetic-ratio {' '.join(map(str, ratios))}"] if ratios else []
    if options.no_synthetic:
        what = [f"--synthetic {folder}" for folder in folders]
        what += ["--synthetic-only"] if options.synthetic_only else []
        _expect_none("--no-synthetic", what + how)
    if options.synthetic_only:
        other = [option for option in how if option != "--policy synthetic"]
        _expect_none("--synthetic-only", other)
        policy = "synthetic"
    if ratio is None:
        return SyntheticChoice(folders, policy, None)
    if folders and len(ratios) not in (1, len(folders)):
        raise InputError(
            f"--synthetic-ratio has {len(ratios)} numbers for {len(folders)} --synthetic: "
            "expected one for all, or one for each"
        )
    return SyntheticChoice(folders, policy, ratios[0] if len(ratios) == 1 else ratios)


def _expect_none(option: str, given: Sequence[str]) -> None:
    if given:
        raise InputError(f"{option} excludes {', '.join(given)}: expected one or the other")
