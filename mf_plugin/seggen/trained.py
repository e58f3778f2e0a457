"""What Text2Mask and Mask2Img share: a diffusers pipeline, and the record of what it was trained
for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mf_plugin.mosaic.samplers import make_scheduler
from mf_plugin.seggen.base import check_size
from mf_plugin.seggen.noise import end_in_noise
from mf_plugin.seggen.palette import Palette
from mf_plugin.seggen.record import ModelRecord


class TrainedModel:
    """A trained model, ready to sample.

    Args:
        pipeline: of diffusers, with the trained part in it.
        record: what that part was trained for.
        scheduler: name of a diffusers scheduler; None is the pipeline's own.
    """

    def __init__(self, pipeline: Any, record: ModelRecord, scheduler: str | None) -> None:
        self.record = record
        pipeline.scheduler = make_scheduler(pipeline.scheduler, scheduler)
        if record.zero_terminal_snr:
            pipeline.scheduler = end_in_noise(pipeline.scheduler)
        pipeline.set_progress_bar_config(disable=True)
        self._pipeline = pipeline

    @property
    def palette(self) -> Palette:
        """Colours of the maps."""
        return self.record.palette

    @property
    def kind(self) -> str:
        """One of "instance", "semantic" and "panoptic"."""
        return self.record.kind

    @property
    def base(self) -> str:
        """Folder or hub id of the base."""
        return self.record.base

    def check_size(self, size: Sequence[int]) -> tuple[int, int]:
        """(height, width) in pixels; InputError unless the base can paint it."""
        return check_size(size, self._pipeline)
