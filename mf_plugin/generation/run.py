"""Run a plan of any generator: plan, painter, assembler, dataset folder. Resumable.

Everything that can be wrong with the input is checked before the folder is touched. The groups of a
round are independent of each other; their mask work runs beside the painter (workers.py).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import platform
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from mf_plugin.errors import InputError
from mf_plugin.extras import require
from mf_plugin.generation.generator import GeneratorConfig, GeneratorPlan, Painter
from mf_plugin.generation.progress import Progress
from mf_plugin.generation.rounds import (
    Tally,
    describe_rounds,
    find_lacking,
    plan_next_round,
    tally_objects,
)
from mf_plugin.generation.store import (
    DatasetStore,
    check_destination,
    check_resumable,
    remove_dataset,
    remove_staging,
)
from mf_plugin.generation.workers import MadeGroup, MaskWorkers

logger = logging.getLogger(__name__)

FORMAT = 1  # of the dataset folder
_PACKAGES = ("mf-plugin", "torch", "diffusers", "transformers", "numpy", "scipy", "pillow")


def generate(
    config: GeneratorConfig, out: str | Path, *, device: str = "cpu", mask_workers: int = 1
) -> Path:
    """Generate a dataset, or go on with one that an earlier call left unfinished.

    Args:
        config: decides the content, byte for byte, together with device and versions.
        out: the dataset folder. One that is complete and of this config is left as it is.
        device: of torch.
        mask_workers: processes that make masks and files while the U-Net goes on; 0 makes them
            in between. It changes no byte.

    Returns:
        The dataset folder.

    Raises:
        InputError: something does not fit, named; nothing has been written then.
        MissingExtra: the extra "diffusion" is not installed.
    """
    out = Path(out)
    if mask_workers < 0:
        raise InputError(f"mask_workers is {mask_workers}; expected 0 or more")
    plan = config.make_plan()
    check_destination(out)
    if check_resumable(out, _identify(plan)):
        remove_staging(out)
        logger.info("%s is complete; nothing to do", out)
        return out
    with torch_threads(config.threads, device):
        return generate_with(plan, plan.load_painter(device), out, device, mask_workers)


def generate_with(
    plan: GeneratorPlan, painter: Painter, out: Path, device: str, mask_workers: int = 1
) -> Path:
    """``generate`` with a plan that is checked and models that are loaded.

    Args:
        plan: of one round.
        painter: of ``plan.load_painter(device)``; torch has the plan's number of threads.
        out, device, mask_workers: as in ``generate``.
    """
    store = DatasetStore(
        out,
        identity={**_identify(plan), "weights_sha256": painter.weights()},
        environment=_describe_environment(device),
        categories=plan.vocabulary.to_lvis(),
    )
    with store, MaskWorkers(painter.assembler, mask_workers) as workers:
        return _run_rounds(plan, painter, store, workers, device)


def preview(
    config: GeneratorConfig, out: str | Path, num_images: int, *, device: str = "cpu"
) -> Path:
    """The plan's first canvases as a dataset of their own, beside ``out`` and named ``-preview``.

    A preview that is there already is replaced, whatever its config was.
    """
    out = Path(out)
    folder = out.with_name(out.name + "-preview")
    check_destination(folder)
    config = dataclasses.replace(config, num_images=num_images, until=None)  # type: ignore[type-var]
    config.make_plan()
    remove_dataset(folder)
    return generate(config, folder, device=device)


def _run_rounds(
    plan: GeneratorPlan, painter: Painter, store: DatasetStore, workers: MaskWorkers, device: str
) -> Path:
    """Make the groups that are not done, round by round, then finalise."""
    if store.complete:  # by another process, while this one was loading the model
        return store.folder
    started, begin = datetime.now(timezone.utc), time.perf_counter()
    tally: Tally = Counter()
    num_new = 0
    with Progress(plan.num_images) as progress:
        while True:
            num_new += _make_round(plan, painter, store, workers, progress)
            for index in plan.last_round if plan.config.until else ():
                tally += tally_objects(store.records(index))
            longer = plan_next_round(plan, tally)
            if longer is None:
                break
            plan = longer
            progress.extend(plan.num_images)
    lacking = find_lacking(plan, tally)
    if lacking:
        logger.warning(
            "the budget of %d canvases is spent; accepted objects that lack: %s",
            plan.num_images,
            ", ".join(f"{category.name} {number}" for category, number in lacking.items()),
        )
    seconds = time.perf_counter() - begin
    run = {
        "started": started.isoformat(timespec="seconds"),
        "host": platform.node(),
        "device": _name_device(device),
        "mask_workers": workers.number,
        "seconds": round(seconds, 3),
        "canvases": num_new,
        "canvases_per_second": round(num_new / seconds, 4),
    }
    return store.finalise(len(plan.groups), run, describe_rounds(plan, tally))


def _make_round(
    plan: GeneratorPlan,
    painter: Painter,
    store: DatasetStore,
    workers: MaskWorkers,
    progress: Progress,
) -> int:
    """Make the groups of the last round that are not done; returns the number of new canvases."""
    waiting, num_new = [], 0
    for index in plan.last_round:
        outcomes = store.outcomes(index)
        if outcomes is None:
            waiting.append(index)
        else:
            progress.add(len(plan.canvas_numbers(index)), outcomes, earlier=True)
    for made in _make_groups(painter, plan, waiting, workers):
        progress.add(len(made.canvases), store.add(made.index, made.canvases, made.seconds))
        num_new += len(made.canvases)
    return num_new


def _make_groups(
    painter: Painter, plan: GeneratorPlan, indices: Iterable[int], workers: MaskWorkers
) -> Iterator[MadeGroup]:
    """The groups, each as soon as its masks are ready; the painter does not wait for them."""
    for index in indices:
        begin, group = time.perf_counter(), plan.groups[index]
        painted = painter.paint(group)
        yield from workers.add(group, painted, time.perf_counter() - begin)
    yield from workers.finish()


@contextmanager
def torch_threads(threads: int, device: str) -> Iterator[None]:
    """Run with the plan's thread count and give the process its own back."""
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


def _identify(plan: GeneratorPlan) -> dict[str, Any]:
    """What the content depends on besides the weights."""
    vocabulary = json.dumps(plan.vocabulary.to_lvis(), sort_keys=True)
    return {
        "format": FORMAT,
        "config": plan.config.to_json(),
        "config_hash": plan.config.config_hash,
        "vocabulary_sha256": hashlib.sha256(vocabulary.encode()).hexdigest(),
        **plan.identity(),
    }


def _describe_environment(device: str) -> dict[str, Any]:
    versions = {"python": platform.python_version()}
    for package in (*_PACKAGES, "opencv-python-headless"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {"device": _name_device(device), "versions": versions}


def _name_device(device: str) -> str:
    torch = require("torch", "diffusion")
    if torch.device(device).type == "cuda":
        return f"cuda: {torch.cuda.get_device_name(device)}"
    return torch.device(device).type
