"""Commands of this repository as processes that share the cores; the demo runs its own so, too."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

# glibc gives large blocks back to the system after every operation unless told not to, and takes
# them again page by page
ENVIRONMENT = {
    "MALLOC_MMAP_THRESHOLD_": str(8 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(16 << 30),
    "MALLOC_TOP_PAD_": str(256 << 20),
    "PYTHONWARNINGS": "ignore",
}


def start(
    arguments: Sequence[str],
    root: Path,
    *,
    jobs: int = 1,
    environment: Mapping[str, str] | None = None,
    output: IO[str] | None = None,
    keep_open: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a Python command in ``root``.

    Args:
        arguments: of Python, as ``["tools/generate.py", ...]``.
        root: the repository.
        jobs: how many commands share the cores; one alone takes the cores that it likes. What the
            caller's environment says goes before it.
        environment: further variables.
        output: takes what the command prints; None: the caller's terminal.
        keep_open: file descriptors that the process shall have as well.
    """
    shared = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // jobs))} if jobs > 1 else {}
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=root,
        env={**ENVIRONMENT, **shared, **(environment or {}), **os.environ},
        stdout=output,
        stderr=None if output is None else subprocess.STDOUT,
        pass_fds=tuple(keep_open),
    )


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process, politely at first."""
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
