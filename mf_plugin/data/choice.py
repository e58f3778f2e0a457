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
    if options.no_synthetic and (folders or policy or ratio is not None or options.synthetic_only):
        raise InputError(
            "--no-synthetic excludes --synthetic, --synthetic-only, --policy and --synthetic-ratio"
        )
    if options.synthetic_only:
        if policy not in (None, "synthetic") or ratio is not None:
            raise InputError("--synthetic-only excludes --policy and --synthetic-ratio")
        policy = "synthetic"
    if ratio is None:
        return SyntheticChoice(folders, policy, None)
    ratios = as_numbers(ratio)
    if folders and len(ratios) not in (1, len(folders)):
        raise InputError(
            f"--synthetic-ratio has {len(ratios)} numbers for {len(folders)} --synthetic: "
            "expected one for all, or one for each"
        )
    return SyntheticChoice(folders, policy, ratios[0] if len(ratios) == 1 else ratios)
