"""What a training shows while it goes on: caption, real image, real colour map, sample.

Shapes: N rows of the sheet, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from mf_plugin.seggen.mask2img import Mask2Img
from mf_plugin.seggen.pairs import Pair, SegGenPairs
from mf_plugin.seggen.record import ModelRecord
from mf_plugin.seggen.regions import background_prompts
from mf_plugin.seggen.text2mask import Text2Mask
from mf_plugin.seggen.training.config import SegGenTrainConfig

Images = npt.NDArray[np.uint8]
_LINE = 14  # pixels for the caption above a row
_GAP = 4


def validation_pairs(pairs: SegGenPairs, count: int) -> list[Pair]:
    """The centres of ``count`` images, spread evenly over the data set."""
    places = np.linspace(0, len(pairs) - 1, min(count, len(pairs))).astype(int)
    return [pairs[int(place)] for place in places]


def make_sampler(
    config: SegGenTrainConfig,
    record: ModelRecord,
    base: Any,
    prompts: Mapping[int, str] | None = None,
) -> Callable[[Any, Sequence[Pair]], Images]:
    """A function that samples for pairs with a network, uint8[N, H, W, 3]; seeds are 0 to N - 1.

    Args:
        config, record, base: of the training.
        prompts: region prompts by category id, or None.
    """

    def sample(network: Any, pairs: Sequence[Pair]) -> Images:
        captions, seeds = [pair.caption for pair in pairs], range(len(pairs))
        steps, guidance = config.validation_steps, config.validation_guidance
        if record.what == "text2mask":
            base.register_modules(unet=network)
            model = Text2Mask(base, record)
            return model(captions, seeds=seeds, size=config.size, steps=steps, guidance=guidance)
        maps = np.stack([pair.colormap for pair in pairs])
        return Mask2Img(base, network, record)(
            captions,
            maps,
            seeds=seeds,
            steps=steps,
            guidance=guidance,
            control_scale=config.validation_control,
            region_prompts=prompts,
            backgrounds=background_prompts(captions, record.captions),
        )

    return sample


def draw_sheet(pairs: Sequence[Pair], samples: Images) -> Images:
    """A row for each pair: its image, its colour map and the sample, under its caption."""
    height, width = samples.shape[1:3]
    row_height = height + _LINE + _GAP
    sheet = Image.new("RGB", (3 * width + 2 * _GAP, row_height * len(pairs)), "white")
    drawing = ImageDraw.Draw(sheet)
    for row, (pair, sample) in enumerate(zip(pairs, samples, strict=True)):
        top = row * row_height
        drawing.text((2, top + 1), pair.caption, fill="black")
        for column, pixels in enumerate((pair.image, pair.colormap, sample)):
            sheet.paste(Image.fromarray(pixels), (column * (width + _GAP), top + _LINE))
    return np.asarray(sheet)
