"""Segment Anything (Kirillov et al., arXiv 2304.02643) gives masks their edges, from their boxes.

MosaicFusion, section 4.4 and Table 6: SAM, prompted with the boxes of the masks that come out of
the attention, replaces these masks (mask APr 15.2 -> 16.0 there). The checkpoint is the user's.

Shapes: an image is (H, W), B masks on it; SAM proposes three masks for a box.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mf_plugin.arrays import Mask, Pixels
from mf_plugin.errors import InputError
from mf_plugin.extras import require
from mf_plugin.fields import check_fields
from mf_plugin.mosaic.pretrained import load_pretrained

CHOICES = ("overlap", "score")


@dataclass(frozen=True)
class SamRefineConfig:
    """SAM as the last step of a mask.

    model: folder of a SAM checkpoint of transformers, or hub id ("facebook/sam-vit-huge" is the
        paper's).
    choose: which of SAM's proposals is taken: "overlap", the one of the largest IoU with the mask
        whose box was given, so that the object stays the one that the attention saw; "score", the
        one that SAM itself thinks best.
    revision: branch, tag or commit of a hub model; None is its main branch.
    """

    model: str | Path
    choose: str = "overlap"
    revision: str | None = None

    def __post_init__(self) -> None:
        check_fields(self, "sam ")
        if self.choose not in CHOICES:
            raise InputError(f"sam choose is {self.choose!r}; expected one of {CHOICES}")


class SamRefiner:
    """SAM, prompted with the boxes of masks, in float32.

    Args:
        model: folder of a SAM checkpoint of transformers, or hub id.
        device: where it runs.
        choose, revision: as in SamRefineConfig.

    Raises:
        InputError: the model or the device cannot be used.
        MissingExtra: the extra "diffusion" is not installed.
    """

    def __init__(
        self,
        model: str | Path,
        device: str = "cpu",
        choose: str = "overlap",
        revision: str | None = None,
    ) -> None:
        self.config = SamRefineConfig(model, choose, revision)
        self._network, self._processor = load_pretrained("Sam", model, device, revision)
        self._device = device

    def refine(self, image: Pixels, masks: Sequence[Mask]) -> list[Mask]:
        """SAM's mask for the box of each mask; the image is encoded once for all of them.

        Args:
            image: uint8[H, W, 3], RGB: a region, or a canvas with several objects.
            masks: bool[H, W] each.

        Returns:
            bool[H, W] each; an empty mask stays empty. A mask may reach past its box.

        Raises:
            InputError: a mask is not of the image's size.
        """
        for index, mask in enumerate(masks):
            if mask.shape != image.shape[:2]:
                raise InputError(f"mask {index} is {mask.shape}; expected {image.shape[:2]}")
        prompted = [index for index, mask in enumerate(masks) if mask.any()]
        refined = [np.zeros(mask.shape, dtype=bool) for mask in masks]
        if prompted:
            proposals, scores = self._propose(image, [mask_box(masks[i]) for i in prompted])
            for index, candidates, values in zip(prompted, proposals, scores, strict=True):
                if self.config.choose == "overlap":
                    values = [_iou(candidate, masks[index]) for candidate in candidates]
                refined[index] = candidates[int(np.argmax(values))]
        return refined

    def _propose(
        self, image: Pixels, boxes: list[list[float]]
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float32]]:
        """bool[B, 3, H, W] and SAM's own estimate of their IoU, float32[B, 3]."""
        torch = require("torch", "diffusion")
        inputs: Any = self._processor(
            images=[image],
            input_boxes=[boxes],
            input_data_format="channels_last",
            return_tensors="pt",
        )
        with torch.no_grad():
            output = self._network(
                pixel_values=inputs["pixel_values"].to(self._device, torch.float32),
                input_boxes=inputs["input_boxes"].to(self._device, torch.float32),
                multimask_output=True,
            )
        masks = self._processor.image_processor.post_process_masks(
            output.pred_masks.cpu(), inputs["original_sizes"], inputs["reshaped_input_sizes"]
        )[0]
        return masks.numpy(), output.iou_scores[0].float().cpu().numpy()


def mask_box(mask: Mask) -> list[float]:
    """[left, top, right, bottom] in pixels around a mask that is not empty: bool[H, W]; right and
    bottom lie behind its last column and row."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return [float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)]


def _iou(first: Mask, second: Mask) -> float:
    return np.count_nonzero(first & second) / max(np.count_nonzero(first | second), 1)
