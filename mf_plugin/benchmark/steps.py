"""A step of the benchmark: a command of this repository, and what its result depends on.

A step's folder is OUT/<kind>/<hash>, and the hash is of everything that decides what the command
leaves there. So nothing is ever overwritten, a change runs anew what depends on it and nothing
else, and benchmarks share the steps that they have in common.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mf_plugin.benchmark.fingerprint import REPOSITORY, config_files, hash_files, hash_texts
from mf_plugin.errors import InputError

FOLDER_LETTERS = 16  # of the hash
DONE = "step.json"  # in a step's folder, once it has finished
LOG = "log.txt"


@dataclass(frozen=True)
class Step:
    """One command.

    Args:
        kind: first folder of its results; a kind has its own code fingerprint.
        name: says which step it is, uniquely in a plan.
        why: what the command does, for people.
        arguments: of Python. "{out}" is the step's own folder, "{0}" that of the first step in
            ``needs``, "{device}" where models run; an argument with a step's folder and "*" names
            the newest file that fits it.
        result: file that the command leaves in its folder; may have "*" too.
        needs: steps whose results it reads.
        configs: config files that it reads, as seen from ``root``; parents are found.
        files: further files and folders that decide the result: code, weights.
        resume: arguments to go on with, and the file whose presence says that one can; they stand
            behind the script's name.
        root: where commands run.
    """

    kind: str
    name: str
    why: str
    arguments: tuple[str, ...]
    result: str
    needs: tuple[Step, ...] = ()
    configs: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    resume: tuple[tuple[str, ...], str] | None = None
    root: Path = REPOSITORY

    @cached_property
    def hash(self) -> str:
        """SHA-256 of what decides the result."""
        parents = [p for c in self.configs for p in config_files(self.root / c)]
        return hash_texts(
            [
                self.kind,
                *self.arguments,
                self.result,
                "needs",
                *(step.hash for step in self.needs),
                hash_files(self.root, map(str, parents)),
                hash_files(self.root, self.files),
            ]
        )

    @cached_property
    def missing(self) -> list[str]:
        """Configs and other files of the step that do not exist."""
        parents = [p for c in self.configs for p in config_files(self.root / c)]
        paths = [*parents, *(self.root / f for f in self.files)]
        if self.arguments and self.arguments[0].endswith(".py"):
            paths.append(self.root / self.arguments[0])
        return sorted({str(p) for p in paths if not p.exists()})

    def folder(self, out: Path) -> Path:
        """Where the step's result, log and record go."""
        return out / self.kind / self.hash[:FOLDER_LETTERS]

    def is_done(self, out: Path) -> bool:
        """Whether the step has finished and its result is there."""
        folder = self.folder(out)
        return (folder / DONE).is_file() and any(folder.glob(self.result))

    def can_resume(self, out: Path) -> bool:
        """Whether an earlier run of the step has left something to go on from."""
        return self.resume is not None and (self.folder(out) / self.resume[1]).is_file()

    def result_file(self, out: Path) -> Path:
        """The file that the step has left."""
        return _newest(self.folder(out) / self.result)

    def shown(self, out: Path = Path("OUT"), device: str = "cpu") -> list[str]:
        """The arguments as a person reads them: folders filled in, "*" left as it is."""
        names = {"{out}": str(self.folder(out)), "{device}": device}
        names |= {f"{{{i}}}": str(step.folder(out)) for i, step in enumerate(self.needs)}
        arguments = list(self.arguments)
        for name, value in names.items():
            arguments = [a.replace(name, value) for a in arguments]
        return arguments

    def command(self, out: Path, device: str = "cpu") -> list[str]:
        """The arguments to run, with those to go on from an earlier run where that is possible.

        Raises:
            InputError: an argument with "*" fits no file.
        """
        folders = [f"{{{i}}}" for i in range(len(self.needs))]
        arguments = []
        for template, shown in zip(self.arguments, self.shown(out, device), strict=True):
            if "*" in template and any(f in template for f in folders):
                key, separator, path = shown.rpartition("=")
                shown = f"{key}{separator}{_newest(Path(path))}"
            arguments.append(shown)
        if self.resume is not None and self.can_resume(out):
            arguments[1:1] = self.resume[0]
        return arguments


def ordered(steps: list[Step]) -> list[Step]:
    """All steps and those that they need, each once, needed ones first."""
    found: dict[Step, None] = {}

    def add(step: Step) -> None:
        if step not in found:
            for needed in step.needs:
                add(needed)
            found[step] = None

    for step in steps:
        add(step)
    names = [step.name for step in found]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise InputError(f"two steps are called {sorted(twice)[0]!r}; expected different names")
    return list(found)


def _newest(pattern: Path) -> Path:
    """A kill may leave an older checkpoint beside the last one."""
    files = list(pattern.parent.glob(pattern.name))
    if not files:
        raise InputError(f"{pattern}: no file fits, expected one")
    return max(files, key=lambda file: file.stat().st_mtime_ns)
