"""A semantic segmentation judge: it names every pixel of an image, and never selects any image.

Where a detector leaves out what its score threshold cuts off, which small objects and objects cut
by the border often are, a segmenter answers everywhere: mIoU is the measure that it is trained for.
The network is UperNet (Xiao et al. 2018, arXiv 1807.10221) over a narrow ResNet-18, both of
transformers, from random weights. It is trained on the detector judge's data, real renderings in
all styles, so nothing that filters, ranks or chooses training data may call it.
Shapes: N images, B a batch of them, K categories, H x W pixels; label maps hold 0 for the
background and 1..K for the categories by their ids.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pycocotools import mask as mask_api

from mf_plugin.arrays import Mask, Pixels
from mf_plugin.errors import InputError
from mf_plugin.evaluation.faithfulness import draw_labels
from mf_plugin.evaluation.rare import GroundTruth
from mf_plugin.evaluation.valid_instances import to_rle
from mf_plugin.extras import require

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

Labels = npt.NDArray[np.uint8]

CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True)
class SegmenterConfig:
    """How a segmenter is trained.

    Attributes:
        datasets: folders with annotations.json, as `tools/judge_detector.py data` writes.
        side: px; images are scaled so that their longer side has it.
        crop: px; random parts of the scaled images are learnt from.
        scales: further scaling of each batch, drawn between the two.
        iterations, batch_size, learning_rate, weight_decay: of AdamW on one cycle.
        widths: channels of the four stages of the ResNet.
        head_width: channels of UperNet's head.
        checkpoint_every: iterations.
    """

    datasets: tuple[str, ...]
    side: int
    crop: int
    scales: tuple[float, float]
    iterations: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    widths: tuple[int, int, int, int]
    head_width: int
    checkpoint_every: int
    seed: int = 0

    def __post_init__(self) -> None:
        smallest = self.side * self.scales[0]
        if not 32 <= self.crop <= smallest or self.crop % 32:
            raise InputError(
                f"crop is {self.crop}; expected a multiple of 32 up to "
                f"side x scales[0] = {smallest:g}"
            )
        if self.iterations < 1 or self.batch_size < 2:
            raise InputError(
                f"iterations is {self.iterations} and batch_size {self.batch_size}; "
                "expected 1 and 2 or more"
            )


def build_segmenter(config: SegmenterConfig, category_ids: Sequence[int]) -> Module:
    """UperNet with random weights for K categories and the background."""
    transformers = require("transformers", "diffusion")
    backbone = transformers.ResNetConfig(
        embedding_size=config.widths[0],
        hidden_sizes=list(config.widths),
        depths=[2, 2, 2, 2],
        layer_type="basic",
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    network: Module = transformers.UperNetForSemanticSegmentation(
        transformers.UperNetConfig(
            backbone_config=backbone,
            hidden_size=config.head_width,
            use_auxiliary_head=False,
            num_labels=len(category_ids) + 1,
        )
    )
    return network


def train_segmenter(
    config: SegmenterConfig, sources: Sequence[GroundTruth], work_dir: Path
) -> Iterator[tuple[int, float]]:
    """Train and save to ``work_dir/model``; goes on from a checkpoint of the same config.

    Args:
        sources: of `valid_instances.load_dataset`, one for each of ``config.datasets``.

    Yields:
        (iterations done, loss) of each.

    Raises:
        InputError: the datasets have other categories, or the checkpoint is of another config.
    """
    torch = require("torch", "diffusion")
    ids = sources[0].scope.category_ids.tolist()
    for dataset in sources[1:]:
        if dataset.scope.category_ids.tolist() != ids:
            raise InputError(f"{dataset.name}: other categories than {sources[0].name}")
    pairs = [
        _load_pairs(dataset, Path(folder), config.side)
        for dataset, folder in zip(sources, config.datasets, strict=True)
    ]
    images = [image for some, _ in pairs for image in some]
    labels = [label for _, some in pairs for label in some]
    torch.manual_seed(config.seed)
    model = build_segmenter(config, ids)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=config.iterations, pct_start=0.1
    )
    checkpoint = work_dir / CHECKPOINT
    facts = json.dumps(asdict(config), sort_keys=True)
    done = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        if state["config"] != facts:
            raise InputError(f"{checkpoint} is of the config {state['config']}, not of {facts}")
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        done = state["done"]
    model.train()
    while done < config.iterations:
        # A batch depends on its number alone, so that a training can go on.
        rng = np.random.default_rng([config.seed, done])
        batch = rng.choice(len(images), config.batch_size, replace=len(images) < config.batch_size)
        pixels, truth = _draw_batch([(images[i], labels[i]) for i in batch], config, rng)
        loss = model(pixels, labels=truth).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        done += 1
        if done % config.checkpoint_every == 0 or done == config.iterations:
            work_dir.mkdir(parents=True, exist_ok=True)
            state = {
                "config": facts,
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "schedule": schedule.state_dict(),
                "done": done,
            }
            torch.save(state, checkpoint.with_suffix(".new"))
            checkpoint.with_suffix(".new").replace(checkpoint)
        yield done, loss.item()
    model.eval().save_pretrained(work_dir / "model")
    facts_of_model = {"config": asdict(config), "category_ids": ids}
    (work_dir / "model" / "segmenter.json").write_text(json.dumps(facts_of_model))


class Segmenter:
    """A trained segmenter.

    Args:
        folder: ``model`` of a training's folder.
        side: px of the longer side at which images are read; None: as trained.
    """

    def __init__(self, folder: str | Path, side: int | None = None) -> None:
        transformers = require("transformers", "diffusion")
        facts_file = Path(folder) / "segmenter.json"
        if not facts_file.exists():
            raise InputError(f"{facts_file}: no such file, expected the model of a segmenter")
        facts = json.loads(facts_file.read_text())
        self.category_ids: list[int] = facts["category_ids"]
        self.side: int = side or facts["config"]["side"]
        self._model = transformers.UperNetForSemanticSegmentation.from_pretrained(folder).eval()

    def segment(self, image: Pixels) -> tuple[Labels, npt.NDArray[np.float32]]:
        """Label map uint8[H, W] and the probability float32[H, W] of each pixel's label.

        The image, uint8[H, W, 3], is read twice, as it is and mirrored.
        """
        torch = require("torch", "diffusion")
        pixels = _to_tensor(np.stack([_scale_image(image, self.side)]))
        height, width = pixels.shape[-2:]
        # Whole steps of the coarsest features; what is added is cut off again.
        pixels = torch.nn.functional.pad(
            pixels, (0, -width % 32, 0, -height % 32), mode="replicate"
        )
        with torch.inference_mode():
            plain = self._model(pixels).logits
            mirrored = self._model(pixels.flip(-1)).logits.flip(-1)
            probability = (plain.softmax(1) + mirrored.softmax(1)) / 2
            whole = torch.nn.functional.interpolate(
                probability[..., :height, :width], image.shape[:2], mode="bilinear"
            )
            best, label = whole[0].max(0)
        return label.numpy().astype(np.uint8), best.numpy()

    def detect(self, dataset: GroundTruth, folder: Path) -> Iterator[list[dict[str, Any]]]:
        """For each image of a dataset, what is seen as results: a mask for each category.

        Yields:
            Entries as detectors write them, the score being the mean probability of the pixels.

        Raises:
            InputError: the dataset has other categories.
        """
        if dataset.scope.category_ids.tolist() != self.category_ids:
            raise InputError(f"{dataset.name}: other categories than the segmenter was trained for")
        for record in dataset.data["images"]:
            label, best = self.segment(_read_image(folder, record))
            yield [
                _entry(record["id"], self.category_ids[k - 1], label == k, best)
                for k in np.unique(label[label > 0]).tolist()
            ]


def _entry(
    image_id: int, category_id: int, mask: Mask, probability: npt.NDArray[np.float32]
) -> dict[str, Any]:
    rle = mask_api.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {
        "image_id": image_id,
        "category_id": category_id,
        "bbox": [float(v) for v in mask_api.toBbox(rle)],
        "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
        "score": round(float(probability[mask].mean()), 4),
    }


def _load_pairs(dataset: GroundTruth, folder: Path, side: int) -> tuple[list[Pixels], list[Labels]]:
    """Images and their label maps, scaled; where masks overlap the smaller one lies on top."""
    place = {c: k + 1 for k, c in enumerate(dataset.scope.category_ids.tolist())}
    masks: dict[int, list[tuple[int, Mask]]] = {i["id"]: [] for i in dataset.data["images"]}
    sizes = {i["id"]: [i["height"], i["width"]] for i in dataset.data["images"]}
    for annotation in dataset.data["annotations"]:
        image_id = annotation["image_id"]
        mask = mask_api.decode(to_rle(annotation["segmentation"], sizes[image_id])) > 0
        masks[image_id].append((place[annotation["category_id"]], mask))
    images, labels = [], []
    for record in dataset.data["images"]:
        image = _scale_image(_read_image(folder, record), side)
        ordered = sorted(masks[record["id"]], key=lambda item: -int(item[1].sum()))
        label = np.maximum(draw_labels(ordered, sizes[record["id"]]), 0).astype(np.uint8)
        size = (image.shape[1], image.shape[0])
        images.append(image)
        labels.append(np.asarray(Image.fromarray(label).resize(size, Image.Resampling.NEAREST)))
    return images, labels


def _read_image(folder: Path, record: Mapping[str, Any]) -> Pixels:
    path = folder / record["file_name"]
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except OSError as error:
        raise InputError(f"{path}: {error}; expected an image") from error


def _scale_image(image: Pixels, side: int) -> Pixels:
    factor = side / max(image.shape[:2])
    size = (round(image.shape[1] * factor), round(image.shape[0] * factor))
    if size == (image.shape[1], image.shape[0]):
        return image
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))


def _to_tensor(images: Pixels) -> Tensor:
    """float32[B, 3, H, W] in -1..1 of uint8[B, H, W, 3]."""
    torch = require("torch", "diffusion")
    tensor: Tensor = torch.from_numpy(images.copy()).permute(0, 3, 1, 2).float() / 127.5 - 1
    return tensor


def _draw_batch(
    pairs: Sequence[tuple[Pixels, Labels]], config: SegmenterConfig, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """float32[B, 3, crop, crop] and int64[B, crop, crop]: random parts, half of them mirrored."""
    torch = require("torch", "diffusion")
    low, high = (math.log(s) for s in config.scales)
    part = round(config.crop / math.exp(rng.uniform(low, high)))  # px of the image for the crop
    images, labels = [], []
    for image, label in pairs:
        side = min(part, *label.shape)
        top, left = (int(rng.integers(0, n - side + 1)) for n in label.shape)
        window = (slice(top, top + side), slice(left, left + side))
        step = -1 if rng.random() < 0.5 else 1
        images.append(_resize(image[window][:, ::step], config.crop, Image.Resampling.BILINEAR))
        labels.append(_resize(label[window][:, ::step], config.crop, Image.Resampling.NEAREST))
    return _to_tensor(np.stack(images)), torch.from_numpy(np.stack(labels).astype(np.int64))


def _resize(array: Pixels, side: int, how: Image.Resampling) -> Pixels:
    return np.asarray(Image.fromarray(np.ascontiguousarray(array)).resize((side, side), how))
