"""What a training writes down: a line of json for every few steps, and TensorBoard on request."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from mf_plugin.errors import InputError
from mf_plugin.jsonfile import parse_json
from mf_plugin.lvis.io import write_bytes_atomic


def check_tracker(tracker: str | None) -> None:
    """InputError where the package of a tracker is missing."""
    if tracker is not None and importlib.util.find_spec(tracker) is None:
        raise InputError(
            f"tracker {tracker!r} is not installed: pip install {tracker}, or set tracker=None"
        )


class TrainingLog:
    """The log of a run; what an earlier run wrote after ``start``, or half a line, is dropped.

    Args:
        accelerator: whose trackers take the same numbers.
        work: folder of log.jsonl and validation/.
        start: step from which the run goes on.
    """

    def __init__(self, accelerator: Any, work: Path, start: int) -> None:
        self._accelerator, self._work = accelerator, work
        self._path = work / "log.jsonl"
        if accelerator.is_main_process:
            goes_on = start > 0 and self._path.is_file()  # the checkpoint may be of another folder
            rows = self._path.read_bytes().splitlines() if goes_on else []
            kept = [row for row in rows if _is_until(row, start)]
            write_bytes_atomic(self._path, b"".join(row + b"\n" for row in kept))

    def numbers(self, step: int, **values: float) -> None:
        """Write numbers of a step."""
        self._accelerator.log(values, step=step)
        if self._accelerator.is_main_process:
            with open(self._path, "a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **values}) + "\n")

    def sheet(self, step: int, sheet: npt.NDArray[np.uint8]) -> Path:
        """Write a sheet uint8[H, W, 3] of samples; validation/step-00000500.png."""
        path = self._work / "validation" / f"step-{step:08d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(sheet).save(path)
        for tracker in self._accelerator.trackers:
            tracker.log_images({"samples": sheet[None]}, step=step, dataformats="NHWC")
        return path


def _is_until(row: bytes, step: int) -> bool:
    try:
        found = parse_json(row, "log.jsonl")["step"]
        return type(found) is int and found <= step
    except (InputError, KeyError, TypeError):
        return False
