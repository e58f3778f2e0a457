"""MosaicPipeline: one diffusion run makes a canvas of several objects and the attention map of
each.

MosaicFusion, sections 3.2 and 3.3: all regions of a canvas are denoised in one run. At each step
every region is cropped from the canvas' latents and gets its own prompt's noise prediction; these
are blended with Gaussian weights around the regions' centres (Mixture of Diffusers, arXiv
2302.02412), and the scheduler takes one step on the canvas.

Shapes: B canvases that share a layout, R regions, C latent channels, K text tokens. Latents are
float32 whatever the U-Net's dtype; noise is drawn on the CPU, canvas by canvas, so neither the
batch nor the device changes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from mf_plugin.errors import InputError
from mf_plugin.extras import require
from mf_plugin.mosaic.attention import (
    AttentionConfig,
    AttentionSums,
    RegionAttention,
    SubjectAttention,
)
from mf_plugin.mosaic.components import (
    generator_argument,
    hash_weights,
    load_components,
    make_scheduler,
)
from mf_plugin.mosaic.layout import MosaicLayout, blending_weights, check_layout, check_multiple
from mf_plugin.mosaic.prompts import Prompt

if TYPE_CHECKING:
    import torch

_DECODED_PIXELS = 1024 * 1024  # the VAE decodes as many canvases at once as have this many pixels


@dataclass
class MosaicOutput:
    """What one call of MosaicPipeline gives.

    images: uint8[B, H, W, 3], RGB.
    attention: [canvas][region].
    latents: float32[B, C, H / f, W / f], denoised; ``MosaicPipeline.decode`` gives the pixels
        before quantisation.
    """

    images: npt.NDArray[np.uint8]
    attention: list[list[RegionAttention]]
    latents: torch.Tensor


@dataclass
class _Batch:
    """Regions of one latent shape share a U-Net call; its rows go by region, then canvas."""

    regions: list[int]
    context: torch.Tensor  # [rows, K, E], or [2 * rows, K, E] with the unconditional rows first
    sums: AttentionSums


class MosaicPipeline:
    """Stable Diffusion on mosaics of regions.

    Args:
        components: a diffusers StableDiffusionPipeline.
        scheduler: class name of a diffusers scheduler to use instead of the checkpoint's own, with
            its settings.
    """

    def __init__(self, components: Any, scheduler: str | None = None) -> None:
        torch = require("torch", "diffusion")
        self.components = components
        self.unet, self.vae, self.tokenizer = components.unet, components.vae, components.tokenizer
        self.scheduler = make_scheduler(components.scheduler, scheduler)
        self.device = torch.device(components.device)
        self._hash = ""

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path,
        device: str = "cpu",
        dtype: torch.dtype | None = None,
        scheduler: str | None = None,
    ) -> MosaicPipeline:
        """Load a diffusers folder, or a model of the hub where ``model`` is an id and no folder.

        Args:
            model: folder with a model_index.json, or hub id ("CompVis/stable-diffusion-v1-4").
            device: where it runs.
            dtype: of the weights as used; None is float32.
            scheduler: class name of a diffusers scheduler; None is the checkpoint's own.

        Raises:
            InputError: the model cannot be loaded, or the scheduler does not fit it.
            MissingExtra: the extra "diffusion" is not installed.
        """
        return cls(load_components(model, device, dtype), scheduler)

    @property
    def vae_factor(self) -> int:
        """Pixels per latent; canvas and regions must be multiples of it."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    @property
    def region_multiple(self) -> int:
        """Sides that are multiples of it have latents that the U-Net halves without a remainder."""
        return self.vae_factor * 2 ** (len(self.unet.config.block_out_channels) - 1)

    def model_hash(self) -> str:
        """SHA-256 of the weights (``components.hash_weights``)."""
        if not self._hash:
            self._hash = hash_weights(self.components)
        return self._hash

    def __call__(
        self,
        layout: MosaicLayout,
        prompts: Sequence[Sequence[Prompt]],
        *,
        seeds: Sequence[int],
        steps: int,
        guidance: float,
        negative_prompt: str = "",
        latents: torch.Tensor | None = None,
        attention: AttentionConfig | None = None,
        progress: bool = False,
    ) -> MosaicOutput:
        """Denoise B canvases of one layout in one batch.

        Args:
            layout: canvas and regions in pixels, multiples of ``vae_factor``.
            prompts: [canvas][region].
            seeds: one per canvas; a canvas depends on its own seed alone.
            steps: of the scheduler.
            guidance: g of e = e_uncond + g (e_text - e_uncond); 1 needs no unconditional half.
            negative_prompt: of the unconditional half.
            latents: noise to start from instead of the seeds' own, float[B, C, H / f, W / f],
                standard normal.
            attention: which attention is read; None is the default of AttentionConfig.
            progress: whether a bar shows the steps.

        Raises:
            InputError: something does not fit, or the model's numbers are not finite.
        """
        torch = require("torch", "diffusion")
        attention = attention or AttentionConfig()

        # 1. Check inputs.
        self.check_inputs(
            layout, prompts, seeds=seeds, steps=steps, guidance=guidance, latents=latents
        )
        canvas = layout.to_latent(self.vae_factor)

        with torch.no_grad(), SubjectAttention(self.unet, attention) as reader:
            # 2. Encode the prompts; regions of equal latent shape share a batch.
            batches = self._make_batches(reader, canvas, prompts, guidance, negative_prompt)
            weights = [
                torch.from_numpy(weight).to(self.device, torch.float32)
                for weight in blending_weights(canvas)
            ]

            # 3. One noise canvas for each seed.
            generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
            if latents is None:
                shape = (1, self.unet.config.in_channels, canvas.height, canvas.width)
                latents = torch.cat([torch.randn(shape, generator=g) for g in generators])
            self.scheduler.set_timesteps(steps, device=self.device)
            latents = latents.to(self.device, torch.float32) * self.scheduler.init_noise_sigma
            extra = generator_argument(self.scheduler, generators)

            # 4. Denoise: predict each region, blend the predictions, take one step on the canvas.
            timesteps = self.scheduler.timesteps
            for step, time in enumerate(
                tqdm(timesteps, "denoising", leave=False, disable=not progress)
            ):
                scaled = self.scheduler.scale_model_input(latents, time)
                merged = torch.zeros_like(latents)
                for batch in batches:
                    with reader.recording(batch.sums if attention.reads_step(step) else None):
                        predictions = self._predict(batch, canvas, scaled, time, guidance)
                    for index, prediction in zip(batch.regions, predictions):
                        rows, columns = canvas.regions[index].slices
                        merged[..., rows, columns] += weights[index] * prediction
                latents = self.scheduler.step(merged, time, latents, return_dict=False, **extra)[0]
            if not torch.isfinite(latents).all():
                raise InputError(
                    f"the model gives numbers that are not finite in {self.unet.dtype}; "
                    f"expected finite ones, as in float32"
                )

            # 5. Pixels, and a map for each region.
            images = (self.decode(latents) * 255).round().astype(np.uint8)
        return MosaicOutput(
            images, _arrange_attention(batches, len(seeds), len(layout.regions)), latents.cpu()
        )

    def check_inputs(
        self,
        layout: MosaicLayout,
        prompts: Sequence[Sequence[Prompt]],
        *,
        seeds: Sequence[int],
        steps: int,
        guidance: float,
        latents: torch.Tensor | None = None,
    ) -> None:
        """Raise InputError for the first argument of ``__call__`` that does not fit."""
        canvas = layout.to_latent(self.vae_factor)
        check_layout(canvas)
        if not prompts or len(prompts) != len(seeds):
            raise InputError(
                f"{len(prompts)} canvases of prompts for {len(seeds)} seeds; expected one each"
            )
        for index, regions in enumerate(prompts):
            if len(regions) != len(layout.regions):
                raise InputError(
                    f"canvas {index} has {len(regions)} prompts; "
                    f"expected {len(layout.regions)}, one a region"
                )
        if steps < 1:
            raise InputError(f"steps is {steps}; expected at least 1")
        if not np.isfinite(guidance):
            raise InputError(f"guidance is {guidance}; expected a finite number")
        shape = (len(seeds), self.unet.config.in_channels, canvas.height, canvas.width)
        if latents is not None and tuple(latents.shape) != shape:
            raise InputError(f"latents have shape {tuple(latents.shape)}; expected {shape}")

    def decode(self, latents: torch.Tensor) -> npt.NDArray[np.float32]:
        """float[B, C, H / f, W / f] latents -> float32[B, H, W, 3] pixels in [0, 1]."""
        torch = require("torch", "diffusion")
        pixels = latents.shape[-2] * latents.shape[-1] * self.vae_factor**2
        with torch.no_grad():
            chunks = (latents / self.vae.config.scaling_factor).split(
                max(1, _DECODED_PIXELS // pixels)
            )
            images = torch.cat(
                [
                    self.vae.decode(chunk.to(self.device, self.vae.dtype)).sample.float()
                    for chunk in chunks
                ]
            )
        return (images / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy()

    def attend(
        self,
        images: npt.NDArray[np.uint8],
        prompts: Sequence[Prompt],
        *,
        seeds: Sequence[int],
        steps: int,
        read_steps: Sequence[int],
        attention: AttentionConfig | None = None,
    ) -> list[RegionAttention]:
        """The attention of given images: noised to some of the sampler's steps, as in image-
        to-image.

        Args:
            images: uint8[B, H, W, 3], RGB, H and W multiples of ``vae_factor``; each is one region.
            prompts: one per image.
            seeds: of the noise, one per image.
            steps: of the scheduler.
            read_steps: numbers of the steps to read, from 0, the noisiest; maps are their mean.
            attention: blocks and tokens to read (its ``steps`` play no part here).

        Returns:
            One for each image, as in MosaicOutput.
        """
        torch = require("torch", "diffusion")
        attention = attention or AttentionConfig()
        check_multiple("image height", images.shape[1], self.vae_factor)
        check_multiple("image width", images.shape[2], self.vae_factor)
        if not len(images) == len(prompts) == len(seeds):
            raise InputError(
                f"{len(images)} images, {len(prompts)} prompts, {len(seeds)} seeds; "
                f"expected as many of each"
            )
        if not read_steps or not all(0 <= step < steps for step in read_steps):
            raise InputError(
                f"read_steps is {list(read_steps)}; expected numbers from 0 to {steps - 1}"
            )

        with torch.no_grad(), SubjectAttention(self.unet, attention) as reader:
            pixels = torch.from_numpy(images.astype(np.float32) / 127.5 - 1).permute(0, 3, 1, 2)
            clean = (
                self.vae.encode(pixels.to(self.device, self.vae.dtype)).latent_dist.mode().float()
            )
            clean = clean * self.vae.config.scaling_factor
            generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
            context = self._encode([prompt.text for prompt in prompts])
            size = (clean.shape[-2], clean.shape[-1])
            sums = reader.make_sums(self.tokenizer, prompts, context.shape[1], size, self.device)
            with reader.recording(sums):
                for step in read_steps:
                    noise = torch.cat(
                        [torch.randn(clean[:1].shape, generator=g) for g in generators]
                    )
                    # Schedulers that count their steps take the first timestep that they see.
                    self.scheduler.set_timesteps(steps, device=self.device)
                    time = self.scheduler.timesteps[step]
                    noisy = self.scheduler.add_noise(
                        clean, noise.to(self.device), time.repeat(len(clean))
                    )
                    noisy = self.scheduler.scale_model_input(noisy, time)
                    self.unet(noisy.to(self.unet.dtype), time, encoder_hidden_states=context)
        return sums.results()

    def _make_batches(
        self,
        reader: SubjectAttention,
        canvas: MosaicLayout,
        prompts: Sequence[Sequence[Prompt]],
        guidance: float,
        negative_prompt: str,
    ) -> list[_Batch]:
        torch = require("torch", "diffusion")
        by_shape: dict[tuple[int, int], list[int]] = {}
        for index, region in enumerate(canvas.regions):
            by_shape.setdefault((region.height, region.width), []).append(index)
        texts = list(dict.fromkeys(prompt.text for regions in prompts for prompt in regions))
        encoded = dict(zip(texts, self._encode(texts)))
        unconditional = None if guidance == 1 else self._encode([negative_prompt])
        batches = []
        for shape, indices in by_shape.items():
            rows = [regions[index] for index in indices for regions in prompts]
            context = torch.stack([encoded[prompt.text] for prompt in rows])
            sums = reader.make_sums(self.tokenizer, rows, context.shape[1], shape, self.device)
            if unconditional is not None:
                context = torch.cat([unconditional.expand(len(rows), -1, -1), context])
            batches.append(_Batch(indices, context, sums))
        return batches

    def _encode(self, texts: list[str]) -> torch.Tensor:
        """[N, K, E] text embeddings."""
        return self.components.encode_prompt(texts, self.device, 1, False)[0]

    def _predict(
        self,
        batch: _Batch,
        canvas: MosaicLayout,
        latents: torch.Tensor,
        time: torch.Tensor,
        guidance: float,
    ) -> torch.Tensor:
        """Guided predictions of a batch's regions, float32[regions, B, C, h, w]; latents [B, C, H,
        W]."""
        torch = require("torch", "diffusion")
        slices = [canvas.regions[index].slices for index in batch.regions]
        crops = torch.cat([latents[..., rows, columns] for rows, columns in slices])
        guided = len(batch.context) == 2 * len(crops)
        inputs = torch.cat([crops, crops]) if guided else crops
        output = self.unet(
            inputs.to(self.unet.dtype), time, encoder_hidden_states=batch.context
        ).sample.float()
        if guided:
            unconditional, conditional = output.chunk(2)
            output = unconditional + guidance * (conditional - unconditional)
        return output.unflatten(0, (len(batch.regions), -1))


def _arrange_attention(
    batches: list[_Batch], canvases: int, regions: int
) -> list[list[RegionAttention]]:
    """What the batches read, in their row order -> [canvas][region]."""
    arranged: dict[tuple[int, int], RegionAttention] = {}
    for batch in batches:
        order = [(canvas, region) for region in batch.regions for canvas in range(canvases)]
        arranged.update(zip(order, batch.sums.results(), strict=True))
    return [[arranged[canvas, region] for region in range(regions)] for canvas in range(canvases)]
