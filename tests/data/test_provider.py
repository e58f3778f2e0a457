from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from dataclasses import dataclass

import pytest

from mf_plugin.data.provider import SyntheticDataset, categories_per_image
from mf_plugin.errors import InputError
from mf_plugin.lvis.io import write_json_atomic


@dataclass(frozen=True)
class Config:
    """What the provider uses of a GenerationConfig."""

    seed: int = 0

    @property
    def config_hash(self) -> str:
        return f"hash-{self.seed}"

    def to_json(self) -> dict:
        return {"seed": self.seed}


DATA = {
    "categories": [{"id": 1, "name": "cat"}],
    "images": [
        {
            "id": 1,
            "height": 8,
            "width": 8,
            "coco_url": "images/000000000001.jpg",
            "neg_category_ids": [],
            "not_exhaustive_category_ids": [],
        }
    ],
    "annotations": [],
}


def generate(config, out, *, device):
    """Stands in for mf_plugin.generation.run.generate: one empty image."""
    (out / "images").mkdir(parents=True)
    (out / "images" / "000000000001.jpg").touch()
    write_json_atomic(out / "annotations.json", DATA)
    write_json_atomic(
        out / "dataset.json", {"config_hash": config.config_hash, "config": config.to_json()}
    )


def refuse(config, out, *, device):
    raise AssertionError("generated although the dataset is there")


def test_generates_once_and_then_loads(tmp_path):
    dataset = SyntheticDataset(tmp_path / "new" / "synthetic", Config())
    assert dataset.ensure(generate=generate) == tmp_path / "new" / "synthetic"
    assert dataset.annotations_file == dataset.root / "annotations.json"
    assert dataset.image_root == dataset.root
    assert dataset.ensure(generate=refuse) == dataset.root
    assert SyntheticDataset(dataset.root).ensure(generate=refuse) == dataset.root


def test_the_device_is_handed_on(tmp_path):
    devices = []

    def remember(config, out, *, device):
        devices.append(device)
        generate(config, out, device=device)

    SyntheticDataset(tmp_path / "d", Config()).ensure("cuda:1", generate=remember)
    assert devices == ["cuda:1"]


def test_unfinished_generation_is_taken_up_again(tmp_path):
    (tmp_path / "d").mkdir()
    write_json_atomic(tmp_path / "d" / "annotations.json", DATA)
    SyntheticDataset(tmp_path / "d", Config()).ensure(generate=generate)
    with pytest.raises(RuntimeError, match="generation ended without"):
        SyntheticDataset(tmp_path / "e", Config()).ensure(generate=lambda *a, **k: None)


def test_missing_without_config_says_how_to_generate(tmp_path):
    with pytest.raises(InputError, match=r"holds no synthetic dataset .*tools/generate.py .*--out"):
        SyntheticDataset(tmp_path / "d").ensure()
    (tmp_path / "d").mkdir()
    with pytest.raises(InputError, match="holds an unfinished synthetic dataset"):
        SyntheticDataset(tmp_path / "d").ensure()
    assert not (tmp_path / "d.lock").exists()


def test_another_config_is_refused_and_the_difference_named(tmp_path):
    SyntheticDataset(tmp_path / "d", Config(seed=0)).ensure(generate=generate)
    with pytest.raises(InputError, match=r"generated with another config \(seed: 0 -> 7\)"):
        SyntheticDataset(tmp_path / "d", Config(seed=7)).ensure(generate=refuse)


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda d: (d / "images/000000000001.jpg").unlink(), "000000000001.jpg is missing on disk"),
        (lambda d: (d / "annotations.json").write_text("{"), "annotations.json is not valid json"),
        (lambda d: (d / "dataset.json").write_text("{"), "dataset.json is not valid json"),
    ],
)
def test_damage_is_named(tmp_path, damage, message):
    dataset = SyntheticDataset(tmp_path / "d", Config())
    dataset.ensure(generate=generate)
    damage(dataset.root)
    with pytest.raises(InputError, match=message):
        dataset.ensure(generate=refuse)


def test_config_from_a_file(tmp_path):
    (tmp_path / "config.py").write_text(
        textwrap.dedent(
            """
            from mf_plugin.generation.config import GenerationConfig
            config = GenerationConfig("minilvis:demo", "folder", canvas=(768, 1024), seed=3)
            """
        )
    )
    SyntheticDataset(tmp_path / "d", tmp_path / "config.py").ensure(generate=generate)
    provenance = json.loads((tmp_path / "d" / "dataset.json").read_text())
    assert provenance["config"]["seed"] == 3

    (tmp_path / "other.py").write_text((tmp_path / "config.py").read_text().replace("=3", "=4"))
    with pytest.raises(InputError, match=r"another config \(seed: 3 -> 4\)"):
        SyntheticDataset(tmp_path / "d", str(tmp_path / "other.py")).ensure(generate=refuse)


WORKER = """
import importlib.util, sys, time
spec = importlib.util.spec_from_file_location("standin", sys.argv[1])
standin = sys.modules["standin"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(standin)
from pathlib import Path

def slow(config, out, *, device):
    with open(sys.argv[3], "a") as log:
        log.write("generated\\n")
    time.sleep(0.5)
    standin.generate(config, out, device=device)

print("ready", flush=True)
sys.stdin.readline()
standin.SyntheticDataset(Path(sys.argv[2]), standin.Config()).ensure(generate=slow)
"""


def test_processes_that_start_together_generate_once(tmp_path):
    command = [sys.executable, "-c", WORKER, __file__, tmp_path / "d", tmp_path / "log"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    workers = [subprocess.Popen(command, **pipes) for _ in range(3)]
    assert [worker.stdout.readline() for worker in workers] == ["ready\n"] * 3
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    for worker in workers:
        worker.communicate(timeout=60)
    assert [worker.returncode for worker in workers] == [0, 0, 0]
    assert (tmp_path / "log").read_text() == "generated\n"


def test_categories_per_image():
    data = {
        "images": [{"id": 3}, {"id": 1}, {"id": 2}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 9},
            {"id": 2, "image_id": 1, "category_id": 4},
            {"id": 3, "image_id": 1, "category_id": 9},
            {"id": 4, "image_id": 3, "category_id": 5},
        ],
    }
    assert categories_per_image(data) == [[5], [4, 9], []]
    assert categories_per_image(data, image_ids=[1, 3]) == [[4, 9], [5]]
    with pytest.raises(InputError, match="image id 8 is not one of the 3 images"):
        categories_per_image(data, image_ids=[8])
    data["annotations"].append({"id": 5, "image_id": 7, "category_id": 1})
    with pytest.raises(InputError, match="annotation 5: unknown image id 7"):
        categories_per_image(data)
