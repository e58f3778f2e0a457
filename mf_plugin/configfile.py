"""Configs that are Python files: one is run, and the record that it calls ``config`` is taken."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from mf_plugin.errors import InputError

T = TypeVar("T")


def load_config_file(path: str | Path, kind: type[T], wanted: str | None = None) -> T:
    """Run a Python file and return its ``config``.

    Files beside it, or one folder above, can be imported by their name.

    Args:
        path: the file.
        kind: what its ``config`` has to be.
        wanted: how the error names it; default the name of ``kind``.

    Raises:
        InputError: no such file, it does not run, or it defines no ``config`` of that kind.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"config {path}: no such file")
    folder = path.resolve().parent
    try:
        with _importing_from(folder, folder.parent):
            names = runpy.run_path(str(path))
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        raise InputError(f"config {path} does not run: {type(error).__name__}: {error}") from error
    config = names.get("config")
    if not isinstance(config, kind):
        raise InputError(
            f"config {path}: expected `config = {wanted or f'{kind.__name__}(...)'}`, "
            f"found {type(config).__name__}"
        )
    return config


@contextmanager
def _importing_from(*folders: Path) -> Iterator[None]:
    """Let a config import its neighbours, the first folder's before the next one's, and leave no
    trace of them in ``sys.modules``."""
    before = set(sys.modules)
    sys.path[:0] = map(str, folders)
    try:
        yield
    finally:
        for folder in folders:
            sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            origin = getattr(sys.modules[name], "__file__", None)
            if origin and Path(origin).parent in folders:
                del sys.modules[name]
