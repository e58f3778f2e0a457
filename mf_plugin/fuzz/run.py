"""Runs targets on many inputs and counts: by chance alone, or led by coverage with atheris."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import FrameType

from mf_plugin.errors import LONGEST, InputError
from mf_plugin.fuzz.choices import Choices
from mf_plugin.fuzz.targets import TARGETS

SECONDS = 20  # an input may take; a hang is a fault
_SIZES = (4, 12, 40, 120)  # bytes of an input


class Fault(Exception):
    """An input that a reader does not survive."""


@dataclass(frozen=True)
class Count:
    """What came of a target's inputs: refused with an InputError, or accepted and used."""

    refused: int = 0
    accepted: int = 0

    @property
    def total(self) -> int:
        return self.refused + self.accepted


def run_one(name: str, data: bytes, folder: Path) -> bool:
    """Whether the target accepts the input.

    Raises:
        Fault: anything but an InputError of one short line, or it takes too long.
    """
    try:
        with _time_limit():
            TARGETS[name](Choices(data), folder)
    except InputError as error:
        text = str(error)
        if "\n" in text or len(text) > LONGEST or not text:
            raise Fault(
                f"{name} {data.hex()}: message of {len(text)} letters: {text[:99]!r}"
            ) from error
        return False
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        trace = "".join(traceback.format_exception(error)[-4:])
        raise Fault(f"{name} {data.hex()}\n{trace[-3000:]}") from error
    return True


def run_random(name: str, inputs: int, seed: int = 0) -> Count:
    """``inputs`` inputs of chance for a target.

    Raises:
        Fault: at the first that it does not survive.
    """
    rng = random.Random(f"{name} {seed}")
    refused = 0
    with _workplace() as folder:
        for _ in range(inputs):
            data = rng.randbytes(rng.choice(_SIZES))
            refused += not run_one(name, data, folder)
    return Count(refused, inputs - refused)


def run_atheris(name: str, inputs: int, seed: int = 1) -> Count:
    """``inputs`` inputs that atheris makes, in a process of its own, as libFuzzer wants it.

    Raises:
        Fault: at the first that the target does not survive.
    """
    if find_spec("atheris") is None:
        raise InputError('driver "atheris" expects the package atheris: pip install atheris')
    command = [sys.executable, "-c", _CHILD, name, str(inputs), str(seed)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    found = [line for line in done.stdout.splitlines() if line.startswith("counted ")]
    if done.returncode or not found:
        raise Fault(f"{name}, atheris\n{done.stdout[-1500:]}{done.stderr[-3500:]}")
    return Count(*json.loads(found[-1].removeprefix("counted ")))


def atheris_child(name: str, inputs: int, seed: int) -> None:
    """Runs until ``inputs`` are counted, prints the counts and ends the process."""
    atheris = import_module("atheris")
    counts = {True: 0, False: 0}
    with _workplace() as folder:

        def test_one(data: bytes) -> None:
            try:
                counts[run_one(name, data, folder)] += 1
            except Fault as fault:
                print(fault, flush=True)
                os._exit(1)
            if sum(counts.values()) >= inputs:
                print(f"counted {json.dumps([counts[False], counts[True]])}", flush=True)
                shutil.rmtree(folder, ignore_errors=True)
                os._exit(0)

        options = [f"-seed={seed}", "-max_len=120", "-timeout=60", "-rss_limit_mb=8192"]
        atheris.Setup([sys.argv[0], *options], test_one)
        atheris.Fuzz()


_CHILD = """
import sys
import atheris
with atheris.instrument_imports(include=["mf_plugin"], exclude=["mf_plugin.fuzz"]):
    from mf_plugin.fuzz import targets
from mf_plugin.fuzz.run import atheris_child
atheris_child(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
"""


@contextmanager
def _workplace() -> Iterator[Path]:
    """A folder for the files of inputs, in memory where the system has such."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


@contextmanager
def _time_limit() -> Iterator[None]:
    """TimeoutError after `SECONDS`, where the system has such an alarm."""
    if not hasattr(signal, "setitimer"):
        yield
        return
    before = signal.signal(signal.SIGALRM, _too_long)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _too_long(number: int, frame: FrameType | None) -> None:
    raise TimeoutError(f"no answer within {SECONDS} s")
