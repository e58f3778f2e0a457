"""The networks under a mosaic, whichever Stable Diffusion they are: texts to conditioning, latents
to predictions, latents to pixels and back.

Backbone is Stable Diffusion 1.x and 2.x, which differ in their checkpoints' settings alone; SDXL
adds a second text encoder and the conditioning on sizes (SDXL, arXiv 2307.01952, section 2.2).

Shapes: N texts or rows of a U-Net call, K text tokens, E channels of a token, P of a pooled text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mf_plugin.errors import InputError
from mf_plugin.extras import require
from mf_plugin.mosaic.prompts import Prompt, subject_tokens

if TYPE_CHECKING:
    import torch

_VAE_PIXELS = 1024 * 1024  # the VAE takes as many images at once as have this many pixels


@dataclass(frozen=True)
class Embeddings:
    """N encoded texts: context [N, K, E]; pooled [N, P], or None where the U-Net takes none."""

    context: torch.Tensor
    pooled: torch.Tensor | None = None

    def take(self, rows: Sequence[int]) -> Embeddings:
        """The texts of these numbers, in this order."""
        pooled = None if self.pooled is None else self.pooled[list(rows)]
        return Embeddings(self.context[list(rows)], pooled)

    def after(self, first: Embeddings) -> Embeddings:
        """``first``, which is one text, once for each text of this, then this."""
        cat, rows = require("torch", "diffusion").cat, len(self.context)
        context = cat([first.context.expand(rows, -1, -1), self.context])
        if self.pooled is None or first.pooled is None:
            return Embeddings(context)
        return Embeddings(context, cat([first.pooled.expand(rows, -1), self.pooled]))


@dataclass(frozen=True)
class EncodedPrompts:
    """The texts of a run, each encoded once.

    rows: {text: its row in ``embeddings``}.
    negative: of the unconditional half, N = 1.
    """

    embeddings: Embeddings
    rows: Mapping[str, int]
    negative: Embeddings


@dataclass(frozen=True)
class Conditioning:
    """What the U-Net is told about the rows of its calls besides latents and time.

    arguments: of its forward; they have 2 N rows, the unconditional ones first, where ``guidance``
        is not None.
    guidance: g of e = e_uncond + g (e_text - e_uncond); None: there is no unconditional half.
    num_keys: K.
    """

    arguments: Mapping[str, Any]
    guidance: float | None
    num_keys: int


class Backbone:
    """Stable Diffusion 1.x and 2.x.

    Args:
        components: a diffusers StableDiffusionPipeline.
    """

    def __init__(self, components: Any) -> None:
        self.components = components
        self.unet, self.vae, self.tokenizer = components.unet, components.vae, components.tokenizer
        self.device = components._execution_device  # with offloading, not where the weights lie

    @property
    def vae_factor(self) -> int:
        """Pixels per latent."""
        return 1 << (len(self.vae.config.block_out_channels) - 1)

    @property
    def unet_factor(self) -> int:
        """The U-Net halves latents whose sides are multiples of it without a remainder."""
        return 1 << (len(self.unet.config.block_out_channels) - 1)

    def encode(self, prompts: Iterable[Prompt], negative: str = "") -> EncodedPrompts:
        """Encode every text once, padded to the tokenizer's length.

        Args:
            prompts: of the conditional half.
            negative: of the unconditional half; "" is none.

        Raises:
            InputError: a subject has no token, or lies past the tokenizer's length.
        """
        prompts = list(dict.fromkeys(prompts))
        for prompt in prompts:
            self._check_subject(prompt)
        rows = {text: row for row, text in enumerate(dict.fromkeys(p.text for p in prompts))}
        return EncodedPrompts(self._encode_texts(list(rows)), rows, self._encode_negative(negative))

    def condition(
        self,
        encoded: EncodedPrompts,
        prompts: Sequence[Prompt],
        guidance: float,
        size: tuple[int, int],
    ) -> Conditioning:
        """Condition a batch of rows.

        Args:
            encoded: holds the texts of all ``prompts``.
            prompts: one per row.
            guidance: 1 needs no unconditional half; nor does a U-Net that was distilled to take
                the guidance as an input.
            size: (height, width) in pixels of what a row shows.
        """
        texts = encoded.embeddings.take([encoded.rows[prompt.text] for prompt in prompts])
        distilled = self.unet.config.time_cond_proj_dim
        guided = guidance != 1 and distilled is None
        texts = texts.after(encoded.negative) if guided else texts
        arguments: dict[str, Any] = {"encoder_hidden_states": texts.context}
        rows, num_keys = texts.context.shape[:2]
        if distilled is not None:
            scales = require("torch", "diffusion").full((rows,), guidance - 1.0)
            embedding = self.components.get_guidance_scale_embedding(scales, distilled)
            arguments["timestep_cond"] = embedding.to(self.device, self.unet.dtype)
        added = self._added_conditions(texts, size)
        if added:
            arguments["added_cond_kwargs"] = added
        return Conditioning(arguments, guidance if guided else None, num_keys)

    def predict(
        self, latents: torch.Tensor, time: torch.Tensor, conditioning: Conditioning
    ) -> torch.Tensor:
        """The guided prediction for N rows of latents, float32[N, C, h, w]: noise or velocity, as
        the checkpoint has it."""
        inputs = latents.to(self.unet.dtype)
        if conditioning.guidance is not None:
            inputs = inputs.repeat(2, 1, 1, 1)
        output = self.unet(inputs, time, return_dict=False, **conditioning.arguments)[0].float()
        if conditioning.guidance is None:
            return output
        unconditional, conditional = output.chunk(2)
        return unconditional + conditioning.guidance * (conditional - unconditional)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """float[B, C, h, w] latents -> float32[B, 3, H, W] pixels in [0, 1], on the device."""
        scale, shift = self._latent_scale()
        scaled = latents.to(self.device).float() * scale + shift
        images = [
            self.vae.decode(chunk.to(self.vae.dtype), return_dict=False)[0].float()
            for chunk in scaled.split(self._chunk_size(latents.shape[-2:]))
        ]
        return (require("torch", "diffusion").cat(images) / 2 + 0.5).clamp(0, 1)

    def encode_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        """float[B, 3, H, W] pixels in [0, 1] -> float32[B, C, h, w] latents, the most probable."""
        scale, shift = self._latent_scale()
        size = [side // self.vae_factor for side in pixels.shape[-2:]]
        latents = [
            self.vae.encode(chunk.to(self.device, self.vae.dtype)).latent_dist.mode().float()
            for chunk in (pixels * 2 - 1).split(self._chunk_size(size))
        ]
        return (require("torch", "diffusion").cat(latents) - shift) / scale

    def release(self) -> None:
        """With offloading, the device's memory is free again; else nothing."""
        self.components.maybe_free_model_hooks()

    def _check_subject(self, prompt: Prompt) -> None:
        subject_tokens(self.tokenizer, prompt)

    def _encode_texts(self, texts: list[str]) -> Embeddings:
        return Embeddings(self.components.encode_prompt(texts, self.device, 1, False)[0])

    def _encode_negative(self, text: str) -> Embeddings:
        return self._encode_texts([text])

    def _added_conditions(
        self, texts: Embeddings, size: tuple[int, int]
    ) -> dict[str, torch.Tensor] | None:
        return None

    def _chunk_size(self, latent_size: Sequence[int]) -> int:
        pixels = latent_size[0] * latent_size[1] * self.vae_factor**2
        return max(1, _VAE_PIXELS // pixels)

    def _latent_scale(self) -> tuple[torch.Tensor | float, torch.Tensor | float]:
        """(a, b) of: what the VAE decodes = a * latents + b."""
        config = self.vae.config
        mean, std = getattr(config, "latents_mean", None), getattr(config, "latents_std", None)
        if mean is None or std is None:
            return 1 / config.scaling_factor, 0.0
        mean, std = (
            require("torch", "diffusion").tensor(values, device=self.device).view(1, -1, 1, 1)
            for values in (mean, std)
        )
        return std / config.scaling_factor, mean


class SdxlBackbone(Backbone):
    """SDXL: the tokens of two text encoders side by side, the second one's pooled text, and sizes.

    The U-Net is told that each region is an image of its own: original size and target size are
    the region's, nothing is cropped. It then draws an object that is whole and centred, as it
    would on a canvas of the region's size.

    Args:
        components: a diffusers StableDiffusionXLPipeline.

    Raises:
        InputError: a text encoder is missing, or the U-Net takes other conditions.
    """

    def __init__(self, components: Any) -> None:
        super().__init__(components)
        if components.text_encoder is None or components.text_encoder_2 is None:
            raise InputError("the SDXL model lacks a text encoder; expected two")
        kind = self.unet.config.addition_embed_type
        if kind != "text_time":
            raise InputError(f"the SDXL U-Net has conditions {kind!r}; expected 'text_time'")
        self.tokenizer_2 = components.tokenizer_2

    def _check_subject(self, prompt: Prompt) -> None:
        positions = [
            subject_tokens(tokenizer, prompt) for tokenizer in (self.tokenizer, self.tokenizer_2)
        ]
        if positions[0] != positions[1]:
            raise InputError(
                f"prompt {prompt.text!r}: its subject has tokens {positions[0]} in the first "
                f"tokenizer and {positions[1]} in the second; expected the same"
            )

    def _encode_texts(self, texts: list[str]) -> Embeddings:
        context, _, pooled, _ = self.components.encode_prompt(
            texts, device=self.device, do_classifier_free_guidance=False
        )
        return Embeddings(context, pooled)

    def _encode_negative(self, text: str) -> Embeddings:
        """As in diffusers: without a negative prompt zeros, where the checkpoint says so."""
        encoded = self._encode_texts([text])
        if text or not self.components.config.force_zeros_for_empty_prompt:
            return encoded
        pooled = None if encoded.pooled is None else encoded.pooled * 0
        return Embeddings(encoded.context * 0, pooled)

    def _added_conditions(
        self, texts: Embeddings, size: tuple[int, int]
    ) -> dict[str, torch.Tensor]:
        original, corner, target = size, (0, 0), size
        sizes = require("torch", "diffusion").tensor([[*original, *corner, *target]])
        sizes = sizes.to(self.device).float().expand(len(texts.context), -1)
        return {"text_embeds": texts.pooled, "time_ids": sizes}


_KINDS = {"StableDiffusionPipeline": Backbone, "StableDiffusionXLPipeline": SdxlBackbone}


def check_kind(name: str, model: str) -> None:
    """Raise InputError unless the diffusers class ``name`` can make mosaics."""
    if name not in _KINDS:
        raise InputError(f"model {model!r} is a {name}; expected {' or '.join(_KINDS)}")


def make_backbone(components: Any) -> Backbone:
    """The backbone for a diffusers pipeline (InputError if there is none)."""
    name = type(components).__name__
    check_kind(name, getattr(components.config, "_name_or_path", "") or name)
    return _KINDS[name](components)
