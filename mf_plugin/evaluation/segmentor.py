"""A judge that names pixels: it measures how well images keep to their masks, and never selects.

A U-Net (arXiv 1505.04597; segmentation_models_pytorch) with a ResNet-18, trained from scratch on
plentiful real renderings of mini-LVIS in every style, the held-out ones included, so that it knows
a category in whatever guise a generator draws it. For that reason nothing that filters, ranks or
chooses training data may call it. What it sees is written as detections, one of each category that
an image shows, so that `faithfulness.count_overlaps` reads it like a detector's results.

Shapes: N images, B of a batch, K categories; label maps int64[H, W], 0 the background, 1 + k the
category k of the dataset.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt
from pycocotools import mask as mask_api
from tqdm import tqdm

from mf_plugin.arrays import IntArray, Pixels
from mf_plugin.errors import InputError
from mf_plugin.evaluation.faithfulness import draw_annotations
from mf_plugin.evaluation.rare import GroundTruth
from mf_plugin.extras import require
from mf_plugin.seggen.source import read_pixels

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

STRIDE = 32  # of the encoder's last stage: images are padded to a multiple


@dataclass(frozen=True)
class SegmentorConfig:
    """Numbers of the training.

    Attributes:
        steps: of ``batch_size`` images each.
        side: of the square part of an image that a step sees, in pixels.
        scale: least and largest factor that an image is scaled by before a part is cut.
        widths: channels of the decoder's five stages, coarse to fine.
        learning_rate: the highest of one cycle of AdamW.
        weight_decay: of AdamW.
        seed: of weights, order and augmentation.
    """

    steps: int = 2_000
    batch_size: int = 16
    side: int = 128
    scale: tuple[float, float] = (0.8, 1.6)
    widths: tuple[int, ...] = (128, 64, 32, 32, 16)
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "side"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; expected at least 1")


@dataclass(frozen=True, eq=False)
class Segmentor:
    """A trained network over ``category_ids``, in the order of its channels from 1."""

    category_ids: tuple[int, ...]
    config: SegmentorConfig
    network: Module

    def segment(self, image: Pixels) -> IntArray:
        """The label of each pixel of an image uint8[H, W, 3] (RGB): int64[H, W]."""
        torch = require("torch", "judge")
        height, width = image.shape[:2]
        pad = ((0, -height % STRIDE), (0, -width % STRIDE), (0, 0))
        batch = _to_tensor(torch, np.pad(image, pad, mode="reflect")[None])
        with torch.inference_mode():
            labels: IntArray = self.network(batch)[0, :, :height, :width].argmax(0).numpy()
        return labels

    def save(self, path: Path) -> None:
        """Write weights, categories and config into one file."""
        torch = require("torch", "judge")
        content = {
            "category_ids": list(self.category_ids),
            "config": asdict(self.config),
            "network": self.network.state_dict(),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.tmp")
        torch.save(content, temporary)
        temporary.replace(path)


def load_segmentor(path: str | Path) -> Segmentor:
    """What `Segmentor.save` wrote; read as numbers alone.

    Raises:
        InputError: there is no such file, or it is none of these.
    """
    torch = require("torch", "judge")
    try:
        content = torch.load(path, weights_only=True)
        config = SegmentorConfig(
            **{**content["config"], "scale": tuple(content["config"]["scale"])}
        )
        category_ids = tuple(content["category_ids"])
        network = build_network(config, len(category_ids))
        network.load_state_dict(content["network"])
    except Exception as error:  # torch.load: of any kind
        raise InputError(f"{path}: expected a segmentor that was saved: {error}") from None
    return Segmentor(category_ids, config, network.eval())


def build_network(config: SegmentorConfig, num_categories: int) -> Module:
    """U-Net with random weights: float[B, 3, H, W] -> logits float[B, 1 + K, H, W]."""
    smp = require("segmentation_models_pytorch", "judge")
    network: Module = smp.Unet(
        "resnet18",
        encoder_weights=None,
        decoder_channels=list(config.widths),
        classes=1 + num_categories,
    )
    return network


def train_segmentor(
    dataset: GroundTruth,
    folder: str | Path,
    config: SegmentorConfig = SegmentorConfig(),
    progress: bool = False,
) -> Segmentor:
    """Train on a dataset whose masks are complete.

    Args:
        dataset: of `valid_instances.load_dataset`; it is held in memory, 4 bytes a pixel.
        folder: of its images.
        config: the numbers.
        progress: show a bar.

    Raises:
        InputError: an image is missing or damaged.
    """
    torch = require("torch", "judge")
    images = [_read(folder, image) for image in dataset.data["images"]]
    labels = [(m + 1).astype(np.uint16) for m in draw_annotations(dataset)]
    category_ids = tuple(dataset.scope.category_ids.tolist())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = build_network(config, len(category_ids)).train()
    network = network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=config.steps, pct_start=0.1
    )
    batches = draw_batches(images, labels, config)
    bar = tqdm(batches, desc="segmentor", total=config.steps, unit="step", disable=not progress)
    for step, (parts, targets) in enumerate(bar):
        logits = network(_to_tensor(torch, parts))
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(targets))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 20 == 0:
            bar.set_postfix(loss=f"{loss.item():.3f}")
    return Segmentor(category_ids, config, network.eval())


def draw_batches(
    images: Sequence[Pixels], labels: Sequence[npt.NDArray[Any]], config: SegmentorConfig
) -> Iterator[tuple[Pixels, IntArray]]:
    """Augmented parts uint8[B, side, side, 3] and their label maps int64[B, side, side].

    Every image is drawn once before any is drawn again.
    """
    rng = np.random.default_rng(config.seed)
    order: list[int] = []
    for _ in range(config.steps):
        while len(order) < config.batch_size:
            order += rng.permutation(len(images)).tolist()
        drawn, order = order[: config.batch_size], order[config.batch_size :]
        parts = [_cut(rng, images[i], labels[i], config) for i in drawn]
        yield np.stack([p for p, _ in parts]), np.stack([t for _, t in parts])


def as_results(
    segmentor: Segmentor, dataset: GroundTruth, folder: str | Path, progress: bool = False
) -> list[dict[str, Any]]:
    """What the segmentor sees in a dataset's images, as detections of score 1.

    Args:
        segmentor: over the dataset's categories.
        dataset: of `valid_instances.load_dataset`.
        folder: of its images.
        progress: show a bar.

    Returns:
        A list as of COCO's results json, with an RLE of each category that an image shows.

    Raises:
        InputError: the dataset has other categories, or an image is missing or damaged.
    """
    wanted = tuple(dataset.scope.category_ids.tolist())
    if wanted != segmentor.category_ids:
        raise InputError(
            f"{dataset.name} has {len(wanted)} categories, the segmentor "
            f"{len(segmentor.category_ids)}, or other ones: expected the same"
        )
    results = []
    for image in tqdm(dataset.data["images"], desc="segmenting", disable=not progress):
        labels = segmentor.segment(_read(folder, image))
        for label in np.unique(labels[labels > 0]).tolist():
            rle = mask_api.encode(np.asfortranarray(labels == label, dtype=np.uint8))
            results.append(
                {
                    "image_id": image["id"],
                    "category_id": wanted[label - 1],
                    "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
                    "score": 1.0,
                }
            )
    return results


def _read(folder: str | Path, image: dict[str, Any]) -> Pixels:
    pixels = read_pixels(Path(folder) / image["file_name"], "image", "RGB")
    return pixels.astype(np.uint8, copy=False)


def _cut(
    rng: np.random.Generator, image: Pixels, labels: npt.NDArray[Any], config: SegmentorConfig
) -> tuple[Pixels, IntArray]:
    """A part of the scaled, mirrored image, blurred and tinted, with its labels."""
    side = config.side
    height, width = labels.shape
    factor = max(rng.uniform(*config.scale), side / min(height, width))
    size = (max(side, round(width * factor)), max(side, round(height * factor)))
    image = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    labels = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)
    top, left = (int(rng.integers(extent - side + 1)) for extent in labels.shape)
    image, labels = (a[top : top + side, left : left + side] for a in (image, labels))
    if rng.random() < 0.5:
        image, labels = image[:, ::-1], labels[:, ::-1]
    if rng.random() < 0.5:
        image = cv2.GaussianBlur(np.ascontiguousarray(image), (0, 0), rng.uniform(0.3, 1.2))
    gain = rng.uniform(0.8, 1.2) * rng.uniform(0.93, 1.07, 3)
    noise = rng.normal(0, rng.uniform(0, 8), image.shape)
    changed = (image - 127.5) * gain + 127.5 + rng.uniform(-15, 15) + noise
    return np.clip(changed, 0, 255).astype(np.uint8), labels.astype(np.int64)


def _to_tensor(torch: ModuleType, images: Pixels) -> Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float()
    return (tensor - 127.5) / 64
