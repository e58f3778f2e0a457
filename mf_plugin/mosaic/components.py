"""The diffusers components under a MosaicPipeline: found, loaded, placed, identified by a hash.

Only local folders and hub ids that the user names are read; no model has a special path.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from mf_plugin.errors import InputError
from mf_plugin.extras import require
from mf_plugin.mosaic.backbone import check_kind

_DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


def load_components(
    model: str | Path,
    device: str = "cpu",
    dtype: str = "fp32",
    offload: bool = False,
    compile: bool = False,
    revision: str | None = None,
) -> Any:
    """A diffusers pipeline of the kind that the model's model_index.json names.

    Safety checker and watermark are left out: both change images.

    Args:
        model: folder with a model_index.json, or a hub id such as ``"org/name"``.
        device: where it runs.
        dtype: of the weights as used: "fp32", "bf16" or "fp16". Where an SDXL model says that its
            VAE overflows in fp16 (``force_upcast``), the VAE stays fp32, as in diffusers.
        offload: the weights wait in the CPU's memory and each network moves to ``device`` when it
            runs (diffusers' model offloading). Needs a GPU.
        compile: torch compiles the U-Net at its first call. New region shapes compile again, until
            torch treats the sides as variables.
        revision: branch, tag or commit of a hub model.

    Raises:
        InputError: no such model, device or dtype, or the model is another kind or damaged.
        MissingExtra: the extra "diffusion" is not installed.
    """
    torch, diffusers = require("torch", "diffusion"), require("diffusers", "diffusion")
    require("transformers", "diffusion")
    name, local = str(model), Path(model).is_dir()
    _check_options(name, local, device, dtype, offload, compile, revision)
    kind = _find_kind(name, local, revision)
    check_kind(kind, name)
    as_used = getattr(torch, _DTYPES[dtype])
    extra = (
        {"add_watermarker": False}
        if kind == "StableDiffusionXLPipeline"
        else {"safety_checker": None, "requires_safety_checker": False}
    )
    try:
        pipeline = getattr(diffusers, kind).from_pretrained(
            name,
            dtype=as_used,
            local_files_only=local,
            revision=revision,
            feature_extractor=None,
            **extra,
        )
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"model {name!r} cannot be loaded: {_first_line(error)}") from error
    for network in pipeline.components.values():
        if isinstance(network, torch.nn.Module) and network.dtype != as_used:
            network.to(as_used)  # a diffusers that calls the option torch_dtype
    if dtype == "fp16" and kind == "StableDiffusionXLPipeline" and pipeline.vae.config.force_upcast:
        pipeline.vae.to(torch.float32)
    try:
        if offload:
            pipeline.enable_model_cpu_offload(device=device)
        else:
            pipeline.to(device, silence_dtype_warnings=True)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {device!r} cannot be used: {_first_line(error)}") from error
    if compile:
        pipeline.unet.compile()
    return pipeline


def hash_weights(pipeline: Any) -> str:
    """SHA-256, in hex, of text encoders, U-Net and VAE: names, shapes and values as float32."""
    digest = hashlib.sha256()
    for name in ("text_encoder", "text_encoder_2", "unet", "vae"):
        module = getattr(pipeline, name, None)
        for key, tensor in sorted(module.state_dict().items()) if module is not None else ():
            digest.update(f"{name}.{key}{tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().float().cpu().contiguous().numpy())
    return digest.hexdigest()


def _check_options(
    name: str,
    local: bool,
    device: str,
    dtype: str,
    offload: bool,
    compile: bool,
    revision: str | None,
) -> None:
    if not local and not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise InputError(f"model {name!r}: no such folder; expected one, or a hub id like org/name")
    if local and not (Path(name) / "model_index.json").is_file():
        raise InputError(f"model {name!r}: expected a diffusers folder with a model_index.json")
    if local and revision is not None:
        raise InputError(f"revision {revision!r} of the folder {name!r}; expected a hub id with it")
    if dtype not in _DTYPES:
        raise InputError(f"dtype is {dtype!r}; expected one of {', '.join(_DTYPES)}")
    if offload and device.partition(":")[0] == "cpu":
        raise InputError(f"offload with device {device!r}; expected a GPU such as 'cuda'")
    if offload and compile:
        raise InputError("offload and compile are both set; expected one of them at most")


def _find_kind(name: str, local: bool, revision: str | None) -> str:
    """The diffusers class that the model's model_index.json names."""
    try:
        if local:
            index = json.loads((Path(name) / "model_index.json").read_text())
        else:
            loader = require("diffusers", "diffusion").DiffusionPipeline
            index = loader.load_config(name, revision=revision)
        return str(index["_class_name"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"model {name!r} cannot be loaded: its model_index.json: {_first_line(error)}"
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).split("\n")[0]
