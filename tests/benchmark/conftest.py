"""The random LVIS set of tests/evaluation serves here, too."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def lvis():
    path = Path(__file__).parents[1] / "evaluation/conftest.py"
    spec = importlib.util.spec_from_file_location("evaluation_data", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
