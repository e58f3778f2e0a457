"""How an autoencoder renders a palette's colours.

An autoencoder of photographs shifts colours that photographs do not have, a pure magenta for one,
by up to two thirds of the distance to the next of 133. What a colour map is read with are therefore
the colours as they come out, measured once for an autoencoder.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from mf_plugin.errors import InputError
from mf_plugin.extras import require
from mf_plugin.seggen.palette import Palette

Images = npt.NDArray[np.uint8]
Reconstruct = Callable[[Images], Images]

SIDE = 96  # pixels of a test image: a disc of the colour on the background
_BATCH = 8


def calibrate_palette(palette: Palette, reconstruct: Reconstruct, side: int = SIDE) -> Palette:
    """The palette with ``rendered`` set: the median colour of a disc of each.

    Args:
        palette: any, of K categories; a former calibration is dropped.
        reconstruct: uint8[N, H, W, 3] RGB -> the same through the autoencoder; N up to 8.
        side: H = W of its images in pixels; a multiple of what the autoencoder asks for.

    Returns:
        The same ids and colours, with ``rendered`` uint8[K + 2, 3].

    Raises:
        InputError: ``reconstruct`` gave another shape or type than it took.
    """
    centre, radius = (side // 2, side // 2), side // 4
    inside = np.zeros((side, side), np.uint8)
    cv2.circle(inside, centre, max(radius * 5 // 6, 1), 1, -1)
    rendered = []
    for start in range(0, len(palette.all_colors), _BATCH):
        images = []
        for color in palette.all_colors[start : start + _BATCH].tolist():
            image = np.full((side, side, 3), palette.background, np.uint8)
            cv2.circle(image, centre, radius, color, -1)
            images.append(image)
        drawn = np.stack(images)
        found = reconstruct(drawn)
        if found.shape != drawn.shape or found.dtype != np.uint8:
            raise InputError(
                f"an autoencoder gave {found.dtype}{list(found.shape)}: expected "
                f"uint8{list(drawn.shape)}"
            )
        rendered += [np.median(image[inside > 0], axis=0) for image in found]
    return dataclasses.replace(palette, rendered=np.rint(rendered).astype(np.uint8))


def reconstruct_with(vae: Any) -> Reconstruct:
    """Images through a diffusers ``AutoencoderKL``, the mean of its latents."""

    def reconstruct(images: Images) -> Images:
        torch = require("torch", "diffusion")
        values = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)
        values = values.to(vae.device, vae.dtype) / 127.5 - 1
        with torch.inference_mode():
            decoded = vae.decode(vae.encode(values).latent_dist.mode()).sample.float()
        pixels = ((decoded.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1)
        found: Images = pixels.cpu().numpy()
        return found

    return reconstruct


def load_autoencoder(model: str, device: str = "cpu") -> Any:
    """The ``vae`` of a diffusers pipeline, a folder or hub id, in float32.

    Raises:
        InputError: there is none, or the device cannot be used.
    """
    diffusers, torch = (require(name, "diffusion") for name in ("diffusers", "torch"))
    try:
        vae = diffusers.AutoencoderKL.from_pretrained(
            model, subfolder="vae", torch_dtype=torch.float32
        )
        return vae.to(device).eval().requires_grad_(False)
    except (OSError, ValueError, RuntimeError) as error:
        line = (str(error).strip() or type(error).__name__).split("\n")[0]
        raise InputError(f"autoencoder of {model!r} cannot be loaded: {line}") from error
