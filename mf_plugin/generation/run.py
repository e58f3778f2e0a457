"""Run a plan of any generator: plan, painter, assembler, dataset folder. Resumable.

Everything that can be wrong with the input is checked before the folder is touched. The groups of a
round are independent of each other; their mask work runs beside the painter (workers.py).
"""

from __future__ import annotations

import dataclasses
import logging
import platform
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from mf_plugin.errors import InputError
from mf_plugin.generation.generator import GeneratorConfig, GeneratorPlan, Painter
from mf_plugin.generation.makers import LocalMaker, Maker, identify, torch_threads
from mf_plugin.generation.progress import Progress
from mf_plugin.generation.ray_maker import RayConfig, RayMaker
from mf_plugin.generation.records import count_objects
from mf_plugin.generation.rounds import (
    Tally,
    describe_rounds,
    find_lacking,
    plan_next_round,
    tally_objects,
)
from mf_plugin.generation.storage import Storage, open_storage
from mf_plugin.generation.store import (
    DatasetStore,
    check_destination,
    check_resumable,
    remove_dataset,
    remove_staging,
)
from mf_plugin.generation.workers import MaskWorkers
from mf_plugin.generation.writing import write_groups

logger = logging.getLogger(__name__)


def generate(
    config: GeneratorConfig,
    out: str | Path,
    *,
    device: str = "cpu",
    mask_workers: int = 1,
    ray: RayConfig | None = None,
) -> Path:
    """Generate a dataset, or go on with one that an earlier call left unfinished.

    Args:
        config: decides the content, byte for byte, together with device and versions.
        out: the dataset folder. One that is complete and of this config is left as it is.
        device: of torch.
        mask_workers: processes that make masks and files while the U-Net goes on; 0 makes them
            in between. It changes no byte.
        ray: make the groups on Ray's workers, which make their masks themselves; no byte changes.

    Returns:
        The dataset folder.

    Raises:
        InputError: something does not fit, named; nothing has been written then.
        RunFailed: on Ray, a group failed again and again; what is done stays.
        MissingExtra: the extra "diffusion" is not installed, or "scale" where it is needed.
    """
    out = Path(out)
    generate_to(open_storage(out), config, device=device, mask_workers=mask_workers, ray=ray)
    return out


def generate_to(
    storage: Storage,
    config: GeneratorConfig,
    *,
    device: str = "cpu",
    mask_workers: int = 1,
    ray: RayConfig | None = None,
) -> None:
    """``generate`` to a folder or a URL.

    Raises:
        InputError, RunFailed, MissingExtra: as ``generate``.
    """
    if mask_workers < 0:
        raise InputError(f"mask_workers is {mask_workers}; expected 0 or more")
    plan = config.make_plan()
    check_destination(storage)
    if check_resumable(storage, identify(plan)):
        remove_staging(storage)
        logger.info("%s is complete; nothing to do", storage)
    elif ray is not None:
        with RayMaker(plan, device, ray) as maker:
            _fill(plan, maker, storage)
    else:
        with torch_threads(config.threads, device):
            generate_with(plan, plan.load_painter(device), storage, device, mask_workers)


def generate_with(
    plan: GeneratorPlan,
    painter: Painter,
    out: Path | Storage,
    device: str,
    mask_workers: int = 1,
) -> None:
    """``generate_to`` with a plan that is checked and models that are loaded.

    Args:
        plan: of one round.
        painter: of ``plan.load_painter(device)``; torch has the plan's number of threads.
        out, device, mask_workers: as in ``generate``.
    """
    with MaskWorkers(painter.assembler, mask_workers) as workers:
        _fill(plan, LocalMaker(painter, workers, device), open_storage(out))


def preview(
    config: GeneratorConfig, out: str | Path | Storage, num_images: int, *, device: str = "cpu"
) -> Path | str:
    """The plan's first canvases as a dataset of their own, beside ``out`` and named ``-preview``.

    A preview that is there already is replaced, whatever its config was.

    Raises:
        InputError, MissingExtra: as ``generate``.
    """
    storage = open_storage(out).beside("-preview")
    check_destination(storage)
    config = dataclasses.replace(config, num_images=num_images, until=None)  # type: ignore[type-var]
    config.make_plan()
    remove_dataset(storage)
    generate_to(storage, config, device=device)
    return storage.root


def _fill(plan: GeneratorPlan, maker: Maker, storage: Storage) -> None:
    """Make what is missing in the folder, then finalise it."""
    store = DatasetStore(
        storage,
        identity={**identify(plan), "weights_sha256": maker.weights},
        environment=maker.environment,
        categories=plan.vocabulary.to_lvis(),
    )
    with store:
        _run_rounds(plan, maker, store)


def _run_rounds(plan: GeneratorPlan, maker: Maker, store: DatasetStore) -> None:
    """Make the groups that are not done, round by round, then finalise."""
    if store.complete:  # by another process, while this one was loading the model
        return
    started, begin = datetime.now(UTC), time.perf_counter()
    tally: Tally = Counter()
    num_new = 0
    with Progress(plan.num_images) as progress:
        while True:
            num_new += _make_round(plan, maker, store, progress)
            for records in store.records_of(plan.last_round if plan.config.until else ()):
                tally += tally_objects(records or ())
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
        "device": maker.environment["device"],
        **maker.describe(),
        "seconds": round(seconds, 3),
        "canvases": num_new,
        "canvases_per_second": round(num_new / seconds, 4),
    }
    store.finalise(len(plan.groups), run, describe_rounds(plan, tally))


def _make_round(plan: GeneratorPlan, maker: Maker, store: DatasetStore, progress: Progress) -> int:
    """Make the groups of the last round that are not done; returns the number of new canvases."""
    waiting, num_new = [], 0
    for index, records in zip(plan.last_round, store.records_of(plan.last_round), strict=True):
        if records is None:
            waiting.append(index)
        else:
            progress.add(len(records), count_objects(records), earlier=True)
    for canvases, outcomes in write_groups(store, maker.make(plan, waiting)):
        progress.add(canvases, outcomes, status=maker.status)
        num_new += canvases
    return num_new
