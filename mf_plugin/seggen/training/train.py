"""Trains Text2Mask or Mask2Img (SegGen, arXiv 2311.03355, sections 3.2 and 3.3).

Text2Mask fine-tunes the whole U-Net of a Stable Diffusion on (caption, colour map); Mask2Img trains
a ControlNet beside the frozen pipeline on (caption, colour map, image). accelerate runs it on one
process or many. Every sample is a pure function of its number (samples.py), so that a run that was
stopped goes on exactly.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mf_plugin.errors import InputError
from mf_plugin.extras import require
from mf_plugin.mosaic.components import load_components
from mf_plugin.seggen.base import check_network, check_size, hash_base, load_network
from mf_plugin.seggen.mask2img import build_controlnet
from mf_plugin.seggen.noise import check_velocity
from mf_plugin.seggen.pairs import SegGenPairs
from mf_plugin.seggen.palette import MIN_DISTANCE, make_palette
from mf_plugin.seggen.record import (
    FILE,
    WHATS,
    ModelRecord,
    read_record,
    write_base,
    write_record,
)
from mf_plugin.seggen.regions import RegionAttention, region_prompts
from mf_plugin.seggen.source import Source
from mf_plugin.seggen.sources import read_source
from mf_plugin.seggen.training.batches import Batches, CachedBatches, FreshBatches
from mf_plugin.seggen.training.captions import load_captions
from mf_plugin.seggen.training.checkpoints import Checkpoints
from mf_plugin.seggen.training.config import SegGenTrainConfig
from mf_plugin.seggen.training.log import TrainingLog, check_tracker
from mf_plugin.seggen.training.loss import DenoisingLoss
from mf_plugin.seggen.training.samples import SampleStream, repeat_pairs, step_numbers
from mf_plugin.seggen.training.validation import draw_sheet, make_sampler, validation_pairs

logger = logging.getLogger(__name__)

_DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


@dataclass
class _Training:
    """All parts of a run."""

    config: SegGenTrainConfig
    accelerator: Any
    source: Source
    pairs: SegGenPairs
    base: Any
    record: ModelRecord
    network: Any  # prepared by accelerate
    average: Any
    optimizer: Any
    attention: RegionAttention | None  # of networks that read region prompts

    @property
    def frozen_unet(self) -> Any | None:
        return self.base.unet if self.config.what == "mask2img" else None

    @property
    def prompts(self) -> dict[int, str] | None:
        """Region prompts by category id."""
        template = self.config.region_prompt
        return None if template is None else region_prompts(template, self.source.vocabulary)


def train(
    config: SegGenTrainConfig,
    work: str | Path,
    out: str | Path | None = None,
    *,
    device: str | None = None,
    resume: str = "auto",
) -> Path:
    """Train a model, or go on with it.

    Args:
        config: everything that decides the weights.
        work: folder of checkpoints, log and sheets of samples.
        out: folder to write the model to; None is ``work/model``. A model that lies there is
            replaced.
        device: "cpu" keeps off the GPU; None takes what accelerate finds.
        resume: "auto" goes on from the latest checkpoint in ``work``, if there is one; "never"
            refuses where there is one; else the folder of a checkpoint.

    Returns:
        The model's folder.

    Raises:
        InputError: data, base, config and checkpoint do not fit each other.
        MissingExtra: the extra "diffusion" is not installed.
    """
    work = Path(work)
    out = work / "model" if out is None else Path(out)
    if out.exists() and any(out.iterdir()) and not (out / FILE).is_file():
        raise InputError(f"out {out} holds something else than a SegGen model; expected no files")
    work.mkdir(parents=True, exist_ok=True)
    training = _prepare(config, work, device)
    fingerprint = training.source.fingerprint()
    checkpoints = Checkpoints(training.accelerator, work, config, training.record, fingerprint)
    start = checkpoints.resume(resume)
    _run(training, checkpoints, TrainingLog(training.accelerator, work, start), start)
    if training.accelerator.is_main_process:
        _export(training, out, fingerprint)
    training.accelerator.wait_for_everyone()
    training.accelerator.end_training()
    return out


def build_record(config: SegGenTrainConfig, base: Any, category_ids: Sequence[int]) -> ModelRecord:
    """What the model that a config trains will say of itself."""
    if config.zero_terminal_snr:
        check_velocity(base.scheduler)
    distance = config.palette_min_distance
    palette = make_palette(
        category_ids, min_distance=MIN_DISTANCE if distance is None else distance
    )
    return ModelRecord(
        what=config.what,
        base=write_base(config.base),
        revision=config.revision,
        base_sha256=hash_base(base, config.what),
        palette=palette,
        kind=config.kind,
        size=check_size(config.size, base),
        template=config.template,
        captions=config.captions,
        zero_terminal_snr=config.zero_terminal_snr,
        phrases=config.phrases,
        region_prompt=config.region_prompt,
    )


def build_network(config: SegGenTrainConfig, base: Any, record: ModelRecord) -> Any:
    """What is trained, in fp32: the base's U-Net, or a new ControlNet beside it; or ``start``.

    Raises:
        InputError: ``start`` does not fit the config.
    """
    if config.start is not None:
        differences = record.differences(read_record(config.start))
        if differences:
            raise InputError(f"start {config.start} does not fit: it has {'; '.join(differences)}")
        network = load_network(config.start, record, base)
    elif config.what == "text2mask":
        network = base.unet
    else:
        network = build_controlnet(base, config.conditioning_channels)
    check_network(network, base.unet)
    return network.train().requires_grad_(True)


def _prepare(config: SegGenTrainConfig, work: Path, device: str | None) -> _Training:
    torch, diffusers = require("torch", "diffusion"), require("diffusers", "diffusion")
    check_tracker(config.tracker)
    accelerator = require("accelerate", "diffusion").Accelerator(
        cpu=device == "cpu",
        mixed_precision=config.precision,
        gradient_accumulation_steps=config.accumulate,
        log_with=config.tracker,
        project_dir=str(work),
    )
    source = read_source(config.source)
    with accelerator.main_process_first():
        captions = load_captions(config, source, work, str(accelerator.device))
    base = load_components(config.base, str(accelerator.device), "fp32", revision=config.revision)
    record = build_record(config, base, [category.id for category in source.vocabulary])
    pairs = SegGenPairs(
        source,
        record.palette,
        config.kind,
        record.size,
        captions=captions,
        zoom=config.zoom,
        mirror=config.mirror,
        min_area=config.min_area,
        skip_incomplete=config.skip_incomplete,
    )
    source.check_images(pairs.image_ids)
    for name in ("vae", "text_encoder", "text_encoder_2", "unet"):
        part = getattr(base, name, None)
        if part is not None:
            part.requires_grad_(False).eval()
    torch.manual_seed(config.seed)  # of the layers that read the colour map
    network = build_network(config, base, record)
    _set_precision(config, base, config.precision)
    if config.gradient_checkpointing:
        network.enable_gradient_checkpointing()
    attention = None
    if config.region_prompt is not None:
        attention = RegionAttention([network, base.unet])
    average = diffusers.training_utils.EMAModel(network.parameters(), decay=config.ema)
    average.to(accelerator.device)
    optimizer = torch.optim.AdamW(
        _parameter_groups(config, network), lr=config.lr, weight_decay=config.weight_decay
    )
    network, optimizer = accelerator.prepare(network, optimizer)
    accelerator.register_for_checkpointing(average)
    if config.tracker is not None:
        accelerator.init_trackers("tensorboard")
    return _Training(
        config, accelerator, source, pairs, base, record, network, average, optimizer, attention
    )


def _parameter_groups(config: SegGenTrainConfig, network: Any) -> list[dict[str, Any]]:
    """What AdamW is given; what reads a colour map stands apart where it learns faster."""
    if config.conditioning_lr == 1:
        return [{"params": list(network.parameters()), "factor": 1.0}]
    reading = list(network.controlnet_cond_embedding.parameters())
    known = {id(parameter) for parameter in reading}
    copied = [parameter for parameter in network.parameters() if id(parameter) not in known]
    return [
        {"params": copied, "factor": 1.0},
        {"params": reading, "factor": config.conditioning_lr},
    ]


def _set_precision(config: SegGenTrainConfig, base: Any, precision: str) -> None:
    """What is frozen takes a precision; not so the VAE, which overflows in fp16, and stays fp32."""
    torch = require("torch", "diffusion")
    dtype = getattr(torch, _DTYPES["fp32" if precision == "no" else precision])
    frozen = ("text_encoder", "text_encoder_2", *(["unet"] * (config.what == "mask2img")))
    for name in frozen:
        part = getattr(base, name, None)
        if part is not None:
            torch.nn.Module.to(part, dtype)


def _run(training: _Training, checkpoints: Checkpoints, log: TrainingLog, start: int) -> None:
    torch = require("torch", "diffusion")
    config, accelerator = training.config, training.accelerator
    loss_of = DenoisingLoss(
        training.base.scheduler, config.min_snr, config.zero_terminal_snr, training.attention
    )
    if start >= config.steps:
        return
    batches = _make_batches(training)
    passes = _passes(training, start)
    losses, began = [], time.monotonic()
    bar = tqdm(
        total=config.steps, initial=start, desc=config.what, unit="step", mininterval=5,
        disable=not accelerator.is_local_main_process,
    )  # fmt: skip
    for step in range(start, config.steps):
        rate = config.learning_rate(step)
        for group in training.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        for _ in range(config.accumulate):
            with accelerator.accumulate(training.network):
                loss = loss_of(training.network, training.frozen_unet, batches(next(passes)))
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(training.network.parameters(), config.max_grad_norm)
                training.optimizer.step()
                training.optimizer.zero_grad(set_to_none=True)
            losses.append(loss.detach())
        training.average.step(training.network.parameters())
        bar.update()
        done = step + 1
        if done % config.log_every == 0 or done == config.steps:
            mean = float(accelerator.reduce(torch.stack(losses).mean(), reduction="mean"))
            seconds = (time.monotonic() - began) / max(1, len(losses) // config.accumulate)
            log.numbers(done, loss=mean, lr=rate, seconds_a_step=seconds)
            bar.set_postfix(loss=f"{mean:.4f}")
            losses, began = [], time.monotonic()
        if config.validate_every and done % config.validate_every == 0:
            _validate(training, log, done)
        if done % config.checkpoint_every == 0 or done == config.steps:
            checkpoints.save(done)
    bar.close()


def _make_batches(training: _Training) -> Batches:
    config = training.config
    if not config.cache_variants:
        return FreshBatches(training.base, training.record, config.object_weight, training.prompts)
    return CachedBatches(
        training.base,
        training.record,
        training.pairs,
        config.cache_variants,
        config.seed,
        config.object_weight,
        training.prompts,
    )


def _passes(training: _Training, start: int) -> Iterator[Any]:
    """The samples of each pass of this process, from step ``start`` on."""
    config, accelerator = training.config, training.accelerator
    processes = accelerator.num_processes
    stream = SampleStream(
        training.pairs,
        config.seed,
        config.empty_caption,
        config.batch_size * config.accumulate * processes,
        config.cache_variants,
        config.time_shift,
        repeat_pairs(training.pairs, config.repeat_threshold),
    )
    numbers = step_numbers(
        start,
        config.steps,
        batch=config.batch_size,
        accumulate=config.accumulate,
        processes=processes,
        rank=accelerator.process_index,
    )
    loader = require("torch", "diffusion").utils.data.DataLoader(
        stream,
        sampler=numbers,
        batch_size=config.batch_size,
        num_workers=0 if config.cache_variants else config.workers,
        collate_fn=list,
        # Its own generator: the workers' seeds are not drawn from the run's.
        generator=require("torch", "diffusion").Generator(),
    )
    return iter(loader)


@contextmanager
def _averaged(training: _Training) -> Iterator[Any]:
    """The network with the averaged weights in it."""
    network = training.accelerator.unwrap_model(training.network)
    training.average.store(network.parameters())
    training.average.copy_to(network.parameters())
    network.eval()
    try:
        yield network
    finally:
        network.train()
        training.average.restore(network.parameters())


def _validate(training: _Training, log: TrainingLog, step: int) -> None:
    accelerator, config = training.accelerator, training.config
    if not accelerator.is_main_process:
        return
    pairs = validation_pairs(training.pairs, config.validation_images)
    sample = make_sampler(config, training.record, training.base, training.prompts)
    if training.attention is not None:
        training.attention.texts = None  # the last batch's; the sampler has its own
    _set_precision(config, training.base, "no")  # diffusers' pipelines take no mixture
    with _averaged(training) as network:
        sheet = draw_sheet(pairs, sample(network, pairs))
    _set_precision(config, training.base, config.precision)
    logger.info("samples: %s", log.sheet(step, sheet))


def _export(training: _Training, out: Path, fingerprint: str) -> None:
    """Write the averaged weights and the record; whole, or the old folder stays."""
    torch, config = require("torch", "diffusion"), training.config
    versions = {name: require(name, "diffusion").__version__ for name in ("torch", "diffusers")}
    record = training.record.to_json()
    record["training"] = {
        "config": config.to_json(),
        "images": len(training.pairs),
        "source_sha256": fingerprint,
        "samples": config.steps
        * config.batch_size
        * config.accumulate
        * training.accelerator.num_processes,
        "versions": versions,
    }
    temporary = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    network = training.accelerator.unwrap_model(training.network)
    training.average.copy_to(network.parameters())
    torch.nn.Module.to(network, "cpu", getattr(torch, _DTYPES[config.save_dtype]))
    network.save_pretrained(temporary / WHATS[config.what], safe_serialization=True)
    write_record(temporary, ModelRecord.from_json(record))
    shutil.rmtree(out, ignore_errors=True)
    temporary.rename(out)
