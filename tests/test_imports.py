"""What may import what: the rooms of DESIGN.md, and nothing heavy before it is needed."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "mf_plugin"
MODULES = sorted(PACKAGE.rglob("*.py"))

# The way of the data; a room imports from itself and from rooms before it.
ROOMS = [
    {
        "arrays",
        "configfile",
        "device",
        "errors",
        "extras",
        "cli",
        "frameworks",
        "jsonfile",
        "fields",
    },
    {"vocabulary", "words"},
    {"lvis"},
    {"mosaic"},
    {"generation"},
    {"seggen"},
    {"data"},
    {"evaluation"},
    {"mmdet", "detectron2"},
    {"bench"},
    {"benchmark"},
    {"fuzz"},
]
RANK = {room: rank for rank, rooms in enumerate(ROOMS) for room in rooms}

ADAPTERS = ("mmdet", "detectron2")
ALLOWED_IN = {  # a package -> the rooms or modules that may import it, even inside a function
    **dict.fromkeys(("mmdet", "mmengine", "mmcv"), ("mmdet",)),
    **dict.fromkeys(("detectron2", "fvcore", "centernet"), ("detectron2",)),
    **dict.fromkeys(
        ("diffusers", "transformers", "accelerate"),
        ("mosaic", "seggen", "evaluation.judge", "evaluation.segmenter"),
    ),
}
OPTIONAL = (
    "numba",
    "msgspec",
    "torch",
    "torchvision",
    "diffusers",
    "transformers",
    "accelerate",
    "safetensors",
    "mmdet",
    "mmengine",
    "mmcv",
    "detectron2",
    "fvcore",
    "lvis",
    "hotcoco",
    "matplotlib",
    "scipy",
    "ray",
)


def dotted(path: Path) -> str:
    """``mf_plugin/lvis/io.py`` -> ``lvis.io``; a package is named by its folder."""
    parts = list(path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(source: str, module: str, is_package: bool) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import in the source: statements at any depth, and the names
    given to ``require`` and ``import_module``."""
    package = ["mf_plugin", *module.split(".")] if module else ["mf_plugin"]
    if not is_package:
        package = package[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and node.args:
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            first = node.args[0]
            if name in ("require", "import_module") and isinstance(first, ast.Constant):
                yield node.lineno, str(first.value)


def broken_rules(source: str, module: str, is_package: bool = False) -> list[str]:
    """The import rules that a module breaks, each as ``line: what``."""
    room = module.split(".")[0]
    problems = []
    for line, name in imported_modules(source, module, is_package):
        top, *rest = name.split(".")
        allowed = ALLOWED_IN.get(top)
        if allowed is not None and not any(f"{module}.".startswith(f"{a}.") for a in allowed):
            problems.append(f"{line}: {top} outside {', '.join(allowed)}")
        if top == "mf_plugin" and rest and rest[0] in RANK and room:
            other = rest[0]
            if other != room and RANK[other] >= RANK[room] > 0:
                problems.append(f"{line}: {room} imports {other}, which does not stand above it")
    return problems


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_imports_only_from_rooms_above(path):
    module = dotted(path)
    room = module.split(".")[0]
    assert not room or room in RANK, f"{room} is a new room: give it its place in ROOMS"
    assert broken_rules(path.read_text(encoding="utf-8"), module, path.stem == "__init__") == []


@pytest.mark.parametrize(
    "source, module, expected",
    [
        ("from mf_plugin.vocabulary import Category", "lvis.io", []),
        ("from mf_plugin.lvis import merge", "lvis.io", []),
        ("import torch", "data.provider", []),
        ("from mf_plugin import data", "lvis.io", ["1: lvis imports data, which does not"]),
        ("def f():\n  import mf_plugin.mmdet", "data.x", ["2: data imports mmdet, which does"]),
        ("from ..data import sampling", "lvis.io", ["1: lvis imports data, which does not"]),
        ("from . import io\nfrom .io import x", "lvis.merge", []),
        ("from mf_plugin.mmdet import x", "detectron2.x", ["1: detectron2 imports mmdet, which"]),
        ("import mmdet.models", "mmdet.ops", []),
        ("import mmcv", "evaluation.rare", ["1: mmcv outside mmdet"]),
        ("import mmcv", "detectron2.x", ["1: mmcv outside mmdet"]),
        ("from diffusers import X", "mosaic.pipeline", []),
        ("from diffusers import X", "evaluation.judge", []),
        ("from diffusers import X", "evaluation.rare", ["1: diffusers outside mosaic, seggen"]),
        ("require('transformers', 'diffusion')", "data.x", ["1: transformers outside mosaic"]),
    ],
)
def test_the_check_itself(source, module, expected):
    problems = broken_rules(source, module)
    assert len(problems) == len(expected)
    assert all(p.startswith(e) for p, e in zip(problems, expected))


IMPORT_ALL = """
import importlib, importlib.abc, sys

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in sys.argv[1].split(","):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocked())
failed = 0
for module in sys.argv[2].split(","):
    try:
        importlib.import_module(module)
    except Exception as error:
        failed = 1
        print(f"{module}: {type(error).__name__}: {error}")
sys.exit(failed)
"""


def test_everything_but_the_adapters_imports_without_any_extra():
    names = [dotted(path) for path in MODULES]
    names = [n for n in names if n.split(".")[0] not in ADAPTERS and not n.startswith("assets")]
    modules = ",".join(".".join(filter(None, ("mf_plugin", name))) for name in names)
    result = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, ",".join(OPTIONAL), modules],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
    )
    assert result.returncode == 0, result.stdout + result.stderr
