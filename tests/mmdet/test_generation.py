"""A generation config in the place of a folder, with a tiny real Stable Diffusion."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("diffusers", reason="diffusers is not installed")

from mmdet.registry import DATASETS
from mmengine.config import Config

from mf_plugin.mmdet import with_synthetic

ROOT = Path(__file__).parents[2]

JOB = """
import sys
from mf_plugin.mmdet import with_synthetic
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.registry import init_default_scope

init_default_scope("mmdet")
cfg = with_synthetic(Config.fromfile(sys.argv[1]), sys.argv[2])
print("images", len(DATASETS.build(cfg.train_dataloader.dataset)))
"""


def check(union, folder: Path) -> None:
    """The last images of the union are those of the folder, with labels of the real classes."""
    images = json.loads((folder / "annotations.json").read_text())["images"]
    made = [union.get_data_info(i) for i in union.is_synthetic.nonzero()[0]]
    assert 0 < len(made) <= len(images)  # images without an object are left out
    assert all(Path(info["img_path"]).parent == folder / "images" for info in made)
    assert {i["bbox_label"] for info in made for i in info["instances"]} <= {0, 1, 2}


def test_a_generation_config_is_generated_once_where_it_is_loaded(
    tiny_config, generation_config, tiny_sd_folder, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)  # the dataset goes below work_dirs/
    path = generation_config(tiny_sd_folder)
    cfg = with_synthetic(Config.fromfile(tiny_config), str(path))
    folder = tmp_path / "work_dirs/generate_tiny"
    assert not folder.exists(), "nothing is generated before it is read"
    check(DATASETS.build(cfg.train_dataloader.dataset), folder)
    written = (folder / "run.json").stat().st_mtime_ns
    check(DATASETS.build(cfg.train_dataloader.dataset), folder)
    assert (folder / "run.json").stat().st_mtime_ns == written, "generated once"


@pytest.mark.heavy
def test_of_two_processes_one_generates(tiny_config, generation_config, tiny_sd_folder, tmp_path):
    command = [sys.executable, "-c", JOB, str(tiny_config), str(generation_config(tiny_sd_folder))]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=tmp_path)
        for _ in range(2)
    ]
    found = [process.communicate()[0].splitlines()[-1] for process in started]
    assert [process.returncode for process in started] == [0, 0]
    images = json.loads((tmp_path / "work_dirs/generate_tiny/annotations.json").read_text())
    assert len(set(found)) == 1 and 4 < int(found[0].split()[1]) <= 4 + len(images["images"])
