"""What a caption of several objects is worth to a text-to-image model: its denoising error of fresh
scenes with their own caption, with none, and with another scene's."""

from __future__ import annotations

from typing import Any

import numpy as np

from mf_plugin.arrays import Float32Array
from mf_plugin.extras import require
from mf_plugin.mosaic.tiny_sd.config import TinySDConfig
from mf_plugin.mosaic.tiny_sd.data import list_objects, load_corpus

_BATCH = 8


def measure_scenes(
    pipeline: Any, config: TinySDConfig, count: int, seed: int
) -> dict[str, tuple[float, float]]:
    """Mean squared error of the predicted velocity (Salimans and Ho 2022), over uniform times.

    Args:
        pipeline: of Stable Diffusion, with v-prediction, which knows the config's categories.
        config: whose scenes are drawn.
        count: of scenes, below 2 ** 31; training has drawn others as long as its seed is another.

    Returns:
        ``"own"``, ``"none"``, ``"another"``: (mean, standard error of its difference to none).
    """
    torch, diffusers = require("torch", "diffusion"), require("diffusers", "diffusion")
    corpus = load_corpus(config)
    rng = np.random.default_rng((seed, 5))
    scenes = [corpus.draw_scene(rng, config.scene_size, config.scene_objects) for _ in range(count)]
    own = [f"a photo of {list_objects(s.objects, corpus.categories)}" for s in scenes]
    texts = {"own": own, "none": [""] * count, "another": own[1:] + own[:1]}
    scheduler = diffusers.DDPMScheduler.from_config(pipeline.scheduler.config)
    errors: dict[str, list[Float32Array]] = {kind: [] for kind in texts}
    for first in range(0, count, _BATCH):
        part = slice(first, first + _BATCH)
        images = torch.from_numpy(np.stack([s.image for s in scenes[part]]))
        images = images.permute(0, 3, 1, 2).float() / 127.5 - 1
        noise_rng = torch.Generator().manual_seed(int(rng.integers(2**31)))
        with torch.no_grad():
            clean = (
                pipeline.vae.encode(images).latent_dist.mean * pipeline.vae.config.scaling_factor
            )
            strata = (np.arange(len(clean)) + rng.random(len(clean))) / len(clean)
            times = torch.from_numpy((strata * scheduler.config.num_train_timesteps).astype(int))
            noise = torch.randn(clean.shape, generator=noise_rng)
            noisy = scheduler.add_noise(clean, noise, times)
            target = scheduler.get_velocity(clean, noise, times)
            for kind, captions in texts.items():
                hidden = pipeline.encode_prompt(captions[part], "cpu", 1, False)[0]
                predicted = pipeline.unet(noisy, times, hidden).sample
                errors[kind].append((predicted - target).square().mean((1, 2, 3)).numpy())
    rows = {kind: np.concatenate(parts) for kind, parts in errors.items()}
    return {
        kind: (float(row.mean()), float((row - rows["none"]).std(ddof=1) / np.sqrt(count)))
        for kind, row in rows.items()
    }
