"""BLIP-2 (Li et al., arXiv 2301.12597) captions images, as SegGen has its training images captioned
(arXiv 2311.03355, section 3). The checkpoint is the user's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mf_plugin.errors import InputError
from mf_plugin.extras import require
from mf_plugin.mosaic.pretrained import load_pretrained

Image = npt.NDArray[np.uint8]

_DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


class Blip2Captioner:
    """BLIP-2 on images, without sampling: one image always gets one caption.

    Args:
        model: folder of a BLIP-2 checkpoint of transformers, or hub id
            ("Salesforce/blip2-opt-2.7b").
        device: where it runs.
        dtype: "fp32", "bf16" or "fp16".
        max_tokens: of a caption.
        batch_size: images at once.

    Raises:
        InputError: the model, the device or the dtype cannot be used.
        MissingExtra: the extra "diffusion" is not installed.
    """

    def __init__(
        self,
        model: str | Path,
        device: str = "cpu",
        dtype: str = "fp32",
        *,
        max_tokens: int = 30,
        batch_size: int = 8,
    ) -> None:
        if dtype not in _DTYPES:
            raise InputError(f"dtype is {dtype!r}: expected one of {', '.join(_DTYPES)}")
        for name, value in (("max_tokens", max_tokens), ("batch_size", batch_size)):
            if value < 1:
                raise InputError(f"{name} is {value}: expected 1 or more")
        self._network, self._processor = load_pretrained(
            "Blip2", model, device, head="ForConditionalGeneration", dtype=_DTYPES[dtype]
        )
        self._name, self._max_tokens, self._batch_size = str(model), max_tokens, batch_size

    def caption(self, images: Sequence[Image]) -> list[str]:
        """One caption for each image uint8[H, W, 3], RGB, of any sizes.

        Raises:
            InputError: an image of another form, or one of which the model says nothing.
        """
        for number, image in enumerate(images):
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
                raise InputError(
                    f"image {number} is {image.dtype}{list(image.shape)}: expected uint8[H, W, 3]"
                )
        captions: list[str] = []
        for start in range(0, len(images), self._batch_size):
            captions += self._caption_batch(list(images[start : start + self._batch_size]))
        silent = next((n for n, caption in enumerate(captions) if not caption), None)
        if silent is not None:
            raise InputError(
                f"BLIP-2 {self._name!r} says nothing of image {silent}: expected a caption"
            )
        return captions

    def _caption_batch(self, images: list[Image]) -> list[str]:
        torch = require("torch", "diffusion")
        inputs = self._processor(
            images=images, input_data_format="channels_last", return_tensors="pt"
        ).to(self._network.device, self._network.dtype)
        with torch.inference_mode():
            tokens = self._network.generate(
                **inputs, max_new_tokens=self._max_tokens, do_sample=False
            )
        texts = self._processor.batch_decode(tokens, skip_special_tokens=True)
        return [" ".join(text.split()) for text in texts]
