"""Which framework a config file is for, from its name and content; nothing of it is run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from mf_plugin.errors import InputError

FRAMEWORKS = ("mmdet", "detectron2")
YAML = (".yaml", ".yml")

# What the two training scripts look for in a config, and what only one of them knows.
MMDET_NAMES = {
    "_base_",
    "custom_imports",
    "default_scope",
    "optim_wrapper",
    "param_scheduler",
    "train_cfg",
    "train_dataloader",
    "train_pipeline",
}
DETECTRON2_NAMES = {"dataloader", "lr_multiplier", "train"}
MMDET_PACKAGES = {"mmdet", "mmengine", "mmcv"}
DETECTRON2_PACKAGES = {"detectron2", "fvcore", "omegaconf", "centernet"}


def detect_framework(path: str | Path) -> str | None:
    """``mmdet`` or ``detectron2``; None where the file leaves it open.

    yaml is Detectron2's. A .py file is told by what it imports and assigns; one that only imports
    from files beside it is what they are.

    Raises:
        InputError: the file is missing or is no Python.
    """
    path = Path(path)
    if path.suffix in YAML:
        return "detectron2"
    try:
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
    except (FileNotFoundError, IsADirectoryError):
        raise InputError(f"config {path} does not exist") from None
    except (SyntaxError, ValueError) as error:
        raise InputError(f"config {path} cannot be read: {error}") from None
    packages, names = set(_packages(tree)), set(_assigned(tree))
    votes = {
        "mmdet": bool(packages & MMDET_PACKAGES or names & MMDET_NAMES),
        "detectron2": bool(packages & DETECTRON2_PACKAGES or names & DETECTRON2_NAMES),
    }
    if any(votes.values()):
        told = [framework for framework, vote in votes.items() if vote]
        return told[0] if len(told) == 1 else None
    parents = {detect_framework(parent) for parent in _parents(path, tree) if parent.is_file()}
    return parents.pop() if len(parents) == 1 else None


def is_lazy_config(path: str | Path) -> bool:
    """Whether a config file of Detectron2 is a LazyConfig, which may be saved as yaml too."""
    path = Path(path)
    if path.suffix not in YAML:
        return True
    lines = path.read_text(encoding="utf-8").splitlines()
    return any("_target_:" in line.partition("#")[0] for line in lines)


def _packages(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module.split(".")[0]


def _assigned(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in targets:
            while isinstance(target, (ast.Attribute, ast.Subscript)):
                target = target.value
            if isinstance(target, ast.Name):
                yield target.id


def _parents(path: Path, tree: ast.Module) -> Iterator[Path]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level and node.module:
            folder = path.parent
            for _ in range(node.level - 1):
                folder = folder.parent
            yield folder.joinpath(*node.module.split(".")).with_suffix(".py")
