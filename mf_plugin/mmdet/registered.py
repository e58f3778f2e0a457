"""What class stands behind a ``type=`` of a config: a decision by class also serves subclasses.

In a config a type is a name, with or without a scope, or in mmengine's Python-style configs the
class itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmdet.registry import DATASETS
from mmengine.registry import Registry

from mf_plugin.errors import InputError


def class_of(node: Mapping[str, Any], registry: Registry = DATASETS) -> type:
    """The class that a config node is built with.

    Raises:
        InputError: it names no type, or one that is not registered.
    """
    kind = node.get("type")
    if kind is None:
        raise InputError(f"expected a {registry.name} with a type, got the keys {list(node)[:5]}")
    found = registry.get(kind) if isinstance(kind, str) else kind
    if found is None:
        raise InputError(
            f"the {registry.name} {kind!r} is not registered: name the module that defines it in "
            "custom_imports of the config"
        )
    return found


def parts(dataset: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The configs that a wrapper holds; empty for a dataset that is none."""
    if dataset.get("datasets"):
        return list(dataset["datasets"])
    inner = dataset.get("dataset")
    return [inner] if isinstance(inner, Mapping) else []


def leaves(dataset: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The configs of the datasets in the wrappers."""
    inner = parts(dataset)
    if not inner:
        yield dataset
    for part in inner:
        yield from leaves(part)
