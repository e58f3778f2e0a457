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
from tqdm import tqdm

from mf_plugin.arrays import Float32Array, Pixels
from mf_plugin.errors import InputError
from mf_plugin.extras import require
from mf_plugin.mosaic.attention import (
    AttentionConfig,
    AttentionSums,
    RegionAttention,
    SubjectAttention,
    cross_attention_scales,
)
from mf_plugin.mosaic.backbone import Conditioning, EncodedPrompts, make_backbone
from mf_plugin.mosaic.components import hash_weights, load_components
from mf_plugin.mosaic.layout import MosaicLayout, blending_weights, check_layout, check_multiple
from mf_plugin.mosaic.prompts import Prompt
from mf_plugin.mosaic.samplers import SamplerRun, make_scheduler

if TYPE_CHECKING:
    import torch


@dataclass
class MosaicOutput:
    """What one call of MosaicPipeline gives.

    images: uint8[B, H, W, 3], RGB.
    attention: [canvas][region].
    latents: float32[B, C, H / f, W / f], denoised; ``MosaicPipeline.decode`` gives the pixels
        before quantisation.
    attention_bytes: what reading attention held on the device while the U-Net ran.
    """

    images: Pixels
    attention: list[list[RegionAttention]]
    latents: torch.Tensor
    attention_bytes: int


@dataclass
class _Batch:
    """Regions of one latent shape share a U-Net call; its rows go by region, then canvas."""

    regions: list[int]
    conditioning: Conditioning
    sums: AttentionSums


class MosaicPipeline:
    """Stable Diffusion 1.x, 2.x or XL on mosaics of regions.

    Args:
        components: a diffusers StableDiffusionPipeline or StableDiffusionXLPipeline.
        scheduler: class name of a diffusers scheduler to use instead of the checkpoint's own, with
            its settings (``samplers.SCHEDULERS``).
    """

    def __init__(self, components: Any, scheduler: str | None = None) -> None:
        self.components = components
        self.backbone = make_backbone(components)
        self.unet, self.tokenizer = self.backbone.unet, self.backbone.tokenizer
        self.device = self.backbone.device
        self.scheduler = make_scheduler(components.scheduler, scheduler)
        self._hash = ""

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path,
        device: str = "cpu",
        dtype: str = "fp32",
        scheduler: str | None = None,
        offload: bool = False,
        compile: bool = False,
        revision: str | None = None,
    ) -> MosaicPipeline:
        """Load a diffusers folder, or a model of the hub where ``model`` is an id and no folder.

        Args:
            model: folder with a model_index.json, or hub id ("CompVis/stable-diffusion-v1-4").
            device: where it runs.
            dtype: of the weights as used: "fp32", "bf16" or "fp16". Latents and the sampler's
                arithmetic are float32 all the same.
            scheduler: class name of a diffusers scheduler; None is the checkpoint's own.
            offload: whether the weights wait in the CPU's memory until they run on ``device``.
            compile: whether torch compiles the U-Net.
            revision: branch, tag or commit of a hub model.

        Raises:
            InputError: the model cannot be loaded so, or the scheduler does not fit it.
            MissingExtra: the extra "diffusion" is not installed.
        """
        components = load_components(model, device, dtype, offload, compile, revision)
        return cls(components, scheduler)

    @property
    def vae_factor(self) -> int:
        """Pixels per latent; canvas and regions must be multiples of it."""
        return self.backbone.vae_factor

    @property
    def region_multiple(self) -> int:
        """Sides that are multiples of it have latents that the U-Net halves without a remainder."""
        return self.vae_factor * self.backbone.unet_factor

    def attention_scales(self, attention: AttentionConfig) -> tuple[int, ...]:
        """The scales of the maps that ``attention`` reads, finest first; none where the U-Net does
        not tell."""
        return cross_attention_scales(self.unet, attention.blocks)

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
            steps: of the sampler; some call the U-Net more often (``samplers``).
            guidance: g of e = e_uncond + g (e_text - e_uncond); 1 needs no unconditional half.
            negative_prompt: of the unconditional half; "" is none.
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
            run = SamplerRun(self.scheduler, steps, generators, self.device)
            latents = run.start(latents.to(self.device, torch.float32))

            # 4. Denoise: predict each region, blend the predictions, take one step on the canvas.
            for call in tqdm(run.calls, "denoising", leave=False, disable=not progress):
                scaled = run.scale(latents, call)
                merged = torch.zeros_like(latents)
                for batch in batches:
                    slices = [canvas.regions[index].slices for index in batch.regions]
                    crops = torch.cat([scaled[..., rows, columns] for rows, columns in slices])
                    with reader.recording(batch.sums if attention.reads_step(call.step) else None):
                        predictions = self.backbone.predict(
                            crops, call.unet_time, batch.conditioning
                        ).unflatten(0, (len(slices), -1))
                    for index, (rows, columns), prediction in zip(
                        batch.regions, slices, predictions, strict=True
                    ):
                        merged[..., rows, columns] += weights[index] * prediction
                latents = run.step(merged, call, latents)
            _check_finite("U-Net", self.unet.dtype, latents)

            # 5. Pixels, and a map for each region.
            pixels = self.backbone.decode(latents)
            _check_finite("VAE", self.backbone.vae.dtype, pixels)
            # Truncated, as published: the solver's grid sees the difference to rounding.
            images = (pixels * 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        self.backbone.release()
        return MosaicOutput(
            images,
            _arrange_attention(batches, len(seeds), len(layout.regions)),
            latents.cpu(),
            attention_bytes=sum(batch.sums.numel for batch in batches) * 4,
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

    def decode(self, latents: torch.Tensor) -> Float32Array:
        """float[B, C, H / f, W / f] latents -> float32[B, H, W, 3] pixels in [0, 1]."""
        with require("torch", "diffusion").no_grad():
            pixels = self.backbone.decode(latents).permute(0, 2, 3, 1)
            images: Float32Array = pixels.cpu().numpy()
        return images

    def attend(
        self,
        images: Pixels,
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
            steps: of the sampler.
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
            pixels = torch.from_numpy(images.astype(np.float32) / 255).permute(0, 3, 1, 2)
            clean = self.backbone.encode_pixels(pixels)
            size = (clean.shape[-2], clean.shape[-1])
            batch = self._make_batch(reader, [0], prompts, self.backbone.encode(prompts), 1.0, size)
            generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
            for step in read_steps:
                noise = torch.cat([torch.randn(clean[:1].shape, generator=g) for g in generators])
                run = SamplerRun(self.scheduler, steps, generators, self.device)
                call = run.first_call(step)
                noisy = run.scale(run.start_at(call, clean, noise.to(self.device)), call)
                with reader.recording(batch.sums):
                    self.backbone.predict(noisy, call.unet_time, batch.conditioning)
        self.backbone.release()
        return batch.sums.results()

    def _make_batches(
        self,
        reader: SubjectAttention,
        canvas: MosaicLayout,
        prompts: Sequence[Sequence[Prompt]],
        guidance: float,
        negative_prompt: str,
    ) -> list[_Batch]:
        by_shape: dict[tuple[int, int], list[int]] = {}
        for index, region in enumerate(canvas.regions):
            by_shape.setdefault((region.height, region.width), []).append(index)
        encoded = self.backbone.encode(
            (prompt for regions in prompts for prompt in regions), negative_prompt
        )
        return [
            self._make_batch(
                reader,
                indices,
                [regions[index] for index in indices for regions in prompts],
                encoded,
                guidance,
                shape,
            )
            for shape, indices in by_shape.items()
        ]

    def _make_batch(
        self,
        reader: SubjectAttention,
        indices: list[int],
        rows: Sequence[Prompt],
        encoded: EncodedPrompts,
        guidance: float,
        latent_size: tuple[int, int],
    ) -> _Batch:
        size = (latent_size[0] * self.vae_factor, latent_size[1] * self.vae_factor)
        conditioning = self.backbone.condition(encoded, rows, guidance, size)
        sums = reader.make_sums(
            self.tokenizer, rows, conditioning.num_keys, latent_size, self.device
        )
        return _Batch(indices, conditioning, sums)


def _check_finite(network: str, dtype: torch.dtype, numbers: torch.Tensor) -> None:
    if not numbers.isfinite().all():
        raise InputError(
            f"the {network} gives numbers that are not finite in {dtype}; "
            f"expected finite ones, as in float32"
        )


def _arrange_attention(
    batches: list[_Batch], canvases: int, regions: int
) -> list[list[RegionAttention]]:
    """What the batches read, in their row order -> [canvas][region]."""
    arranged: dict[tuple[int, int], RegionAttention] = {}
    for batch in batches:
        order = [(canvas, region) for region in batch.regions for canvas in range(canvases)]
        arranged.update(zip(order, batch.sums.results(), strict=True))
    return [[arranged[canvas, region] for region in range(regions)] for canvas in range(canvases)]
