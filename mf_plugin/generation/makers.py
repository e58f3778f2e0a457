"""Who makes the groups of a plan: this process, or workers elsewhere (ray_maker.py).

A group is a pure function of plan, index and weights, so that who makes it changes no byte.
"""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from typing import Any, Protocol

from mf_plugin.errors import InputError
from mf_plugin.extras import require
from mf_plugin.generation.generator import GeneratorPlan, Painter
from mf_plugin.generation.workers import MadeGroup, MaskWorkers

FORMAT = 1  # of the dataset folder
_PACKAGES = ("mf-plugin", "torch", "diffusers", "transformers", "numpy", "scipy", "pillow")


class Maker(Protocol):
    """Makes groups; models are loaded when it is there.

    Attributes:
        weights: SHA-256 of the models, JSON values, as ``Painter.weights`` gives them.
        environment: device and versions, JSON values.
        status: a few words for the line of progress; "" if there is nothing to say.
    """

    @property
    def weights(self) -> Any: ...

    @property
    def environment(self) -> dict[str, Any]: ...

    @property
    def status(self) -> str: ...

    def make(self, plan: GeneratorPlan, indices: Sequence[int]) -> Iterator[MadeGroup]:
        """The groups, each as soon as it is ready, in any order."""
        ...

    def describe(self) -> dict[str, Any]:
        """What run.json says of the run's workers; JSON values."""
        ...


class LocalMaker:
    """Paints in this process; masks are made beside it.

    Args:
        painter: of the plan; torch has the plan's number of threads.
        workers: of the painter's assembler, entered.
        device: of the painter.
    """

    status = ""

    def __init__(self, painter: Painter, workers: MaskWorkers, device: str) -> None:
        self._painter, self._workers = painter, workers
        self.weights = painter.weights()
        self.environment = describe_environment(device)

    def make(self, plan: GeneratorPlan, indices: Sequence[int]) -> Iterator[MadeGroup]:
        """In the order of ``indices``; the painter does not wait for the masks."""
        for index in indices:
            begin, group = time.perf_counter(), plan.groups[index]
            painted = self._painter.paint(group)
            yield from self._workers.add(group, painted, time.perf_counter() - begin)
        yield from self._workers.finish()

    def describe(self) -> dict[str, Any]:
        return {"mask_workers": self._workers.number}


@contextmanager
def torch_threads(threads: int, device: str) -> Iterator[None]:
    """Run with the plan's thread count and give the process its own back.

    Args:
        threads: of torch.
        device: that the run is for; on a GPU cuDNN is made deterministic, and stays so.

    Raises:
        InputError: the device cannot be used.
        MissingExtra: the extra "diffusion" is not installed.
    """
    torch = require("torch", "diffusion")
    try:
        kind = torch.device(device).type
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        first_line = str(error).split("\n")[0]
        raise InputError(f"device {device!r} cannot be used: {first_line}") from error
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    if kind == "cuda":
        torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        torch.set_num_threads(before)


def identify(plan: GeneratorPlan) -> dict[str, Any]:
    """What the content depends on besides the weights."""
    vocabulary = json.dumps(plan.vocabulary.to_lvis(), sort_keys=True)
    return {
        "format": FORMAT,
        "config": plan.config.to_json(),
        "config_hash": plan.config.config_hash,
        "vocabulary_sha256": hashlib.sha256(vocabulary.encode()).hexdigest(),
        **plan.identity(),
    }


def describe_environment(device: str) -> dict[str, Any]:
    """The device's name and the versions of what computes on it."""
    versions = {"python": platform.python_version()}
    for package in (*_PACKAGES, "opencv-python-headless"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {"device": name_device(device), "versions": versions}


def name_device(device: str) -> str:
    """``"cpu"``, or ``"cuda: "`` and the GPU's name."""
    torch = require("torch", "diffusion")
    if torch.device(device).type == "cuda":
        return f"cuda: {torch.cuda.get_device_name(device)}"
    return str(torch.device(device).type)
