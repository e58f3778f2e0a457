"""Run a plan: vocabulary, plan, pipeline, masks, filters, dataset folder. Resumable.

Everything that can be wrong with the input is checked before the folder is touched. One worker: the
groups are independent of each other, so that more of them can share a plan without changing a byte.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import platform
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mf_plugin.errors import InputError
from mf_plugin.extras import require
from mf_plugin.generation.assemble import assemble_canvas
from mf_plugin.generation.config import GenerationConfig
from mf_plugin.generation.plan import Group, Plan, load_vocabulary, make_plan
from mf_plugin.generation.records import ACCEPTED, CanvasResult
from mf_plugin.generation.store import (
    DatasetStore,
    check_destination,
    check_resumable,
    remove_dataset,
    remove_staging,
)
from mf_plugin.mosaic.pipeline import MosaicPipeline
from mf_plugin.mosaic.prompts import build_prompt, subject_tokens
from mf_plugin.vocabulary import Vocabulary

logger = logging.getLogger(__name__)

FORMAT = 1  # of the dataset folder
_PACKAGES = ("mf-plugin", "torch", "diffusers", "transformers", "numpy", "scipy", "pillow")


def generate(
    config: GenerationConfig, out: str | Path, *, device: str = "cpu", workers: int = 1
) -> Path:
    """Generate a dataset, or go on with one that an earlier call left unfinished.

    Args:
        config: decides the content, byte for byte, together with device and versions.
        out: the dataset folder. One that is complete and of this config is left as it is.
        device: of torch.
        workers: 1.

    Returns:
        The dataset folder.

    Raises:
        InputError: something does not fit, named; nothing has been written then.
        MissingExtra: the extra "diffusion" is not installed.
    """
    out = Path(out)
    if workers != 1:
        raise InputError(f"workers is {workers}; expected 1")
    vocabulary = load_vocabulary(config.vocabulary)
    plan = make_plan(config, vocabulary)
    check_destination(out)
    identity = {
        "format": FORMAT,
        "config": config.to_json(),
        "config_hash": config.config_hash,
        "vocabulary_sha256": _hash_vocabulary(vocabulary),
    }
    if check_resumable(out, identity):
        remove_staging(out)
        logger.info("%s is complete; nothing to do", out)
        return out
    with _torch_threads(config.threads, device):
        pipeline = _load_pipeline(plan, device)
        identity["weights_sha256"] = pipeline.model_hash()
        store = DatasetStore(
            out,
            identity=identity,
            environment=_describe_environment(device),
            categories=vocabulary.to_lvis(),
            jpeg_quality=config.jpeg_quality,
        )
        with store:
            return _run_groups(plan, pipeline, store, device)


def preview(
    config: GenerationConfig, out: str | Path, num_images: int, *, device: str = "cpu"
) -> Path:
    """The plan's first canvases as a dataset of their own, beside ``out`` and named ``-preview``.

    A preview that is there already is replaced, whatever its config was.
    """
    out = Path(out)
    folder = out.with_name(out.name + "-preview")
    check_destination(folder)
    config = dataclasses.replace(config, num_images=num_images)
    make_plan(config, load_vocabulary(config.vocabulary))
    remove_dataset(folder)
    return generate(config, folder, device=device)


def _run_groups(plan: Plan, pipeline: MosaicPipeline, store: DatasetStore, device: str) -> Path:
    """Make the groups that are not done, then finalise."""
    if store.complete:  # by another process, while this one was loading the model
        return store.folder
    started, begin = datetime.now(timezone.utc), time.perf_counter()
    done = [store.outcomes(index) for index in range(len(plan.groups))]
    outcomes: Counter[str] = sum(filter(None, done), Counter())
    waiting = [index for index, counts in enumerate(done) if counts is None]
    sizes = {index: len(plan.groups[index].canvases) for index in waiting}
    num_new = sum(sizes.values())
    with tqdm(
        desc="generating",
        unit="canvas",
        total=plan.num_images,
        initial=plan.num_images - num_new,
    ) as bar:
        _show(bar, outcomes)
        for index in waiting:
            group_begin = time.perf_counter()
            canvases = _make_group(pipeline, plan.config, plan.groups[index])
            outcomes += store.add(index, canvases, time.perf_counter() - group_begin)
            bar.update(sizes[index])
            _show(bar, outcomes)
    seconds = time.perf_counter() - begin
    run = {
        "started": started.isoformat(timespec="seconds"),
        "host": platform.node(),
        "device": _name_device(device),
        "workers": 1,
        "seconds": round(seconds, 3),
        "canvases": num_new,
        "canvases_per_second": round(num_new / seconds, 4),
    }
    return store.finalise(len(plan.groups), run)


def _make_group(
    pipeline: MosaicPipeline, config: GenerationConfig, group: Group
) -> list[CanvasResult]:
    output = pipeline(
        group.layout,
        [canvas.prompts for canvas in group.canvases],
        seeds=[canvas.seed for canvas in group.canvases],
        steps=config.steps,
        guidance=config.guidance,
        negative_prompt=config.negative_prompt,
        attention=config.attention,
    )
    return [
        assemble_canvas(image, attention, group, canvas, config)
        for image, attention, canvas in zip(
            output.images, output.attention, group.canvases, strict=True
        )
    ]


def _load_pipeline(plan: Plan, device: str) -> MosaicPipeline:
    """Load the model and see that it fits the plan."""
    config = plan.config
    pipeline = MosaicPipeline.from_pretrained(config.model, device, scheduler=config.scheduler)
    if config.multiple % pipeline.vae_factor:
        raise InputError(
            f"multiple is {config.multiple}; expected a multiple of {pipeline.vae_factor}, "
            f"the VAE factor of {config.model}: regions must be divisible by it"
        )
    longest = max(config.backgrounds, key=len, default="")
    for category in dict.fromkeys(plan.main + plan.others):
        subject_tokens(pipeline.tokenizer, build_prompt(category, config.template, longest))
    return pipeline


@contextmanager
def _torch_threads(threads: int, device: str) -> Iterator[None]:
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


def _show(bar: tqdm, outcomes: Counter[str]) -> None:
    rejected = sum(outcomes.values()) - outcomes[ACCEPTED]
    bar.set_postfix(accepted=outcomes[ACCEPTED], rejected=rejected)


def _hash_vocabulary(vocabulary: Vocabulary) -> str:
    return hashlib.sha256(json.dumps(vocabulary.to_lvis(), sort_keys=True).encode()).hexdigest()


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
