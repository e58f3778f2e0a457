"""CLIP (Radford et al., arXiv 2103.00020) says how well a crop fits its prompt.

X-Paste (arXiv 2212.03863) keeps generated objects whose CLIP score, 100 times the cosine between
image and text, is at least 21. The checkpoint is the user's.

Shapes: N crops of any sizes, C texts, E numbers of an embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mf_plugin.arrays import Float32Array, Pixels
from mf_plugin.errors import InputError
from mf_plugin.extras import require
from mf_plugin.fields import check_fields
from mf_plugin.mosaic.pretrained import load_pretrained

Crop = Pixels
LOW_CLIP_SCORE = "low_clip_score"
_BATCH = 32


@dataclass(frozen=True)
class ClipFilterConfig:
    """Which objects CLIP lets pass.

    model: folder of a CLIP checkpoint of transformers, or hub id ("openai/clip-vit-large-patch14").
    min_score: least score of a region's crop with its prompt (X-Paste: 21).
    revision: branch, tag or commit of a hub model; None is its main branch.
    """

    model: str | Path
    min_score: float = 21.0
    revision: str | None = None

    def __post_init__(self) -> None:
        check_fields(self, "clip ")
        if not -100 <= self.min_score <= 100:
            raise InputError(
                f"clip min_score is {self.min_score}; expected -100 to 100, as 100 x cosine is"
            )

    def reason(self, score: float) -> str:
        """``low_clip_score``, or "" for a score that passes."""
        return "" if score >= self.min_score else LOW_CLIP_SCORE


class ClipScorer:
    """CLIP on crops and texts, in float32.

    Args:
        model: folder of a CLIP checkpoint of transformers, or hub id.
        device: where it runs.
        revision: branch, tag or commit of a hub model.

    Raises:
        InputError: the model or the device cannot be used.
        MissingExtra: the extra "diffusion" is not installed.
    """

    def __init__(self, model: str | Path, device: str = "cpu", revision: str | None = None) -> None:
        self._network, self._processor = load_pretrained("CLIP", model, device, revision)
        self._device = device
        # A folder without a tokenizer's files gives an empty tokenizer and no error.
        known = len(self._processor.tokenizer)
        expected = self._network.config.text_config.vocab_size
        if not expected / 2 < known <= expected:
            raise InputError(
                f"CLIP model {str(model)!r}: its tokenizer has {known} tokens; expected {expected}"
            )

    def score(self, crops: Sequence[Crop], texts: Sequence[str]) -> Float32Array:
        """100 times the cosine of each crop with its own text.

        Args:
            crops: uint8[h, w, 3] each, RGB.
            texts: one for each crop; what CLIP's text encoder has no place for is cut off.

        Returns:
            float32[N].
        """
        if len(crops) != len(texts):
            raise InputError(f"{len(crops)} crops for {len(texts)} texts; expected one each")
        column = {text: index for index, text in enumerate(dict.fromkeys(texts))}
        cosines = self._cosines(crops, list(column))
        return 100 * cosines[np.arange(len(crops)), [column[text] for text in texts]]

    def class_confidence(self, crops: Sequence[Crop], texts: Sequence[str]) -> Float32Array:
        """Which of the texts a crop shows: the softmax, at CLIP's own temperature.

        Args:
            crops: uint8[h, w, 3] each, RGB.
            texts: one for each class, such as "a photo of a bath towel".

        Returns:
            float32[N, C]; a row adds up to 1.
        """
        if not texts:
            raise InputError("no texts of classes; expected at least one")
        logits = self._cosines(crops, texts) * float(self._network.logit_scale.exp())
        shares: Float32Array = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        return shares

    def _cosines(self, crops: Sequence[Crop], texts: Sequence[str]) -> Float32Array:
        """float32[N, C]."""
        if not crops:
            return np.zeros((0, len(texts)), dtype=np.float32)
        images = self._embed(crops, self._embed_images)
        cosines: Float32Array = images @ self._embed(texts, self._embed_texts).T
        return cosines

    def _embed(self, items: Sequence[Any], encode: Callable[[list[Any]], Any]) -> Float32Array:
        """Unit vectors, float32[N, E]."""
        torch = require("torch", "diffusion")
        starts = range(0, len(items), _BATCH)
        with torch.no_grad():
            batches = [encode(list(items[start : start + _BATCH])) for start in starts]
        # transformers 4 gives the projected features, 5 an output that holds them.
        batches = [getattr(batch, "pooler_output", batch) for batch in batches]
        units = torch.nn.functional.normalize(torch.cat(batches).float(), dim=-1)
        embedded: Float32Array = units.cpu().numpy()
        return embedded

    def _embed_images(self, crops: list[Crop]) -> Any:
        inputs = self._processor.image_processor(
            images=crops, input_data_format="channels_last", return_tensors="pt"
        )
        pixels = inputs["pixel_values"].to(self._device)
        return self._network.get_image_features(pixel_values=pixels)

    def _embed_texts(self, texts: list[str]) -> Any:
        inputs = self._processor.tokenizer(
            texts,
            padding=True,
            truncation=True,
            max_length=self._network.config.text_config.max_position_embeddings,
            return_tensors="pt",
        ).to(self._device)
        return self._network.get_text_features(
            input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]
        )
