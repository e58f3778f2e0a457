"""The captions of a training: none where they are composed, else a table of them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from tqdm import tqdm

from mf_plugin.errors import InputError
from mf_plugin.jsonfile import read_json
from mf_plugin.lvis.io import write_json_atomic
from mf_plugin.seggen.blip2 import Blip2Captioner
from mf_plugin.seggen.captions import read_blip2_captions, read_coco_captions
from mf_plugin.seggen.source import Source
from mf_plugin.seggen.training.config import SegGenTrainConfig

logger = logging.getLogger(__name__)

_TOGETHER = 8  # images that are in memory at once
_SAVE_EVERY = 50  # such parts


def load_captions(
    config: SegGenTrainConfig, source: Source, work: Path, device: str
) -> Mapping[int, tuple[str, ...]] | None:
    """Image id -> its captions; None where they are composed from the segments.

    BLIP-2 captions all images once, into ``work/captions.json``; a run that was stopped goes on.

    Raises:
        InputError: there is no caption of any image, a file of them is damaged, or the model cannot
            be used.
    """
    ids = [image.id for image in source.images]
    if config.captions == "composed":
        return None
    if config.captions == "coco":
        assert config.captions_file is not None
        return read_coco_captions(config.captions_file, ids)
    return _blip2_captions(config, source, work / "captions.json", device)


def _blip2_captions(
    config: SegGenTrainConfig, source: Source, path: Path, device: str
) -> Mapping[int, tuple[str, ...]]:
    model = str(config.blip2_model)
    key = {"model": model, "source": source.fingerprint()}
    found: dict[int, str] = {}
    if path.is_file():
        saved = read_json(path)
        found = read_blip2_captions(path, saved)
        if {name: saved.get(name) for name in key} != key:
            raise InputError(f"{path} has captions of another model or data set; expected {model}")
    left = [image.id for image in source.images if image.id not in found]
    if left:
        captioner = Blip2Captioner(model, device)
        parts = [left[i : i + _TOGETHER] for i in range(0, len(left), _TOGETHER)]
        for number, part in enumerate(tqdm(parts, desc="BLIP-2", unit="batch"), start=1):
            found |= zip(part, captioner.caption([source.read_image(i) for i in part]), strict=True)
            if number % _SAVE_EVERY == 0 or number == len(parts):
                write_json_atomic(path, {**key, "captions": found})
    return {image_id: (caption,) for image_id, caption in found.items()}
