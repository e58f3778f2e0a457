"""The denoising error that both models are trained on.

Epsilon and velocity prediction (Salimans and Ho 2022), by the base's scheduler; optionally weighted
by the signal-to-noise ratio (Hang et al. 2023), or by where objects are. Shapes: B samples,
C x h x w latents, T times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mf_plugin.errors import InputError
from mf_plugin.extras import require
from mf_plugin.seggen.noise import VELOCITY, end_in_noise
from mf_plugin.seggen.regions import RegionAttention
from mf_plugin.seggen.training.batches import Batch

if TYPE_CHECKING:
    import torch

PREDICTIONS = ("epsilon", VELOCITY)


class DenoisingLoss:
    """The error of a network on a batch.

    Args:
        scheduler: of the base; its noise levels and what the U-Net predicts.
        min_snr: gamma; None weighs all times the same.
        zero_terminal_snr: whether the last noise level is noise alone (noise.py).
        attention: of the networks, where batches have regions.

    Raises:
        InputError: the base predicts something else.
    """

    def __init__(
        self,
        scheduler: Any,
        min_snr: float | None = None,
        zero_terminal_snr: bool = False,
        attention: RegionAttention | None = None,
    ) -> None:
        kind = scheduler.config.prediction_type
        if kind not in PREDICTIONS:
            raise InputError(
                f"the base's scheduler predicts {kind!r}; expected one of {PREDICTIONS}"
            )
        self._noise = require("diffusers", "diffusion").DDPMScheduler.from_config(scheduler.config)
        if zero_terminal_snr:
            self._noise = end_in_noise(self._noise)
        self._velocity = kind == VELOCITY
        self._attention = attention
        self._weights = None if min_snr is None else self._min_snr_weights(min_snr)

    def __call__(self, network: Any, unet: Any | None, batch: Batch) -> torch.Tensor:
        """Mean squared error over the batch.

        Args:
            network: the U-Net of Text2Mask, or Mask2Img's ControlNet.
            unet: the frozen U-Net beside a ControlNet; None for Text2Mask.
            batch: what it learns from.
        """
        noisy = self._noise.add_noise(batch.latents, batch.noise, batch.times)
        if self._attention is not None:
            self._attention.texts = batch.regions
        target = batch.noise
        if self._velocity:
            target = self._noise.get_velocity(batch.latents, batch.noise, batch.times)
        error = (predict(network, unet, noisy, batch) - target).square()
        if batch.weights is not None:
            error = error * batch.weights
        error = error.mean((1, 2, 3))
        if self._weights is not None:
            error = error * self._weights.to(error.device)[batch.times]
        return error.mean()

    def _min_snr_weights(self, gamma: float) -> torch.Tensor:
        """float32[T]."""
        signal = self._noise.alphas_cumprod
        snr = signal / (1 - signal)
        return snr.clamp(max=gamma) / (snr + 1 if self._velocity else snr)


def predict(network: Any, unet: Any | None, noisy: torch.Tensor, batch: Batch) -> torch.Tensor:
    """What the U-Net says of noisy latents, float32[B, C, h, w]."""
    told: dict[str, Any] = {"encoder_hidden_states": batch.context}
    if batch.pooled is not None:
        told["added_cond_kwargs"] = {"text_embeds": batch.pooled, "time_ids": batch.sizes}
    if unet is None:
        return network(noisy, batch.times, return_dict=False, **told)[0].float()
    down, middle = network(
        noisy, batch.times, controlnet_cond=batch.condition, return_dict=False, **told
    )
    dtype = unet.dtype
    told["encoder_hidden_states"] = batch.context.to(dtype)
    output = unet(
        noisy.to(dtype),
        batch.times,
        down_block_additional_residuals=[residual.to(dtype) for residual in down],
        mid_block_additional_residual=middle.to(dtype),
        return_dict=False,
        **told,
    )
    return output[0].float()
