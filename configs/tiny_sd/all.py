"""Tiny Stable Diffusion for all 278 categories of mini-LVIS; a size for one GPU."""

import dataclasses

from mf_plugin.mosaic.tiny_sd.config import load_config

config = dataclasses.replace(
    load_config(__file__.replace("all.py", "demo.py")),
    preset="all",
    images=160_000,  # 576 a category; the demo's model has 800
    vocabulary_size=4_000,
    vae_cycles=((10_000, 1.0), (6_000, 0.5)),
    vae_batch=32,
    unet_channels=(64, 192, 320),
    unet_cycles=((60_000, 1.0),),
    unet_batch=128,
    warmup=1_000,
)
