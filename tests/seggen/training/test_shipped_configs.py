"""Every config of configs/seggen: its model is built, takes a training step and samples, with tiny
parts in the place of the large ones. The code is the same."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mf_plugin.seggen.record import WHATS, read_record
from mf_plugin.seggen.source import SourceConfig
from mf_plugin.seggen.sources import read_source
from mf_plugin.seggen.training.config import SegGenTrainConfig, load_train_config

FOLDER = Path(__file__).parents[3] / "configs/seggen"
CONFIGS = sorted(path for path in FOLDER.glob("*.py") if path.stem != "seggen_common")
PAPER = [path for path in CONFIGS if not path.stem.startswith("tiny")]
TINY = [path for path in CONFIGS if path.stem.startswith("tiny")]
NUM_CLASSES = {"instance": 80, "panoptic": 133, "semantic": 150}


def write_images(folder: Path) -> None:
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for number in (1, 2):
        pixels = rng.integers(0, 256, (32, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.jpg")


def write_source(folder: Path, format: str) -> SourceConfig:
    """Two images and all of the classes, in the files of COCO or ADE20K."""
    write_images(folder / "images")
    names = [f"class {number}" for number in range(1, NUM_CLASSES[format] + 1)]
    ids = range(1, len(names) + 1)
    if format == "semantic":
        (folder / "labels").mkdir()
        for number in (1, 2):
            labels = np.zeros((32, 40), np.uint8)
            labels[:, :20], labels[:, 20:36] = number, 150
            Image.fromarray(labels).save(folder / f"labels/{number}.png")
        (folder / "classes.txt").write_text("\n".join(names))
        return SourceConfig(
            format, images=folder / "images", labels=folder / "labels",
            classes=folder / "classes.txt",
        )  # fmt: skip
    data: dict[str, Any] = {
        "images": [{"id": n, "file_name": f"{n}.jpg", "height": 32, "width": 40} for n in (1, 2)],
        "categories": [{"id": i, "name": n} for i, n in zip(ids, names, strict=True)],
    }
    box = [2, 2, 30, 2, 30, 30, 2, 30]
    if format == "instance":
        data["annotations"] = [
            {"id": n, "image_id": n, "category_id": 7 * n, "segmentation": [box], "iscrowd": 0}
            for n in (1, 2)
        ]
    else:
        (folder / "labels").mkdir()
        data["annotations"] = []
        for n in (1, 2):
            pixels = np.zeros((32, 40, 3), np.uint8)
            pixels[4:28, 4:28] = (n, 2, 0)
            Image.fromarray(pixels).save(folder / f"labels/{n}.png")
            infos = [{"id": n + 2 * 256, "category_id": 60 * n, "iscrowd": 0}]
            data["annotations"].append(
                {"image_id": n, "file_name": f"{n}.png", "segments_info": infos}
            )
    (folder / "annotations.json").write_text(json.dumps(data))
    labels = folder / "labels" if format == "panoptic" else None
    return SourceConfig(
        format, images=folder / "images", annotations=folder / "annotations.json", labels=labels
    )


def shrink(config: SegGenTrainConfig, work: Path, base: str) -> SegGenTrainConfig:
    """The config with tiny parts; captions of a file, or as BLIP-2 has left them."""
    source = write_source(work.parent / "data", config.source.format)
    work.mkdir()
    captions = {1: "a class 7", 2: "two things"}
    changes: dict[str, Any] = {}
    if config.captions == "coco":
        path = work / "coco.json"
        entries = [{"image_id": i, "caption": c} for i, c in captions.items()]
        path.write_text(json.dumps({"annotations": entries}))
        changes["captions_file"] = path
    elif config.captions == "blip2":
        key = {"model": config.blip2_model, "source": read_source(source).fingerprint()}
        (work / "captions.json").write_text(json.dumps({**key, "captions": captions}))
    return dataclasses.replace(
        config, source=source, base=base, size=(16, 24), min_area=4, steps=1, batch_size=1,
        workers=0, validate_every=1, validation_images=1, validation_steps=1, tracker=None,
        cache_variants=min(1, config.cache_variants), **changes,
    )  # fmt: skip


@pytest.fixture()
def fresh_accelerator():
    """accelerate keeps one precision a process."""
    state = pytest.importorskip("accelerate.state")
    state.AcceleratorState._reset_state(reset_partial_state=True)
    yield
    state.AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.parametrize("path", PAPER, ids=lambda path: path.stem)
def test_a_training_step_and_a_sampling_step_with_tiny_parts(
    request, tmp_path, fresh_accelerator, path
):
    pytest.importorskip("diffusers")
    from mf_plugin.seggen.training.train import train

    base = "tiny_sdxl_folder" if "sdxl" in path.stem else "tiny_sd_folder"
    config = load_train_config(path)
    work = tmp_path / "work"
    out = train(shrink(config, work, request.getfixturevalue(base)), work, device="cpu")
    record = read_record(out)
    assert len(record.palette.ids) == NUM_CLASSES[config.source.format]
    assert (record.what, record.kind, record.captions) == (
        config.what, config.kind, config.captions,
    )  # fmt: skip
    assert (out / WHATS[config.what]).is_dir()
    assert np.asarray(Image.open(work / "validation/step-00000001.png")).std() > 10
    assert np.isfinite(json.loads((work / "log.jsonl").read_text())["loss"])


@pytest.mark.parametrize("path", PAPER, ids=lambda path: path.stem)
def test_the_papers_numbers(path):
    config = load_train_config(path)
    assert (config.lr, config.steps) == (1e-5, 30_000)
    assert config.min_snr is None
    if "sdxl" in path.stem:
        assert config.size == (768, 768) and "stable-diffusion-xl-base" in str(config.base)
    if "sdxl" in path.stem:
        assert config.captions == "blip2"


@pytest.mark.parametrize("path", TINY, ids=lambda path: path.stem)
def test_the_bundled_models_are_light(path):
    """Half precision, 20 MB together; the sizes are those of the bundled base."""
    pytest.importorskip("diffusers")
    from mf_plugin.mosaic.components import load_components
    from mf_plugin.seggen.training.train import build_network, build_record

    config = dataclasses.replace(load_train_config(path), start=None)
    base = load_components(config.base)
    network = build_network(config, base, build_record(config, base, range(1, 31)))
    megabytes = sum(p.numel() for p in network.parameters()) * 2 / 1e6
    assert config.save_dtype == "fp16"
    assert megabytes < {"text2mask": 13, "mask2img": 7}[config.what]
