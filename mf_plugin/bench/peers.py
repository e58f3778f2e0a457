"""What generation is compared with: its own U-Net calls alone, and a plain diffusers loop."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mf_plugin.extras import require

if TYPE_CHECKING:
    import torch

    from mf_plugin.generation.config import GenerationConfig
    from mf_plugin.generation.plan import Group
    from mf_plugin.mosaic.pipeline import MosaicPipeline


class UnetCalls:
    """The U-Net calls of a stretch of work, to be made again with nothing around them.

    Calls of one input shape differ in values alone, which do not change their cost: one set of
    inputs is kept of each shape, with the number of calls.
    """

    def __init__(self) -> None:
        self._inputs: dict[Any, tuple[tuple[Any, ...], dict[str, Any]]] = {}
        self._order: list[Any] = []

    def __len__(self) -> int:
        return len(self._order)

    @property
    def rows(self) -> int:
        """Latents denoised by all calls together, both halves of guidance counted."""
        return sum(shape[0] * count for (shape, *_), count in Counter(self._order).items())

    @contextmanager
    def recorded(self, unet: Any) -> Iterator[UnetCalls]:
        """Note the calls of ``unet`` inside."""

        def note(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            sample = args[0] if args else kwargs["sample"]
            key = (tuple(sample.shape), sample.dtype)
            self._inputs.setdefault(key, (args, kwargs))
            self._order.append(key)

        handle = unet.register_forward_pre_hook(note, with_kwargs=True)
        try:
            yield self
        finally:
            handle.remove()

    def repeat(self, unet: Any) -> None:
        """Make the calls again, in their order."""
        torch = require("torch", "diffusion")
        with torch.no_grad():
            for key in self._order:
                args, kwargs = self._inputs[key]
                unet(*args, **kwargs)


def sample_plainly(
    pipeline: MosaicPipeline, config: GenerationConfig, groups: Sequence[Group]
) -> None:
    """The same canvases' pixels by diffusers' own pipeline: a batch of whole images a group.

    Same weights, scheduler, steps, guidance and batch; one prompt an image; no regions, no
    attention, no masks, no files.
    """
    torch = require("torch", "diffusion")
    components = copy.copy(pipeline.components)
    components.scheduler = copy.deepcopy(pipeline.scheduler)
    components.set_progress_bar_config(disable=True)
    for group in groups:
        generators = [torch.Generator("cpu").manual_seed(c.seed) for c in group.canvases]
        components(
            [canvas.prompts[canvas.main_region].text for canvas in group.canvases],
            height=group.layout.height,
            width=group.layout.width,
            num_inference_steps=config.steps,
            guidance_scale=config.guidance,
            generator=generators,
            output_type="np",
        )


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        require("torch", "diffusion").cuda.synchronize(device)
