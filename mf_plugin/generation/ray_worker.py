"""The process that holds the models on a Ray cluster and makes one group at a time."""

from __future__ import annotations

import os
import platform
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import cv2

from mf_plugin.generation.generator import GeneratorConfig, GeneratorPlan, Painter, Round
from mf_plugin.generation.makers import describe_environment, identify, torch_threads
from mf_plugin.generation.workers import MadeGroup, assemble_group


@dataclass(frozen=True)
class Introduction:
    """A worker with its models loaded: where it is, and what its groups depend on."""

    node: str
    pid: int
    identity: dict[str, Any]
    weights: Any
    environment: dict[str, Any]


class GroupWorker:
    """A Ray actor. It knows the config and makes the plan itself, so that a task is one number.

    Args:
        config: of the run.
        device: of torch.
        folder: the driver's working directory, which relative paths start from, where it is there.
    """

    def __init__(self, config: GeneratorConfig, device: str, folder: str) -> None:
        self._config, self._device, self._folder = config, device, folder
        self._held = ExitStack()
        self._plan: GeneratorPlan
        self._painter: Painter

    def load(self) -> Introduction:
        """Make the plan and load the models.

        Raises:
            InputError: something does not fit on this machine.
        """
        if os.path.isdir(self._folder):
            os.chdir(self._folder)
        cv2.setNumThreads(1)
        self._plan = self._config.make_plan()
        self._held.enter_context(torch_threads(self._config.threads, self._device))
        self._painter = self._plan.load_painter(self._device)
        return Introduction(
            platform.node(),
            os.getpid(),
            identify(self._plan),
            self._painter.weights(),
            describe_environment(self._device),
        )

    def follow(self, later: tuple[Round, ...]) -> None:
        """Take over the rounds that follow the config's own."""
        if len(later) + 1 != len(self._plan.rounds):
            self._plan = replace(self._plan, rounds=(self._plan.rounds[0], *later))

    def make(self, index: int) -> MadeGroup:
        """Paint a group and make its masks and files."""
        begin, group = time.perf_counter(), self._plan.groups[index]
        painted = self._painter.paint(group)
        seconds = time.perf_counter() - begin
        canvases = assemble_group(self._painter.assembler, group, painted)
        return MadeGroup(index, canvases, seconds, describe_environment(self._device))
