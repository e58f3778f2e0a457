"""The diffusers components under a MosaicPipeline: loaded, given a scheduler, identified by a hash.

Only local folders and hub ids that the user names are read; no model has a special path.
"""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mf_plugin.errors import InputError
from mf_plugin.extras import require

if TYPE_CHECKING:
    import torch


def load_components(
    model: str | Path, device: str = "cpu", dtype: torch.dtype | None = None
) -> Any:
    """A diffusers StableDiffusionPipeline without safety checker, on ``device``.

    Args:
        model: folder with a model_index.json, or a hub id such as ``"org/name"``.
        device: where it runs.
        dtype: of the weights as used; None is float32.

    Raises:
        InputError: no such model or device, or the model is another kind or damaged.
        MissingExtra: the extra "diffusion" is not installed.
    """
    torch, diffusers = require("torch", "diffusion"), require("diffusers", "diffusion")
    require("transformers", "diffusion")
    name, local = str(model), Path(model).is_dir()
    if not local and not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise InputError(f"model {name!r}: no such folder; expected one, or a hub id like org/name")
    if local and not (Path(model) / "model_index.json").is_file():
        raise InputError(f"model {name!r}: expected a diffusers folder with a model_index.json")
    try:
        pipeline = diffusers.StableDiffusionPipeline.from_pretrained(
            name,
            dtype=dtype or torch.float32,
            local_files_only=local,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"model {name!r} cannot be loaded: {_first_line(error)}") from error
    try:
        return pipeline.to(device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {device!r} cannot be used: {_first_line(error)}") from error


def make_scheduler(own: Any, name: str | None) -> Any:
    """The checkpoint's own scheduler, or the diffusers class ``name`` with the own one's settings.

    Raises:
        InputError: ``name`` is no scheduler that can take these settings.
    """
    if name is None:
        return own
    known = {scheduler.__name__: scheduler for scheduler in [*own.compatibles, type(own)]}
    if name not in known:
        raise InputError(f"scheduler {name!r}; expected one of {', '.join(sorted(known))}")
    return known[name].from_config(own.config)


def generator_argument(
    scheduler: Any, generators: Sequence[torch.Generator]
) -> dict[str, list[torch.Generator]]:
    """Arguments of ``scheduler.step``: a generator per canvas, where it may draw noise."""
    takes = "generator" in inspect.signature(scheduler.step).parameters
    return {"generator": list(generators)} if takes else {}


def hash_weights(pipeline: Any) -> str:
    """SHA-256, in hex, of text encoder, U-Net and VAE: names, shapes and values as float32."""
    digest = hashlib.sha256()
    for name in ("text_encoder", "unet", "vae"):
        for key, tensor in sorted(getattr(pipeline, name).state_dict().items()):
            digest.update(f"{name}.{key}{tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().float().cpu().contiguous().numpy())
    return digest.hexdigest()


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).split("\n")[0]
