"""Diffusers schedulers: any of them by name, and one run of one over a batch of canvases.

A scheduler of diffusers holds the state of a run (step counter, earlier predictions), so every run
works on a copy. What a scheduler needs to know of the time stays on the CPU: no step reads a number
back from the device that holds the latents.

Some samplers call the U-Net more often than once a step: Heun and KDPM2 twice, but for the last
step; PNDM warms up. Call i of n belongs to step ``i * steps // n``.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mf_plugin.errors import InputError
from mf_plugin.extras import require

if TYPE_CHECKING:
    import torch

SCHEDULERS = (
    "DDIMParallelScheduler",
    "DDIMScheduler",
    "DDPMParallelScheduler",
    "DDPMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSDEScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LCMScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "SASolverScheduler",
    "TCDScheduler",
    "UniPCMultistepScheduler",
)
# For checkpoints trained with EDM's noise levels and scaling of the input, and for no others.
EDM_SCHEDULERS = ("EDMDPMSolverMultistepScheduler", "EDMEulerScheduler")


def make_scheduler(own: Any, name: str | None) -> Any:
    """The checkpoint's own scheduler, or the diffusers class ``name`` with the own one's settings.

    Args:
        own: scheduler of the checkpoint.
        name: class name; None is the own one.

    Raises:
        InputError: ``name`` is no scheduler that can take these settings, or its package is
            missing.
    """
    if name is None or name == type(own).__name__:
        return own
    known = EDM_SCHEDULERS if type(own).__name__ in EDM_SCHEDULERS else SCHEDULERS
    if name not in known:
        raise InputError(
            f"scheduler {name!r} cannot take the settings of this checkpoint's "
            f"{type(own).__name__}; expected one of {', '.join(known)}"
        )
    try:
        return getattr(require("diffusers", "diffusion"), name).from_config(own.config)
    except ImportError as error:  # diffusers has a stand-in for what lacks a package
        raise InputError(f"scheduler {name!r}: {' '.join(str(error).split())}") from error


def step_of_call(call: int, num_calls: int, steps: int) -> int:
    """The sampler's step, from 0, that U-Net call ``call`` of ``num_calls`` belongs to."""
    return call * steps // num_calls


def first_call_of_step(step: int, num_calls: int, steps: int) -> int:
    """The first U-Net call of the sampler's step ``step``."""
    return -(-step * num_calls // steps)


@dataclass(frozen=True)
class Call:
    """One call of the U-Net: its number, the sampler's step that it belongs to, and its time.

    time is on the CPU, for the scheduler; unet_time on the device.
    """

    index: int
    step: int
    time: torch.Tensor
    unet_time: torch.Tensor


class SamplerRun:
    """One run of a scheduler over a batch of canvases.

    Args:
        scheduler: of diffusers; it is copied.
        steps: of the sampler.
        generators: one CPU generator a canvas, the source of its noise in stochastic samplers.
        device: of the latents.

    Raises:
        InputError: the scheduler cannot take that many steps.
    """

    def __init__(
        self,
        scheduler: Any,
        steps: int,
        generators: Sequence[torch.Generator],
        device: torch.device | str,
    ) -> None:
        self._scheduler = copy.deepcopy(scheduler)
        self._generators = list(generators)
        try:
            self._scheduler.set_timesteps(steps, device="cpu")
        except (ValueError, IndexError, AssertionError) as error:
            name, reason = type(scheduler).__name__, " ".join(str(error).split())
            raise InputError(f"scheduler {name} cannot take {steps} steps: {reason}") from error
        times = self._scheduler.timesteps
        times = times.float() if times.is_floating_point() else times
        self.calls = [
            Call(index, step_of_call(index, len(times), steps), time, unet_time)
            for index, (time, unet_time) in enumerate(zip(times, times.to(device), strict=True))
        ]
        takes_generator = "generator" in inspect.signature(self._scheduler.step).parameters
        self._extra = {"generator": self._generators} if takes_generator else {}

    def first_call(self, step: int) -> Call:
        """The first call of the sampler's step ``step``."""
        steps = self.calls[-1].step + 1
        return self.calls[first_call_of_step(step, len(self.calls), steps)]

    def start(self, noise: torch.Tensor) -> torch.Tensor:
        """Standard normal noise [B, C, H, W] -> the latents that the first step takes."""
        self._begin_at(self.calls[0])
        if hasattr(self._scheduler, "noise_sampler_seed"):
            self._scheduler.noise_sampler = self._brownian_noise(noise)
        return noise * self._scheduler.init_noise_sigma

    def start_at(self, call: Call, clean: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Clean latents and noise [B, C, H, W] -> latents as noisy as ``call`` expects them."""
        self._begin_at(call)
        return self._scheduler.add_noise(clean, noise, call.time.repeat(len(clean)))

    def scale(self, latents: torch.Tensor, call: Call) -> torch.Tensor:
        """Latents [B, C, H, W] as the U-Net takes them in this call, of the same shape."""
        return self._scheduler.scale_model_input(latents, call.time)

    def step(self, prediction: torch.Tensor, call: Call, latents: torch.Tensor) -> torch.Tensor:
        """The latents after ``call``.

        Args:
            prediction: float[B, C, H, W], what the U-Net says of them.
            call: which this was; the calls of a run come in their order.
            latents: float[B, C, H, W] before it, not scaled.

        Returns:
            float[B, C, H, W] in the latents' dtype.
        """
        result = self._scheduler.step(
            prediction, call.time, latents, return_dict=False, **self._extra
        )
        return result[0].to(latents.dtype)

    def _begin_at(self, call: Call) -> None:
        if hasattr(self._scheduler, "set_begin_index"):
            self._scheduler.set_begin_index(call.index)

    def _brownian_noise(self, noise: torch.Tensor) -> Any:
        """Noise of DPMSolverSDEScheduler: a Brownian path for each canvas, drawn on the CPU."""
        module = require("diffusers.schedulers.scheduling_dpmsolver_sde", "diffusion")
        sigmas = self._scheduler.sigmas
        seeds = [generator.initial_seed() for generator in self._generators]
        sample = module.BrownianTreeNoiseSampler(
            noise.cpu(), sigmas[sigmas > 0].min().item(), sigmas.max().item(), seeds
        )
        return lambda sigma, next_sigma: sample(sigma, next_sigma).to(noise.device)
