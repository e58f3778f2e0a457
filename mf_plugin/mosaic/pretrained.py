"""Checkpoints of transformers that judge or refine what was generated: loaded whole, or not at all.

Only local folders and hub ids that the user names are read.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mf_plugin.errors import InputError
from mf_plugin.extras import require


def load_pretrained(
    kind: str,
    model: str | Path,
    device: str = "cpu",
    revision: str | None = None,
    *,
    head: str = "Model",
    dtype: str = "float32",
) -> tuple[Any, Any]:
    """A model, ready to infer, and its processor.

    Args:
        kind: name of the transformers classes without their ending: "Sam", "CLIP" or "Blip2".
        model: folder with a config.json, or hub id such as ``"org/name"``.
        device: where the model runs.
        revision: branch, tag or commit of a hub model.
        head: ending of the model's class, such as "ForConditionalGeneration".
        dtype: torch's name of the weights' type as used.

    Raises:
        InputError: no such model or device; or the model is another kind, incomplete or damaged.
        MissingExtra: the extra "diffusion" is not installed.
    """
    torch, transformers = (require(name, "diffusion") for name in ("torch", "transformers"))
    name, local = str(model), Path(model).is_dir()
    if not local and not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise InputError(
            f"{kind} model {name!r}: no such folder; expected one, or a hub id like org/name"
        )
    if local and revision is not None:
        raise InputError(f"revision {revision!r} of the folder {name!r}; expected a hub id with it")
    options: dict[str, Any] = {"local_files_only": local, "revision": revision or "main"}
    try:
        found = transformers.AutoConfig.from_pretrained(name, **options).model_type
        if found.replace("-", "") != kind.lower():
            raise InputError(f"model {name!r} is of type {found}; expected {kind.lower()}")
        network, report = getattr(transformers, f"{kind}{head}").from_pretrained(
            name, dtype=getattr(torch, dtype), output_loading_info=True, **options
        )
        processor = getattr(transformers, f"{kind}Processor").from_pretrained(name, **options)
    except InputError:
        raise
    except (OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
        line = (str(error).strip() or type(error).__name__).split("\n")[0]
        raise InputError(f"{kind} model {name!r} cannot be loaded: {line}") from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise InputError(
            f"{kind} model {name!r} lacks {len(missing)} weights, the first {missing[0]}; "
            f"expected all of them"
        )
    try:
        return network.to(device).eval().requires_grad_(False), processor
    except (RuntimeError, AssertionError) as error:
        line = str(error).split("\n")[0]
        raise InputError(f"device {device!r} cannot be used: {line}") from error
