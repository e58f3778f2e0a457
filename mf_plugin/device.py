"""Where models run when nobody says it."""

from __future__ import annotations


def find_device() -> str:
    """ "cuda" if there is a GPU that torch can use, else "cpu"."""
    try:
        import torch
    except ImportError:
        return "cpu"
    return "cuda" if torch.cuda.is_available() else "cpu"
