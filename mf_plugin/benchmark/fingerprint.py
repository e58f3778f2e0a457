"""Hashes of what results depend on: code, config files with their parents, data files.

Python files are hashed without comments, docstrings and layout: a sentence more costs no GPU hour.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import mf_plugin
from mf_plugin.errors import InputError

REPOSITORY = Path(mf_plugin.__file__).resolve().parents[1]
MISSING = "missing"
FILLED_IN = re.compile(r"\{\{.*?\}\}")  # mmengine's {{_base_.name}}


def hash_texts(texts: Iterable[str]) -> str:
    """SHA-256 of a list of texts; where one ends and the next begins counts."""
    digest = hashlib.sha256()
    for text in texts:
        data = text.encode()
        digest.update(f"{len(data)}:".encode() + data)
    return digest.hexdigest()


def hash_files(root: Path, names: Iterable[str]) -> str:
    """Hash of files and folders: of their names, as given or from ``root``, and contents.

    Compiled Python does not count. A name that does not exist counts as such.
    """
    parts = []
    for name in names:
        path = root / name
        shown = path.relative_to(root) if path.is_relative_to(root) else Path(path.name)
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in files:
            if "__pycache__" not in file.parts:
                parts += [(shown / file.relative_to(path)).as_posix(), hash_file(file)]
    return hash_texts(parts)


def hash_file(path: Path) -> str:
    """Hash of a file's content, of Python its meaning; ``MISSING`` where there is no file."""
    if not path.is_file():
        return MISSING
    stat = path.stat()
    return _hash_file(path, stat.st_mtime_ns, stat.st_size)


@cache
def _hash_file(path: Path, mtime_ns: int, size: int) -> str:
    if path.suffix == ".py":
        text = path.read_text(encoding="utf-8")
        try:
            return hash_texts([ast.dump(_without_docstrings(ast.parse(text)))])
        except SyntaxError:  # a config of mmengine, or broken
            return hash_texts([text])
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _without_docstrings(tree: ast.Module) -> ast.Module:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return tree


def config_files(path: Path) -> list[Path]:
    """A config file and its parents, each once, the file itself first.

    Parents are mmengine's ``_base_``, Detectron2's as well, and what a Python file imports from its
    folder or the one above. A file that does not exist stands in the list, without parents.
    """
    found: list[Path] = []
    waiting = [path]
    while waiting:
        file = waiting.pop(0)
        if file not in found:
            found.append(file)
            waiting += _parents(file) if file.is_file() else ()
    return found


def _parents(path: Path) -> Iterator[Path]:
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        for name in re.findall(r"""^_BASE_:\s*["']?([^"'\s]+)""", text, re.MULTILINE):
            yield _joined(path, name)
        return
    try:
        tree = ast.parse(FILLED_IN.sub("None", text))
    except SyntaxError as error:
        raise InputError(f"config {path} is no Python: {error}") from error
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "_base_":
            value = ast.literal_eval(node.value)
            for name in [value] if isinstance(value, str) else value:
                if "::" not in name:  # "mmdet::...": versions of packages do not count
                    yield _joined(path, name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names]
            for name in names if isinstance(node, ast.Import) else [node.module or ""]:
                for folder in (path.parent, path.parent.parent):
                    file = folder / (name.replace(".", "/") + ".py")
                    if file.is_file():
                        yield file
                        break


def _joined(path: Path, name: str) -> Path:
    """``name`` from the folder of ``path``, without ``..`` in it."""
    parts: list[str] = []
    for part in (path.parent / name).parts:
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        elif part != ".":
            parts.append(part)
    return Path(*parts)
