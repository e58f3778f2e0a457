"""Detectron2 is on no package index: where it is missing, its own way to install it is named."""

from __future__ import annotations

import importlib.util

from mf_plugin.extras import MissingExtra

# https://detectron2.readthedocs.io/en/latest/tutorials/install.html; its build imports torch, which
# pip hides from a build unless it is told not to.
COMMAND = (
    "pip install --no-build-isolation 'git+https://github.com/facebookresearch/detectron2.git'"
)


def is_installed() -> bool:
    """Whether ``import detectron2`` would find the framework."""
    try:
        return importlib.util.find_spec("detectron2.data") is not None
    except ModuleNotFoundError:
        return False


def require_detectron2() -> None:
    """
    Raises:
        MissingExtra: Detectron2 is not installed; one line that says how.
    """
    if not is_installed():
        raise MissingExtra(f"detectron2 is missing, and on no package index: {COMMAND}")
