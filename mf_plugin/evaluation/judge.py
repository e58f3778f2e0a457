"""A classifier that names single-object images: it measures a generator and never selects.

The judge is trained on compositions of real sprites in all seven styles, the held-out ones
included, so that it knows a category in whatever guise a generator draws it. For that reason
nothing that filters, ranks or chooses training data may call it. What it says of generated images
counts as far as its own accuracy on fresh real compositions is high; both are reported.
Shapes: B images, K categories; images uint8[B, H, W, 3], read at 64 x 64.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from mf_plugin.arrays import Float32Array, FloatArray, IntArray, Mask, Pixels
from mf_plugin.errors import InputError
from mf_plugin.extras import require
from mf_plugin.lvis.compose import compose_single
from mf_plugin.lvis.sprites import MINIVAL_STYLES, TRAIN_STYLES, VAL_STYLES, load_sprites

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

STYLES = TRAIN_STYLES + MINIVAL_STYLES + VAL_STYLES
SIDE = 64
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Sprites = dict[tuple[int, str], Pixels]


@dataclass(frozen=True)
class JudgeConfig:
    """Numbers of the judge's training; ``width`` is the first of its three stages' channels."""

    steps: int = 1200
    batch_size: int = 32
    width: int = 32
    learning_rate: float = 8e-4
    weight_decay: float = 0.05
    seed: int = 0


class Judge:
    """A trained classifier over ``categories`` (LVIS dicts)."""

    def __init__(self, categories: Sequence[dict[str, Any]], network: Module) -> None:
        self.categories = tuple(categories)
        self._network = network.eval()

    def classify(self, images: Pixels, batch_size: int = 64) -> Float32Array:
        """What is in the images.

        Args:
            images: uint8[B, H, W, 3], RGB.
            batch_size: of a call of the network.

        Returns:
            Probabilities float32[B, K], in the order of ``categories``.

        Raises:
            InputError: the images are of another shape or dtype.
        """
        torch = require("torch", "diffusion")
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
            raise InputError(
                f"images {images.dtype}{list(images.shape)}, expected uint8[B, H, W, 3]"
            )
        resized = [cv2.resize(i, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for i in images]
        outputs = [np.zeros((0, len(self.categories)), np.float32)]
        with torch.inference_mode():
            for start in range(0, len(resized), batch_size):
                batch = _to_tensor(torch, np.stack(resized[start : start + batch_size]))
                outputs.append(self._network(batch).softmax(1).numpy())
        return np.concatenate(outputs)


def train_judge(
    categories: Sequence[dict[str, Any]],
    config: JudgeConfig = JudgeConfig(),
    progress: bool = False,
) -> Judge:
    """Train on compositions drawn on the fly, each seen once.

    Raises:
        InputError: fewer than two categories.
    """
    torch = require("torch", "diffusion")
    if len(categories) < 2:
        raise InputError(f"{len(categories)} categories, expected two or more to tell apart")
    sprites = load_sprites(STYLES, [c["id"] for c in categories])
    rng = np.random.default_rng(config.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = _build_network(torch, config.width, len(categories)).train()
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=config.steps, pct_start=0.15
    )
    batches = _draw_ahead(rng, sprites, categories, config.steps, config.batch_size)
    bar = tqdm(
        batches, desc="training the judge", total=config.steps, unit="step", disable=not progress
    )
    for step, (images, labels) in enumerate(bar):
        loss = torch.nn.functional.cross_entropy(
            network(_to_tensor(torch, images)), torch.from_numpy(labels), label_smoothing=0.05
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 20 == 0:
            bar.set_postfix(loss=f"{loss.item():.2f}")
    return Judge(categories, network)


def load_or_train_judge(
    folder: Path, categories: Sequence[dict[str, Any]], config: JudgeConfig, progress: bool = False
) -> Judge:
    """The judge cached as ``folder/judge.pt``; trained where there is none of the same categories,
    pictures and config."""
    torch = require("torch", "diffusion")
    path = Path(folder) / "judge.pt"
    fingerprint = _fingerprint(categories, config)
    if path.is_file():
        saved = torch.load(path, weights_only=True)
        if saved["fingerprint"] == fingerprint:
            network = _build_network(torch, config.width, len(categories))
            network.load_state_dict(saved["network"])
            return Judge(categories, network)
    judge = train_judge(categories, config, progress)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    torch.save({"fingerprint": fingerprint, "network": judge._network.state_dict()}, temporary)
    temporary.replace(path)
    return judge


def draw_compositions(
    rng: np.random.Generator, sprites: Sprites, categories: Sequence[dict[str, Any]], count: int
) -> tuple[Pixels, IntArray]:
    """Single objects, category and then style uniform: uint8[count, 64, 64, 3], int64[count]."""
    styles = [[s for i, s in sprites if i == c["id"]] for c in categories]
    labels = rng.integers(len(categories), size=count)
    images = np.empty((count, SIDE, SIDE, 3), np.uint8)
    for n, label in enumerate(labels):
        style = styles[label][rng.integers(len(styles[label]))]
        sprite = sprites[categories[label]["id"], style]
        images[n] = compose_single(rng, sprite, (SIDE, SIDE))[0]
    return images, labels


def held_out_accuracy(judge: Judge, count: int = 1000, seed: int = 1) -> float:
    """Top-1 share on compositions that the training never drew, all styles."""
    sprites = load_sprites(STYLES, [c["id"] for c in judge.categories])
    rng = np.random.default_rng([seed, 0x6A75646765])  # "judge": a stream no training seed shares
    images, labels = draw_compositions(rng, sprites, judge.categories, count)
    return float((judge.classify(images).argmax(1) == labels).mean())


def score_names(judge: Judge, images: Pixels, labels: IntArray) -> dict[str, Any]:
    """How often the judge names images as they were asked for.

    Args:
        images: uint8[B, H, W, 3].
        labels: int[B], the asked category's index in ``judge.categories``.

    Returns:
        ``{"top1", "groups": {"r", "c", "f"}, "categories": [...], "predicted": int list of B}``;
        shares in 0..1, None for a group without images; a category has its share and
        the wrong name that it is given most often, None where there is none.
    """
    predicted = judge.classify(images).argmax(1)
    right = predicted == labels
    group = np.array([c.get("frequency") or "" for c in judge.categories])[labels]
    rows = []
    for k, category in enumerate(judge.categories):
        mine = labels == k
        if not mine.any():
            continue
        wrong = np.bincount(predicted[mine & ~right], minlength=1)
        rows.append(
            {
                "name": category["name"],
                "frequency": category.get("frequency"),
                "top1": float(right[mine].mean()),
                "mistaken_for": judge.categories[wrong.argmax()]["name"] if wrong.any() else None,
            }
        )
    return {
        "top1": _share(right),
        "groups": {g: _share(right[group == g]) for g in "rcf"},
        "categories": rows,
        "predicted": predicted.tolist(),
    }


def draw_contact_sheet(
    judge: Judge,
    images: Pixels,
    labels: IntArray,
    predicted: Sequence[int],
    columns: int = 8,
    tile: int = 96,
) -> Image.Image:
    """A row per category, green where the judge agrees, else red with what it says."""
    asked = [k for k in range(len(judge.categories)) if (labels == k).any()]
    title_width, text_height, gap = 190, 18, 6
    font = ImageFont.load_default(13)
    small = ImageFont.load_default(11)
    columns = min(columns, max(int((labels == k).sum()) for k in asked))
    row_height = tile + text_height + gap
    size = (title_width + columns * (tile + gap) + gap, len(asked) * row_height + gap)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for row, k in enumerate(asked):
        top = gap + row * row_height
        mine = np.flatnonzero(labels == k)
        right = sum(predicted[i] == k for i in mine)
        name, group = judge.categories[k]["name"], judge.categories[k].get("frequency") or "-"
        draw.text(
            (gap, top + tile / 2 - 18), _fit(draw, name, font, title_width - 12), "black", font
        )
        draw.text((gap, top + tile / 2 + 2), f"{group}   {right} of {len(mine)}", "#66707a", small)
        for column, i in enumerate(mine[:columns]):
            left = title_width + column * (tile + gap)
            picture = Image.fromarray(images[i]).resize((tile, tile), Image.Resampling.BICUBIC)
            good = predicted[i] == k
            box = (left - 2, top - 2, left + tile + 1, top + tile + 1)
            draw.rectangle(box, fill="#2a9d5c" if good else "#d1495b")
            sheet.paste(picture, (left, top))
            if not good:
                said = _fit(draw, judge.categories[predicted[i]]["name"], small, tile)
                draw.text((left, top + tile + 3), said, "#d1495b", small)
    return sheet


def _build_network(torch: ModuleType, width: int, num_classes: int) -> Module:
    """Three stages of two 3 x 3 convolutions at 32, 16 and 8 px, 4 x 4 means, one linear layer."""
    nn = torch.nn
    layers: list[Module] = [nn.Conv2d(3, width, 5, stride=2, padding=2, bias=False)]
    layers += [nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
    channels = width
    for stage in range(3):
        for conv in range(2):
            out = width * 2**stage
            stride = 2 if stage and conv == 0 else 1
            layers += [nn.Conv2d(channels, out, 3, stride=stride, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
            channels = out
    head = [
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(channels * 16, num_classes),
    ]
    return nn.Sequential(*layers, *head)


def _draw_ahead(
    rng: np.random.Generator,
    sprites: Sprites,
    categories: Sequence[dict[str, Any]],
    steps: int,
    size: int,
) -> Iterator[tuple[Pixels, IntArray]]:
    """Augmented batches; one thread draws the next while the network learns the last."""

    def draw() -> tuple[Pixels, IntArray]:
        images, labels = draw_compositions(rng, sprites, categories, size)
        return np.stack([_augment(rng, image) for image in images]), labels

    with ThreadPoolExecutor(max_workers=1) as drawer:
        coming = drawer.submit(draw)
        for step in range(steps):
            batch = coming.result()
            if step + 1 < steps:
                coming = drawer.submit(draw)
            yield batch


def _to_tensor(torch: ModuleType, images: Pixels) -> Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float()
    return (tensor - 127.5) / 64


def _augment(rng: np.random.Generator, image: Pixels) -> Pixels:
    """Blur, noise, tint and shift: a generator's pictures are softer and less exact."""
    if rng.random() < 0.5:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.6))
    dy, dx = rng.integers(-5, 6, 2)
    shift = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
    image = cv2.warpAffine(image, shift, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT_101)
    gain = rng.uniform(0.8, 1.2) * rng.uniform(0.93, 1.07, 3)
    noise = rng.normal(0, rng.uniform(0, 8), image.shape)
    changed: FloatArray = (image - 127.5) * gain + 127.5 + rng.uniform(-15, 15) + noise
    return np.clip(changed, 0, 255).astype(np.uint8)


def _fingerprint(categories: Sequence[dict[str, Any]], config: JudgeConfig) -> str:
    content = [[c["id"] for c in categories], asdict(config)]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    for key, sprite in sorted(load_sprites(STYLES, [c["id"] for c in categories]).items()):
        digest.update(repr((key, sprite.shape)).encode())
        digest.update(sprite.tobytes())
    return digest.hexdigest()


def _share(right: Mask) -> float | None:
    return float(right.mean()) if len(right) else None


def _fit(draw: ImageDraw.ImageDraw, text: str, font: Font, width: float) -> str:
    if draw.textlength(text, font) <= width:
        return text
    while text and draw.textlength(text + "…", font) > width:
        text = text[:-1]
    return text + "…"
