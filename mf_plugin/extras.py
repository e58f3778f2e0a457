"""Optional dependencies: imported where used, named by their extra where missing."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType


class MissingExtra(ImportError):
    """A package of an optional extra is not installed."""


def require(module: str, extra: str) -> ModuleType:
    """Import and return ``module``.

    Args:
        module: dotted name of the module, e.g. ``"diffusers"``.
        extra: the extra of mf-plugin that installs it.

    Raises:
        MissingExtra: one line that names the extra to install.
    """
    loaded = sys.modules.get(module)  # torch.compile can follow this, and no import
    if loaded is not None:
        return loaded
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = (error.name or module).split(".")[0]
        raise MissingExtra(f"{missing} is missing: {how_to_install(extra)}") from error


def how_to_install(extra: str) -> str:
    """The command for an extra; mf-plugin is on no package index."""
    return f'pip install -e ".[{extra}]" where mf_plugin is checked out'
