"""Mask2Img: a caption and a colour map become an image (SegGen, arXiv 2311.03355, section 3.3).

A ControlNet (arXiv 2302.05543) beside the frozen Stable Diffusion reads the colour map. Shapes: N
images, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mf_plugin.errors import InputError
from mf_plugin.extras import require
from mf_plugin.seggen.base import (
    check_size,
    encode_captions,
    is_sdxl,
    load_base,
    load_network,
    vae_factor,
)
from mf_plugin.seggen.record import ModelRecord, read_record
from mf_plugin.seggen.regions import RegionAttention, Regions, RegionTexts, find_regions
from mf_plugin.seggen.sampling import Images, check_arguments, make_generators, to_pixels
from mf_plugin.seggen.trained import TrainedModel

_EMBEDDING = (16, 32, 96, 256)  # of the ControlNet paper, for a VAE of factor 8


class Mask2Img(TrainedModel):
    """Paints images over colour maps.

    Args:
        base: StableDiffusionPipeline or StableDiffusionXLPipeline.
        controlnet: trained beside it.
        record: what the ControlNet was trained for.
        scheduler: name of a diffusers scheduler; None is the base's own.
    """

    def __init__(
        self, base: Any, controlnet: Any, record: ModelRecord, *, scheduler: str | None = None
    ) -> None:
        super().__init__(_join(base, controlnet), record, scheduler)

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        device: str = "cpu",
        dtype: str = "fp32",
        *,
        scheduler: str | None = None,
    ) -> Mask2Img:
        """Load a model's folder and the base that its seggen.json names.

        Args:
            folder: what tools/train_seggen.py wrote.
            device: where it runs.
            dtype: of the weights as used: "fp32", "bf16" or "fp16".
            scheduler: name of a diffusers scheduler; None is the base's own.

        Raises:
            InputError: no such model, base, device or scheduler; or model and base do not fit.
            MissingExtra: the extra "diffusion" is not installed.
        """
        record = read_record(folder, "mask2img")
        base = load_base(record, device, dtype)
        return cls(base, load_network(folder, record, base), record, scheduler=scheduler)

    def __call__(
        self,
        captions: Sequence[str],
        colormaps: Images,
        *,
        seeds: Sequence[int],
        steps: int = 40,
        guidance: float = 7.5,
        control_scale: float = 1.0,
        region_prompts: Mapping[int, str] | None = None,
        backgrounds: Sequence[str] | None = None,
    ) -> Images:
        """Paint an image for each caption and colour map.

        Args:
            captions: N of them, without the model's template.
            colormaps: uint8[N, H, W, 3] in the colours of ``palette``.
            seeds: one for each image; its batch changes nothing but rounding.
            steps: of the sampler (the paper: 40).
            guidance: classifier-free guidance; 1 is none.
            control_scale: factor of what the ControlNet adds.
            region_prompts: category id -> prompt that its pixels alone attend to, where the maps
                have the palette's exact colours (``regions.py``); None: all pixels attend to the
                caption, as in the paper.
            backgrounds: N prompts for what is no category's; None is the captions.

        Returns:
            uint8[N, H, W, 3].

        Raises:
            InputError: an argument is out of its range.
        """
        check_arguments(captions, seeds, steps, guidance)
        maps = np.asarray(colormaps)
        if maps.dtype != np.uint8 or maps.ndim != 4 or maps.shape[::3] != (len(captions), 3):
            raise InputError(
                f"colour maps are {maps.dtype}{list(maps.shape)}; expected "
                f"uint8[{len(captions)}, H, W, 3], one for each caption"
            )
        torch = require("torch", "diffusion")
        height, width = check_size(maps.shape[1:3], self._pipeline)
        prompts = [self.record.fill(caption) for caption in captions]
        regions = None
        if region_prompts is not None:
            rest = prompts if backgrounds is None else backgrounds
            regions = find_regions(maps, self.palette, [region_prompts] * len(maps), rest)
        with torch.no_grad(), self._reading(regions):
            images = self._pipeline(
                prompt=prompts,
                image=condition(torch.from_numpy(maps)),
                height=height,
                width=width,
                num_inference_steps=steps,
                guidance_scale=guidance,
                controlnet_conditioning_scale=float(control_scale),
                generator=make_generators(seeds),
                output_type="np",
            ).images
        return to_pixels(images)

    @contextmanager
    def _reading(self, regions: Regions | None) -> Iterator[None]:
        """Within the block, a segment's pixels read the prompts of their region, if there are."""
        if regions is None:
            yield
            return
        attention = RegionAttention([self._pipeline.unet, self._pipeline.controlnet])
        try:
            attention.texts = RegionTexts.of(
                regions,
                encode_captions(self._pipeline, regions.prompts)[0],
                self._pipeline._execution_device,
            )
            yield
        finally:
            attention.remove()


def condition(colormaps: Any) -> Any:
    """Colour maps uint8[N, H, W, 3] as the ControlNet takes them: float32[N, 3, H, W] in 0..1."""
    return colormaps.permute(0, 3, 1, 2).float() / 255


def build_controlnet(base: Any, channels: Sequence[int] | None = None) -> Any:
    """A ControlNet that starts as a copy of the base U-Net's encoder and changes nothing yet.

    Args:
        base: the diffusers pipeline beside which it is trained.
        channels: of the layers that bring a colour map to the latents' size, one more than it is
            halved on the way; None is diffusers' widths, as many as the VAE's factor asks for.

    Raises:
        InputError: the layers do not bring the map to the latents' size.
    """
    halvings = vae_factor(base.vae).bit_length() - 1
    if channels is None:
        channels = (_EMBEDDING + _EMBEDDING[-1:] * halvings)[: halvings + 1]
    if len(channels) != halvings + 1:
        raise InputError(
            f"{len(channels)} conditioning channels {tuple(channels)} halve the colour map "
            f"{len(channels) - 1} times; the base's VAE does {halvings} times"
        )
    return require("diffusers", "diffusion").ControlNetModel.from_unet(
        base.unet, conditioning_embedding_out_channels=tuple(channels)
    )


def _join(base: Any, controlnet: Any) -> Any:
    """The base's parts and the ControlNet as one diffusers pipeline; the parts are shared."""
    diffusers = require("diffusers", "diffusion")
    parts = {**base.components, "controlnet": controlnet}
    if is_sdxl(base):
        zeros = base.config.force_zeros_for_empty_prompt
        return diffusers.StableDiffusionXLControlNetPipeline(
            **parts, force_zeros_for_empty_prompt=zeros, add_watermarker=False
        )
    return diffusers.StableDiffusionControlNetPipeline(**parts, requires_safety_checker=False)
