"""What the tests of mini-LVIS's folders share."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Runs a statement and prints the sprite archives that were opened meanwhile.
AUDIT = """
import json, os, sys
opened = set()
def hook(event, args):
    if event == "open" and isinstance(args[0], (str, bytes, os.PathLike)):
        path = os.fsdecode(args[0])
        if os.path.dirname(path).endswith("sprites"):
            opened.add(os.path.basename(path)[:-4])
sys.addaudithook(hook)
{statement}
print(json.dumps(sorted(opened)))
"""


@pytest.fixture(scope="session")
def opened_archives() -> Callable[[str], list[str]]:
    """The sprite archives that a statement opens, in a process of its own."""

    def run(statement: str) -> list[str]:
        result = subprocess.run(
            [sys.executable, "-c", AUDIT.format(statement=statement)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(result.stdout.splitlines()[-1])

    return run


@pytest.fixture(scope="session")
def hashes() -> Callable[[Path], dict[str, str]]:
    """The sha256 of every file in a folder, by its path there."""

    def of(folder: Path) -> dict[str, str]:
        return {
            str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in sorted(folder.rglob("*"))
            if p.is_file()
        }

    return of
