"""What a benchmark compares: arms, detectors and seeds, from a Python file.

A config file defines ``config = BenchmarkConfig(...)``; a child imports its parent's and states the
difference with ``dataclasses.replace``, as generation configs do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from mf_plugin.errors import InputError
from mf_plugin.fields import check_fields
from mf_plugin.generation.config import load_config_file

POLICIES = ("joint", "real", "ratio", "replace")
WITH_RATIO = ("ratio", "replace")
TRAIN_SPLITS = {"real": "train", "novel": "train-novel"}  # Arm.train -> split of mini-LVIS
SPLITS = ("minival", "val")
AIMS = ("gain", "share")


@dataclass(frozen=True)
class Arm:
    """One training set, and how it is sampled.

    Args:
        name: in tables, file names and ``--only``.
        label: in tables instead of the name; says what it is.
        synthetic: generation config, or a dataset folder; several of them are mixed; None: real
            images alone.
        oracle: whether real renderings take the place of ``synthetic``'s images: as many, in the
            styles that the diffusion model has seen.
        policy: how repeat factors count synthetic images; None: the detector config's own.
        ratio: their share of an epoch for the policy "ratio", the probability that a real image
            gives way to one for "replace"; for several sets one number for all, or one of each.
        train: "real", or "novel": without any annotation of a rare category.
        suffix: end of the detector config's name, as "_copy-paste".
        options: further ``--cfg-options`` of the training.
        baseline: arm from which this one's gain is counted; None: the benchmark's.
        seeds: this arm's, of the benchmark's; None: all of them.

    Raises:
        InputError: a value is out of its range, or two contradict each other.
    """

    name: str
    label: str = ""
    synthetic: str | tuple[str, ...] | None = None
    oracle: bool = False
    policy: str | None = None
    ratio: float | tuple[float, ...] | None = None
    train: str = "real"
    suffix: str = ""
    options: tuple[str, ...] = ()
    baseline: str | None = None
    seeds: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        check_fields(self, "arm: ")
        for name, holds, expected in (
            ("policy", self.policy in (None, *POLICIES), f"one of {POLICIES}"),
            ("train", self.train in TRAIN_SPLITS, f"one of {tuple(TRAIN_SPLITS)}"),
            ("policy", not self.policy or self.synthetic, "None without synthetic images"),
            (
                "oracle",
                not self.oracle or len(self.sets) == 1,
                "one dataset in `synthetic` to match",
            ),
            (
                "ratio",
                bool(self.ratios) == (self.policy in WITH_RATIO),
                f"one with a policy of {WITH_RATIO}",
            ),
            ("ratio", all(0 < ratio < 1 for ratio in self.ratios), "shares between 0 and 1"),
            (
                "ratio",
                len(self.ratios) in (0, 1, len(self.sets)),
                f"one, or one of each of the {len(self.sets)} sets",
            ),
        ):
            if not holds:
                value = getattr(self, name)
                raise InputError(f"arm {self.name}: {name} is {value!r}; expected {expected}")

    @property
    def sets(self) -> tuple[str, ...]:
        """The synthetic sets, each a generation config or a folder."""
        if self.synthetic is None:
            return ()
        return self.synthetic if isinstance(self.synthetic, tuple) else (self.synthetic,)

    @property
    def ratios(self) -> tuple[float, ...]:
        """The numbers of ``ratio``; none where it is None."""
        if self.ratio is None:
            return ()
        return self.ratio if isinstance(self.ratio, tuple) else (self.ratio,)


@dataclass(frozen=True)
class Detector:
    """A detector and its schedule.

    Args:
        name: in tables, file names and ``--detectors``.
        title: of progress and log.
        config: path of its MMDetection config, less an arm's suffix and ".py".
        start: each training goes on from the weights that this detector has after its training
            on the real images alone, with the same seed; None: it starts as its config says.
    """

    name: str
    title: str
    config: str
    start: Detector | None = None

    def __post_init__(self) -> None:
        check_fields(self, "detector: ")

    def config_of(self, arm: Arm) -> str:
        """The config file that an arm is trained with."""
        return f"{self.config}{arm.suffix}.py"


@dataclass(frozen=True)
class Target:
    """What a mean over seeds shall reach, mask AP.

    Args:
        detector, arm: names.
        metric: "AP", "APr", "APc" or "APf".
        at_least: percent of AP; of the oracle's gain for the aim "share".
        aim: "gain": mean less that of ``over``; "share": that gain over the oracle's.
        over: arm from which the gain is counted; None: the arm's baseline.
        source: where the number comes from, for the report.

    Raises:
        InputError: an unknown aim.
    """

    detector: str
    arm: str
    metric: str
    at_least: float
    aim: str = "gain"
    over: str | None = None
    source: str = ""

    def __post_init__(self) -> None:
        check_fields(self, "target: ")
        if self.aim not in AIMS:
            raise InputError(f"aim is {self.aim!r}; expected one of {AIMS}")


@dataclass(frozen=True)
class BenchmarkConfig:
    """What is trained, and where it is measured.

    Args:
        preset: of mini-LVIS.
        detectors, arms, seeds: each detector is trained on each arm with each seed.
        split: where the tables are read off: "minival" where choices are made, "val" at the end.
        baseline: name of the arm from which gains are counted.
        oracle: name of the arm whose gain is the ceiling; None: there is none.
        targets: what is asked of the means over seeds.
        title: of the report.
        reduced: what is smaller than the full benchmark, one sentence for the report; "" if
            nothing is.

    Raises:
        InputError: a name that no arm has, or that two have; no seed, arm or detector.
    """

    preset: str
    detectors: tuple[Detector, ...]
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    split: str = "val"
    baseline: str = "real"
    oracle: str | None = None
    targets: tuple[Target, ...] = ()
    title: str = "Benchmark"
    reduced: str = ""

    def __post_init__(self) -> None:
        check_fields(self)
        if any(seed < 0 for seed in self.seeds):
            raise InputError(f"seeds are {self.seeds}; expected numbers from 0")
        if self.split not in SPLITS:
            raise InputError(f"split is {self.split!r}; expected one of {SPLITS}")
        for what in ("detectors", "arms", "seeds"):
            values = getattr(self, what)
            names = [getattr(v, "name", v) for v in values]
            if not values or len(set(names)) < len(names):
                raise InputError(f"{what} are {names}; expected at least one, each once")
        names = [arm.name for arm in self.arms]
        wanted = [self.baseline, self.oracle, *(arm.baseline for arm in self.arms)]
        wanted += [name for target in self.targets for name in (target.arm, target.over)]
        for name in wanted:
            if name is not None and name not in names:
                raise InputError(f"no arm is called {name!r}; expected one of {', '.join(names)}")
        known = [detector.name for detector in self.detectors]
        for target in self.targets:
            if target.detector not in known:
                raise InputError(
                    f"no detector is called {target.detector!r}; expected one of {', '.join(known)}"
                )

    def arm(self, name: str) -> Arm:
        """The arm of that name."""
        return next(arm for arm in self.arms if arm.name == name)

    def seeds_of(self, arm: Arm) -> tuple[int, ...]:
        """The seeds that an arm is trained with, ascending."""
        return tuple(s for s in sorted(self.seeds) if arm.seeds is None or s in arm.seeds)

    def baseline_of(self, arm: Arm) -> str | None:
        """Name of the arm from which this one's gain is counted; None for the baseline itself."""
        name = arm.baseline or self.baseline
        return None if name == arm.name else name


def load_benchmark_config(path: str | Path) -> BenchmarkConfig:
    """Run a config file and return its ``config``.

    Raises:
        InputError: no such file, it does not run, or it defines no BenchmarkConfig.
    """
    return load_config_file(path, BenchmarkConfig)


def select(
    config: BenchmarkConfig,
    *,
    arms: list[str] | None = None,
    detectors: list[str] | None = None,
    seeds: list[int] | None = None,
    split: str | None = None,
) -> BenchmarkConfig:
    """A part of a benchmark; None keeps all of it. Arms that gains are counted from stay in.

    Raises:
        InputError: a name that the benchmark does not have.
    """
    for what, asked in (("arms", arms), ("detectors", detectors)):
        known = [one.name for one in getattr(config, what)]
        unknown = [name for name in asked or () if name not in known]
        if unknown:
            raise InputError(f"no {what[:-1]} is called {unknown[0]!r}: {', '.join(known)} are")
    kept = set(arms or [arm.name for arm in config.arms]) | {config.baseline}
    kept |= {arm.baseline for arm in config.arms if arm.name in kept and arm.baseline}
    left = {d.name for d in config.detectors if detectors is None or d.name in detectors}
    return replace(
        config,
        arms=tuple(arm for arm in config.arms if arm.name in kept),
        detectors=tuple(d for d in config.detectors if d.name in left),
        seeds=tuple(seeds) if seeds else config.seeds,
        split=split or config.split,
        oracle=config.oracle if config.oracle in kept else None,
        targets=tuple(
            t for t in config.targets if t.detector in left and {t.arm, t.over or t.arm} <= kept
        ),
    )
