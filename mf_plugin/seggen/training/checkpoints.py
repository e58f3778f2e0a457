"""Checkpoints of a training, whole or not there at all, and which one to go on from.

A checkpoint is a folder of accelerate's (weights, optimiser, averaged weights, random states) with
a ``train.json`` that says which step, config and model it belongs to.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from mf_plugin.errors import InputError
from mf_plugin.jsonfile import MOST_LEVELS, parse_json
from mf_plugin.lvis.io import write_json_atomic
from mf_plugin.seggen.record import ModelRecord
from mf_plugin.seggen.training.config import SegGenTrainConfig

FILE = "train.json"
_NAME = re.compile(r"step-(\d{8})")


class Checkpoints:
    """The checkpoints in ``work/checkpoints``.

    Args:
        accelerator: of the training, with everything prepared and registered.
        work: its folder.
        config: its config.
        record: of the model that it trains.
        source: fingerprint of the data set.
    """

    def __init__(
        self,
        accelerator: Any,
        work: Path,
        config: SegGenTrainConfig,
        record: ModelRecord,
        source: str,
    ) -> None:
        self._accelerator, self._folder = accelerator, work / "checkpoints"
        self._config, self._record, self._source = config, record, source

    def save(self, step: int) -> None:
        """Write the state after ``step`` steps, and drop the oldest; all processes call it."""
        final = self._folder / f"step-{step:08d}"
        temporary = self._folder / "unfinished"
        if self._accelerator.is_main_process:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
        self._accelerator.wait_for_everyone()
        self._accelerator.save_state(str(temporary))
        self._accelerator.wait_for_everyone()
        if self._accelerator.is_main_process:
            state = {"step": step, "source": self._source, "config": self._config.to_json()}
            write_json_atomic(temporary / FILE, {**state, "model": self._record.to_json()})
            shutil.rmtree(final, ignore_errors=True)
            temporary.rename(final)
            for old in self.found()[: -self._config.keep_checkpoints]:
                shutil.rmtree(old)
        self._accelerator.wait_for_everyone()

    def found(self) -> list[Path]:
        """Whole checkpoints, the oldest first."""
        if not self._folder.is_dir():
            return []
        return sorted(path for path in self._folder.iterdir() if _NAME.fullmatch(path.name))

    def resume(self, which: str) -> int:
        """Load a checkpoint.

        Args:
            which: "auto": the latest, if there is one; "never": none may be there; or the folder
                of one.

        Returns:
            The number of steps behind it; 0 where nothing was loaded.

        Raises:
            InputError: there is no such checkpoint, or it belongs to another config or model; the
                message has the differences.
        """
        if which == "never":
            if self.found():
                raise InputError(f"{self._folder} holds checkpoints; expected none with 'never'")
            return 0
        if which == "auto" and not self.found():
            return 0
        folder = self.found()[-1] if which == "auto" else Path(which)
        step = self._check(folder)
        try:
            self._accelerator.load_state(str(folder))
        except Exception as error:  # torch, safetensors and pickle each have their own
            line = (str(error).strip() or type(error).__name__).split("\n")[0]
            raise InputError(f"checkpoint {folder} cannot be loaded: {line}") from error
        return step

    def _check(self, folder: Path) -> int:
        try:
            state = parse_json((folder / FILE).read_bytes(), FILE, levels=MOST_LEVELS)
            step, config = int(state["step"]), dict(state["config"])
            model, source = ModelRecord.from_json(state["model"]), state["source"]
        except OSError:
            raise InputError(f"checkpoint {folder}: expected a folder with a {FILE}") from None
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"checkpoint {folder}: {FILE} is damaged: {error}") from None
        # One and the same change shows in the config and in what follows from it.
        differences = self._config.differences(config) or self._record.differences(model)
        if not differences and source != self._source:
            differences = [f"data {source[:12]}; expected {self._source[:12]}"]
        if differences:
            raise InputError(
                f"checkpoint {folder} does not fit the config: it has {'; '.join(differences)}"
            )
        return step
