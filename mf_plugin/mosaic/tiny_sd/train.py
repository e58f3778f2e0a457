"""Trains tiny Stable Diffusion in stages: VAE, latents, U-Net with text encoder, decoder.

Every stage is a loop over numbered steps whose randomness comes from (seed, stage, step) alone, so
a run that is stopped goes on from its checkpoint exactly. Checkpoints lie in the work folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from mf_plugin.arrays import IntArray
from mf_plugin.errors import InputError
from mf_plugin.extras import require
from mf_plugin.mosaic.tiny_sd import components
from mf_plugin.mosaic.tiny_sd.config import TinySDConfig
from mf_plugin.mosaic.tiny_sd.data import (
    Captions,
    Corpus,
    SceneCaptions,
    load_corpus,
    region_counts,
    tokenizer_corpus,
)
from mf_plugin.mosaic.tiny_sd.steps import run_steps, schedule, total_steps

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from torch import Tensor
    from torch.nn import Module
    from torch.optim import Optimizer
    from transformers import CLIPTextModel, CLIPTokenizer

_VAE, _LATENTS, _UNET, _DECODER, _SCENES = range(5)
_SHOWN = ("categories", "backgrounds", "styles")  # what stands beside the latents


@dataclass(frozen=True)
class _Run:
    """What the stages share."""

    torch: ModuleType
    config: TinySDConfig
    corpus: Corpus
    vae: AutoencoderKL
    work: Path
    device: str


class _Latents(TypedDict):
    """Of the training set: for each region shape float16[N, 4, h, w] and, of each of _SHOWN, its
    indices[N]."""

    shapes: list[tuple[npt.NDArray[Any], ...]]
    scaling_factor: float


def train(config: TinySDConfig, work: Path, out: Path, device: str = "cpu") -> Path:
    """Train, or go on with, the model of ``config`` and write the pipeline folder ``out``."""
    torch = require("torch", "diffusion")
    torch.manual_seed(config.seed)
    work.mkdir(parents=True, exist_ok=True)
    corpus = load_corpus(config)
    tokenizer = _tokenizer(config, work)
    vae = components.build_vae(config).to(device)
    text_encoder = components.build_text_encoder(tokenizer, config).to(device)
    unet = components.build_unet(config).to(device)
    if config.start is not None:
        _load_start(Path(config.start), vae, text_encoder, unet)

    run = _Run(torch, config, corpus, vae, work, device)
    _train_vae(run)
    latents = _encode(run)
    if config.start is not None and not config.vae_cycles:  # the U-Net knows this scale
        latents["scaling_factor"] = float(vae.config.scaling_factor)
    captions = Captions(tokenizer, corpus.categories, config)
    scenes = None
    if config.scenes:
        encoded, objects = _encode_scenes(run)
        scenes = encoded, SceneCaptions(tokenizer, corpus.categories, objects, config)
    _train_unet(run, latents, captions, scenes, text_encoder, unet)
    _train_decoder(run)
    vae.register_to_config(scaling_factor=latents["scaling_factor"])
    return export(vae, text_encoder, tokenizer, unet, out)


def _tokenizer(config: TinySDConfig, work: Path) -> CLIPTokenizer:
    """Learnt once and kept: the embeddings belong to it, whatever becomes of the category table."""
    folder = work / "tokenizer"
    if config.start is not None:
        folder = Path(config.start) / "tokenizer"
        if not folder.is_dir():
            raise InputError(f"start {config.start} is no pipeline folder: it has no tokenizer/")
    elif not folder.exists():
        temporary = work / "tokenizer.tmp"
        components.train_tokenizer(tokenizer_corpus(config), config).save_pretrained(temporary)
        temporary.replace(folder)
    return require("transformers", "diffusion").CLIPTokenizer.from_pretrained(folder)


def _load_start(
    folder: Path, vae: AutoencoderKL, text_encoder: CLIPTextModel, unet: UNet2DConditionModel
) -> None:
    """Copy the weights of a pipeline folder into the models."""
    torch, diffusers = require("torch", "diffusion"), require("diffusers", "diffusion")
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32)
    for name, model in (("vae", vae), ("text_encoder", text_encoder), ("unet", unet)):
        model.load_state_dict(getattr(pipeline, name).state_dict())
    vae.register_to_config(scaling_factor=pipeline.vae.config.scaling_factor)


def export(
    vae: AutoencoderKL,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    unet: UNet2DConditionModel,
    out: Path,
) -> Path:
    """Write the StableDiffusionPipeline folder, weights in half precision.

    The text encoder, which is small, stays in single precision: transformers loads a model in the
    precision that it was saved in, diffusers in single, and the two must agree.
    """
    torch, diffusers = require("torch", "diffusion"), require("diffusers", "diffusion")
    pipeline = diffusers.StableDiffusionPipeline(
        vae=vae.to("cpu", torch.float16),
        text_encoder=text_encoder.to("cpu", torch.float32),
        tokenizer=tokenizer,
        unet=unet.to("cpu", torch.float16),
        scheduler=components.build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(out, safe_serialization=True)
    return out


def _compose_batch(
    run: _Run, rng: np.random.Generator, size: tuple[int, int], count: int
) -> tuple[Tensor, dict[str, IntArray]]:
    """Images float32[N, 3, H, W] in [-1, 1], and of each of _SHOWN its indices[N]."""
    drawn = [run.corpus.draw(rng, size) for _ in range(count)]
    images = run.torch.from_numpy(np.stack([d.image for d in drawn])).to(run.device)
    images = images.permute(0, 3, 1, 2).float() / 127.5 - 1
    shown = zip(_SHOWN, zip(*(d[1:] for d in drawn), strict=True), strict=True)
    return images, {what: np.array(indices) for what, indices in shown}


def _reconstruction_loss(torch: ModuleType, decoded: Tensor, images: Tensor) -> Tensor:
    """L1 of the pixels, of means over 4 x 4 (colour), and of differences to neighbours (edges)."""
    error = decoded - images
    colour = torch.nn.functional.avg_pool2d(error, 4).abs().mean()
    across = (error[..., :, 1:] - error[..., :, :-1]).abs().mean()
    down = (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
    return error.abs().mean() + 2 * colour + 0.5 * (across + down)


def _train_vae(run: _Run) -> None:
    torch, config, vae = run.torch, run.config, run.vae
    optimizer = torch.optim.AdamW(vae.parameters(), config.vae_lr, weight_decay=1e-4)
    vae.train()

    def step_fn(step: int) -> float:
        rng = np.random.default_rng((config.seed, _VAE, step))
        images, _ = _compose_batch(run, rng, (64, 64), config.vae_batch)
        generator = torch.Generator(run.device).manual_seed(int(rng.integers(2**31)))
        posterior = vae.encode(images).latent_dist
        decoded = vae.decode(posterior.sample(generator)).sample
        reconstruction = _reconstruction_loss(torch, decoded, images)
        loss = reconstruction + config.kl_weight * posterior.kl().mean()
        factor = schedule(step, config.vae_cycles, config)
        return _update(torch, optimizer, loss, factor, config.vae_lr)

    state = {"vae": vae, "optimizer": optimizer}
    run_steps(torch, "vae", run.work, total_steps(config.vae_cycles), state, step_fn)
    vae.requires_grad_(False).eval()


def _train_decoder(run: _Run) -> None:
    """The decoder alone, on latents with a little noise, as a diffusion model hands them over."""
    torch, config, vae = run.torch, run.config, run.vae
    parameters = [*vae.decoder.parameters(), *vae.post_quant_conv.parameters()]
    for parameter in parameters:
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(parameters, config.vae_lr, weight_decay=1e-4)

    def step_fn(step: int) -> float:
        rng = np.random.default_rng((config.seed, _DECODER, step))
        images, _ = _compose_batch(run, rng, (64, 64), config.vae_batch)
        generator = torch.Generator(run.device).manual_seed(int(rng.integers(2**31)))
        with torch.no_grad():
            mean = vae.encode(images).latent_dist.mean
            noise = torch.randn(mean.shape, generator=generator, device=run.device)
            latents = mean + 0.05 * mean.std() * noise
        loss = _reconstruction_loss(torch, vae.decode(latents).sample, images)
        factor = schedule(step, config.decoder_cycles, config)
        return _update(torch, optimizer, loss, factor, config.vae_lr)

    state = {"vae": vae, "optimizer": optimizer}
    run_steps(torch, "decoder", run.work, total_steps(config.decoder_cycles), state, step_fn)
    vae.requires_grad_(False).eval()


def _encode(run: _Run) -> _Latents:
    """Latents of the whole training set, computed once: a list of region shapes with arrays."""
    torch, config, vae = run.torch, run.config, run.vae
    path = run.work / "latents.npz"
    counts = region_counts(config)
    if not path.exists():
        arrays: dict[str, npt.NDArray[Any]] = {}
        with tqdm(total=sum(n for _, n in counts), desc="latents", unit="image") as bar:
            for b, (size, count) in enumerate(counts):
                latents, shown = [], []
                for first in range(0, count, 64):
                    rng = np.random.default_rng((config.seed, _LATENTS, b, first))
                    n = min(64, count - first)
                    images, indices = _compose_batch(run, rng, size, n)
                    with torch.no_grad():
                        mean = vae.encode(images).latent_dist.mean
                    latents.append(mean.cpu().numpy().astype(np.float16))
                    shown.append(indices)
                    bar.update(n)
                arrays[f"latents{b}"] = np.concatenate(latents)
                for what in _SHOWN:
                    arrays[f"{what}{b}"] = np.concatenate([indices[what] for indices in shown])
        temporary = run.work / "latents.tmp.npz"
        np.savez(temporary, **arrays)  # type: ignore[arg-type]  # numpy: one name is a bool
        temporary.replace(path)
    with np.load(path) as saved:
        shapes = [
            tuple(saved[f"{what}{b}"] for what in ("latents", *_SHOWN)) for b in range(len(counts))
        ]
    deviation = np.sqrt(np.mean([s[0].astype(np.float32).var() for s in shapes]))
    return {"shapes": shapes, "scaling_factor": float(1.0 / deviation)}


def _encode_scenes(run: _Run) -> tuple[npt.NDArray[np.float16], list[list[int]]]:
    """Latents float16[N, 4, h, w] of the scenes, computed once, and the objects of each."""
    torch, config, vae = run.torch, run.config, run.vae
    path = run.work / "scenes.npz"
    if not path.exists():
        latents, objects = [], []
        for first in tqdm(range(0, config.scenes, 32), "scenes", unit="batch"):
            rng = np.random.default_rng((config.seed, _SCENES, first))
            drawn = [
                run.corpus.draw_scene(rng, config.scene_size, config.scene_objects)
                for _ in range(min(32, config.scenes - first))
            ]
            images = torch.from_numpy(np.stack([scene.image for scene in drawn])).to(run.device)
            with torch.no_grad():
                mean = vae.encode(images.permute(0, 3, 1, 2).float() / 127.5 - 1).latent_dist.mean
            latents.append(mean.cpu().numpy().astype(np.float16))
            objects += [scene.objects for scene in drawn]
        rows = np.full((config.scenes, config.scene_objects[1]), -1, np.int16)
        for row, seen in zip(rows, objects, strict=True):
            row[: len(seen)] = seen
        temporary = run.work / "scenes.tmp.npz"
        np.savez(temporary, latents=np.concatenate(latents), objects=rows)
        temporary.replace(path)
    with np.load(path) as saved:
        return saved["latents"], [row[row >= 0].tolist() for row in saved["objects"]]


def _train_unet(
    run: _Run,
    latents: _Latents,
    captions: Captions,
    scenes: tuple[npt.NDArray[np.float16], SceneCaptions] | None,
    text_encoder: CLIPTextModel,
    unet: UNet2DConditionModel,
) -> None:
    """v-prediction, min-SNR weights (Hang et al. 2023); leaves the averaged weights in place."""
    torch, config, device = run.torch, run.config, run.device
    scheduler = components.build_scheduler()
    snr = scheduler.alphas_cumprod / (1 - scheduler.alphas_cumprod)
    weights = (snr.clamp(max=config.min_snr) / (snr + 1)).to(device)
    shapes, scale = latents["shapes"], latents["scaling_factor"]
    shares = np.array([len(s[0]) for s in shapes], float)
    model = torch.nn.ModuleDict({"unet": unet, "text_encoder": text_encoder}).train()
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(config.ema)
    )
    optimizer = torch.optim.AdamW(model.parameters(), config.unet_lr, weight_decay=1e-4, fused=True)

    def step_fn(step: int) -> float:
        rng = np.random.default_rng((config.seed, _UNET, step))
        # 1. A batch of one region shape, or of scenes, and captions for it
        if scenes is not None and rng.random() < config.scene_share:
            z, lists = scenes
            chosen = rng.integers(len(z), size=config.scene_batch)
            ids = lists.draw(rng, chosen)
        else:
            z, *shown = shapes[rng.choice(len(shapes), p=shares / shares.sum())]
            chosen = rng.integers(len(z), size=config.unet_batch)
            ids = captions.draw(rng, *(indices[chosen] for indices in shown))
        clean = torch.from_numpy(z[chosen].astype(np.float32) * np.float32(scale)).to(device)
        # 2. Noise at stratified time steps
        generator = torch.Generator(device).manual_seed(int(rng.integers(2**31)))
        noise = torch.randn(clean.shape, generator=generator, device=device)
        strata = (np.arange(len(chosen)) + rng.random(len(chosen))) / len(chosen)
        t = torch.from_numpy((strata * scheduler.config.num_train_timesteps).astype(np.int64)).to(
            device
        )
        noisy = scheduler.add_noise(clean, noise, t)
        target = scheduler.get_velocity(clean, noise, t)
        # 3. Predict v from the caption
        hidden = text_encoder(torch.from_numpy(ids).to(device)).last_hidden_state
        predicted = unet(noisy, t, hidden).sample
        loss = ((predicted - target).square().mean((1, 2, 3)) * weights[t]).mean()
        factor = schedule(step, config.unet_cycles, config)
        value = _update(torch, optimizer, loss, factor, config.unet_lr, model)
        average.update_parameters(model)
        return value

    state = {"model": model, "average": average, "optimizer": optimizer}
    run_steps(torch, "unet", run.work, total_steps(config.unet_cycles), state, step_fn)
    model.load_state_dict(average.module.state_dict())
    model.requires_grad_(False).eval()


def _update(
    torch: ModuleType,
    optimizer: Optimizer,
    loss: Tensor,
    factor: float,
    lr: float,
    model: Module | None = None,
) -> float:
    for group in optimizer.param_groups:
        group["lr"] = factor * lr
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if model is not None:
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return float(loss.detach())
