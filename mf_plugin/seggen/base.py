"""The Stable Diffusion that a SegGen model stands on: loaded, identified, asked for embeddings.

Shapes: N captions, K text tokens, E channels of a token, P of a pooled text.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from mf_plugin.errors import InputError
from mf_plugin.extras import require
from mf_plugin.mosaic.components import hash_weights, load_components
from mf_plugin.seggen.captions import split_caption
from mf_plugin.seggen.record import WHATS, ModelRecord, find_base

if TYPE_CHECKING:
    import torch

_SHARED = (  # what a ControlNet and the U-Net that it speaks to have in common
    "in_channels",
    "block_out_channels",
    "down_block_types",
    "layers_per_block",
    "cross_attention_dim",
    "addition_embed_type",
    "projection_class_embeddings_input_dim",
)


def hash_base(pipeline: Any, what: str) -> str:
    """SHA-256 of the base's weights that a model is used with: text encoders and VAE, and for
    Mask2Img the frozen U-Net. Values count as float32, so precision matters and file formats do
    not."""
    parts = {name: getattr(pipeline, name, None) for name in ("text_encoder", "text_encoder_2")}
    unet = pipeline.unet if what == "mask2img" else None
    return hash_weights(SimpleNamespace(**parts, vae=pipeline.vae, unet=unet))


def load_base(record: ModelRecord, device: str, dtype: str) -> Any:
    """The record's base as a diffusers pipeline.

    In fp32 its weights are compared with the record's; other precisions round them, so there the
    shapes alone have to fit.

    Raises:
        InputError: there is no such base, or other weights are in it.
    """
    base = find_base(record.base)
    pipeline = load_components(base, device, dtype, revision=record.revision)
    if dtype == "fp32":
        found = hash_base(pipeline, record.what)
        if found != record.base_sha256:
            raise InputError(
                f"base {base!r} has weights {found[:12]}; the {record.what} model was trained on "
                f"{record.base_sha256[:12]}"
            )
    return pipeline


def load_network(folder: str | Path, record: ModelRecord, base: Any) -> Any:
    """The trained network of a model's folder, as the base's U-Net is placed and stored.

    Raises:
        InputError: it is missing, damaged or incomplete, or does not fit the base.
    """
    torch, diffusers = require("torch", "diffusion"), require("diffusers", "diffusion")
    part = WHATS[record.what]
    kind = diffusers.UNet2DConditionModel if part == "unet" else diffusers.ControlNetModel
    try:
        network, report = kind.from_pretrained(
            Path(folder) / part, local_files_only=True, output_loading_info=True
        )
    except Exception as error:  # diffusers, safetensors and json each have their own
        line = (str(error).strip() or type(error).__name__).split("\n")[0]
        raise InputError(f"SegGen model {folder}: {part}/ cannot be loaded: {line}") from error
    if report["missing_keys"]:
        first = sorted(report["missing_keys"])[0]
        raise InputError(
            f"SegGen model {folder}: {part}/ lacks {len(report['missing_keys'])} weights, the "
            f"first {first}; expected all of them"
        )
    check_network(network, base.unet)
    # diffusers' own `to` warns of precisions that it keeps apart; there are none here.
    torch.nn.Module.to(network, base._execution_device, base.unet.dtype)
    return network.eval().requires_grad_(False)


def check_network(network: Any, unet: Any) -> None:
    """InputError unless a U-Net or ControlNet has the sizes of the base's U-Net."""
    for name in _SHARED:
        found, expected = network.config.get(name), unet.config.get(name)
        if _plain(found) != _plain(expected):
            raise InputError(
                f"{type(network).__name__} has {name} {found!r}; the base's U-Net has {expected!r}"
            )


def vae_factor(vae: Any) -> int:
    """Pixels per latent."""
    return int(2 ** (len(vae.config.block_out_channels) - 1))


def check_size(size: Sequence[int], base: Any) -> tuple[int, int]:
    """(height, width) that VAE and U-Net can halve; InputError names what they take."""
    multiple = vae_factor(base.vae) * 2 ** (len(base.unet.config.block_out_channels) - 1)
    multiple = max(8, multiple)  # diffusers' pipelines take no others
    sides = tuple(size) if isinstance(size, Sequence) else ()
    fits = [isinstance(side, int) and side > 0 and side % multiple == 0 for side in sides]
    if len(sides) != 2 or not all(fits):
        raise InputError(f"size is {size!r}; expected (height, width), multiples of {multiple}")
    return sides[0], sides[1]


def encode_captions(
    pipeline: Any, captions: Sequence[str]
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Captions as the U-Net takes them.

    The empty caption is what the pipeline takes for a missing negative prompt: for SDXL that is
    zeros where the checkpoint says so.

    Args:
        pipeline: StableDiffusionPipeline or StableDiffusionXLPipeline.
        captions: of any length; what the tokenizer has no place for is cut off.

    Returns:
        context float[N, K, E]; pooled float[N, P] for SDXL, else None.
    """
    torch = require("torch", "diffusion")
    device, texts = pipeline._execution_device, list(captions)
    with torch.no_grad():
        if not is_sdxl(pipeline):
            return pipeline.encode_prompt(texts, device, 1, False)[0], None
        context, _, pooled, _ = pipeline.encode_prompt(
            texts, device=device, do_classifier_free_guidance=False
        )
    if pipeline.config.force_zeros_for_empty_prompt:
        said = torch.tensor([bool(text) for text in texts], device=device)
        context, pooled = context * said[:, None, None], pooled * said[:, None]
    return context, pooled


def encode_phrases(
    pipeline: Any, captions: Sequence[str], phrases: int
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Captions whose phrases the text encoder reads one by one.

    Args:
        pipeline: StableDiffusionPipeline or StableDiffusionXLPipeline.
        captions: N of them.
        phrases: of each (`captions.split_caption`).

    Returns:
        context float[N, phrases x K, E]; pooled float[N, P] of the whole captions for SDXL, else
        None.
    """
    split = [split_caption(caption, phrases) for caption in captions]
    context, _ = encode_captions(pipeline, [phrase for row in split for phrase in row])
    pooled = encode_captions(pipeline, captions)[1] if is_sdxl(pipeline) else None
    return stack_phrases(context, phrases), pooled


def stack_phrases(context: torch.Tensor, phrases: int) -> torch.Tensor:
    """[N x phrases, K, E] -> [N, phrases x K, E]."""
    return context.unflatten(0, (-1, phrases)).flatten(1, 2)


def is_sdxl(pipeline: Any) -> bool:
    return getattr(pipeline, "text_encoder_2", None) is not None


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
