"""Every number of tiny Stable Diffusion's recipe."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from mf_plugin.configfile import load_config_file
from mf_plugin.errors import InputError, shown
from mf_plugin.fields import check_fields

_FROM_ONE = (
    *("images", "vocabulary_size", "max_tokens", "text_width", "text_layers", "vae_batch"),
    *("unet_layers", "unet_heads", "unet_batch", "scene_batch", "warmup"),
)


@dataclass(frozen=True)
class TinySDConfig:
    """Sizes, data and schedule. Regions are (height, width) in pixels.

    Attributes:
        preset: mini-LVIS preset whose categories the model learns.
        seed: of compositions, captions, noise and weights, 0 or more.
        start: folder of a tiny Stable Diffusion to go on from (tokenizer and weights); its sizes
            must be this config's. None starts from nothing.
        regions: region shapes it is trained on, with their share of the images.
        images: number of composed images whose latents are computed once.
        rare_weight: how many times more images a rare category gets than another.
        backgrounds: words of mf_plugin.lvis.backgrounds that the compositions use.
        styles: words that captions have for the training styles, in the order of `TRAIN_STYLES`:
            where a caption does not say which of its guises a category has, guidance mixes them.
        captions: templates with their share; ``{name}``, ``{definition}``, ``{background}``,
            ``{style}``.
        empty_caption: share of empty captions, for classifier-free guidance.
        scenes: number of composed images of several objects; 0 trains on none.
        scene_size: (height, width) of a scene.
        scene_objects: (fewest, most) objects of a scene.
        scene_captions: templates with their share; ``{objects}`` lists the visible ones.
        scene_share: of the U-Net's steps that see scenes.
        scene_batch: scenes of such a step.
        vocabulary_size: tokens, the two special ones among them.
        max_tokens: of a caption; longer ones are cut.
        text_width: channels of a token.
        text_layers: of the text encoder.
        vae_channels: of each resolution, the finest first; each but the first halves the image.
        *_cycles: (steps, learning-rate factor) of each cycle of a stage. A cycle warms up linearly,
            holds, and falls linearly to zero over its last ``decay``.
        vae_batch: images of a step of the VAE, and of its decoder's stage.
        vae_lr: peak learning rate of both.
        kl_weight: of the divergence from a standard normal, beside the reconstruction.
        unet_channels: of each resolution, the finest first; the last has no cross-attention in its
            down and up blocks.
        unet_layers: residual blocks of a resolution.
        unet_heads: heads of an attention.
        unet_batch: images of a step of the U-Net, which trains the text encoder with it.
        unet_lr: peak learning rate of both.
        warmup: steps of it in each cycle.
        decay: share of a cycle over which the rate falls.
        ema: share that a step keeps of the averaged weights, which are the ones written.
        min_snr: gamma of the loss's min-SNR weights (Hang et al. 2023).
    """

    preset: str = "demo"
    seed: int = 0
    start: str | None = None
    # data
    regions: tuple[tuple[tuple[int, int], float], ...] = ()
    images: int = 24_000
    rare_weight: float = 2.0
    backgrounds: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()
    captions: tuple[tuple[str, float], ...] = ()
    empty_caption: float = 0.1
    scenes: int = 0
    scene_size: tuple[int, int] = (128, 128)
    scene_objects: tuple[int, int] = (1, 6)
    scene_captions: tuple[tuple[str, float], ...] = (
        ("{objects}", 0.5),
        ("a photo of {objects}", 0.5),
    )
    scene_share: float = 0.5
    scene_batch: int = 8
    # tokenizer and text encoder
    vocabulary_size: int = 1_435
    max_tokens: int = 40
    text_width: int = 128
    text_layers: int = 1
    # VAE
    vae_channels: tuple[int, ...] = (16, 32, 64)
    vae_cycles: tuple[tuple[int, float], ...] = ((2_600, 1.0), (1_600, 0.5))
    vae_batch: int = 8
    vae_lr: float = 1.5e-3
    kl_weight: float = 1e-6
    decoder_cycles: tuple[tuple[int, float], ...] = ((900, 0.5),)
    # U-Net
    unet_channels: tuple[int, ...] = (32, 96, 160)
    unet_layers: int = 1
    unet_heads: int = 4
    unet_cycles: tuple[tuple[int, float], ...] = ((4_400, 1.0),)
    unet_batch: int = 32
    unet_lr: float = 1e-3
    warmup: int = 200
    decay: float = 0.25
    ema: float = 0.999
    min_snr: float = 5.0

    def __post_init__(self) -> None:
        check_fields(self)
        for name in _FROM_ONE:
            self._expect(name, getattr(self, name) >= 1, "at least 1")
        for name in ("seed", "scenes", "kl_weight"):
            self._expect(name, getattr(self, name) >= 0, "0 or more")
        for name in ("rare_weight", "vae_lr", "unet_lr", "min_snr"):
            self._expect(name, getattr(self, name) > 0, "more than 0")
        for name in ("empty_caption", "scene_share", "decay", "ema"):
            self._expect(name, 0 <= getattr(self, name) <= 1, "a share from 0 to 1")
        for name in ("vae_cycles", "decoder_cycles", "unet_cycles"):
            sound = all(steps >= 0 and factor >= 0 for steps, factor in getattr(self, name))
            self._expect(name, sound, "pairs of steps and factor, 0 or more")
        for name in ("vae_channels", "unet_channels"):
            channels = getattr(self, name)
            self._expect(name, bool(channels) and min(channels) >= 1, "some numbers from 1")
        for name in ("captions", "scene_captions"):
            sound = all(share >= 0 for _, share in getattr(self, name))
            self._expect(name, sound, "pairs of template and share, 0 or more")
        sound = all(min(size) >= 1 and share >= 0 for size, share in self.regions)
        self._expect("regions", sound, "pairs of (height, width) and share, 0 or more")
        self._expect("scene_size", min(self.scene_size) >= 1, "(height, width) in pixels")
        fewest, most = self.scene_objects
        self._expect("scene_objects", 1 <= fewest <= most, "fewest and most, from 1")

    def _expect(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            raise InputError(f"{name} is {shown(getattr(self, name))}; expected {expected}")

    def hash(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


def load_config(path: str | Path) -> TinySDConfig:
    """Run a config file and return its ``config``; see `load_config_file`.

    Raises:
        InputError: no such file, it does not run, or its ``config`` is no TinySDConfig.
    """
    if not Path(path).is_file():
        raise InputError(f"config {path} is not a file")
    config = load_config_file(path, object)
    if not isinstance(config, TinySDConfig):
        raise InputError(f"{path} must define config = TinySDConfig(...), got {shown(config)}")
    return config
