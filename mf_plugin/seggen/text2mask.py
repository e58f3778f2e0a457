"""Text2Mask: a caption becomes a colour map (SegGen, arXiv 2311.03355, section 3.2).

The whole U-Net of a Stable Diffusion is fine-tuned on colour maps; VAE and text encoders stay as
they are. Shapes: N maps, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from mf_plugin.extras import require
from mf_plugin.seggen.base import check_size, encode_phrases, load_base, load_network
from mf_plugin.seggen.calibration import calibrate_palette, reconstruct_with
from mf_plugin.seggen.colormap import REACH
from mf_plugin.seggen.noise import GUIDANCE_RESCALE
from mf_plugin.seggen.palette import Palette
from mf_plugin.seggen.record import ModelRecord, read_record
from mf_plugin.seggen.sampling import Images, check_arguments, make_generators, to_pixels
from mf_plugin.seggen.trained import TrainedModel


class Text2Mask(TrainedModel):
    """Samples colour maps.

    Args:
        pipeline: StableDiffusionPipeline or StableDiffusionXLPipeline with the trained U-Net.
        record: what the U-Net was trained for.
        scheduler: name of a diffusers scheduler; None is the base's own.
    """

    def __init__(self, pipeline: Any, record: ModelRecord, *, scheduler: str | None = None) -> None:
        super().__init__(pipeline, record, scheduler)

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        device: str = "cpu",
        dtype: str = "fp32",
        *,
        scheduler: str | None = None,
    ) -> Text2Mask:
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
        record = read_record(folder, "text2mask")
        pipeline = load_base(record, device, dtype)
        pipeline.register_modules(unet=load_network(folder, record, pipeline))
        return cls(pipeline, record, scheduler=scheduler)

    @cached_property
    def reading_palette(self) -> Palette:
        """The palette with its colours as the base's VAE renders them: what `decode` takes."""
        return calibrate_palette(self.palette, reconstruct_with(self._pipeline.vae))

    @property
    def reach(self) -> int:
        """Pixels over which the base's VAE mixes colours: what `decode` takes."""
        factor: int = self._pipeline.vae_scale_factor
        return round(REACH * factor / 4)

    def __call__(
        self,
        captions: Sequence[str],
        *,
        seeds: Sequence[int],
        size: tuple[int, int] | None = None,
        steps: int = 50,
        guidance: float = 7.5,
    ) -> Images:
        """Sample a colour map for each caption.

        Args:
            captions: N of them, without the model's template.
            seeds: one for each map; its batch changes nothing but rounding.
            size: (height, width) in pixels; None is what the model was trained at.
            steps: of the sampler (the paper: 200).
            guidance: classifier-free guidance; 1 is none.

        Returns:
            uint8[N, H, W, 3]; the colours are the palette's but for the VAE's loss.

        Raises:
            InputError: an argument is out of its range.
        """
        check_arguments(captions, seeds, steps, guidance)
        height, width = check_size(size or self.record.size, self._pipeline)
        with require("torch", "diffusion").no_grad():
            images = self._pipeline(
                **self._prompts([self.record.fill(caption) for caption in captions]),
                height=height,
                width=width,
                num_inference_steps=steps,
                guidance_scale=guidance,
                guidance_rescale=GUIDANCE_RESCALE if self.record.zero_terminal_snr else 0.0,
                generator=make_generators(seeds),
                output_type="np",
            ).images
        return to_pixels(images)

    def _prompts(self, captions: list[str]) -> dict[str, Any]:
        """What the pipeline is told of the captions."""
        phrases = self.record.phrases
        if phrases == 1:
            return {"prompt": captions}
        context, pooled = encode_phrases(self._pipeline, captions, phrases)
        empty, nothing = encode_phrases(self._pipeline, [""] * len(captions), phrases)
        told = {"prompt_embeds": context, "negative_prompt_embeds": empty}
        if pooled is not None:
            told |= {"pooled_prompt_embeds": pooled, "negative_pooled_prompt_embeds": nothing}
        return told
