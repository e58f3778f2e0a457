"""A generation config in the place of a folder, with a tiny real Stable Diffusion."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("detectron2", reason="Detectron2 is not installed")
pytest.importorskip("diffusers", reason="diffusers is not installed")

from detectron2.data import get_detection_dataset_dicts

from mf_plugin.detectron2.training import TrainingOptions, build_config


@pytest.fixture(autouse=True)
def restored(catalogs):
    return catalogs


def check(records, folder):
    """The last records are those of the folder, as many as its json has, with their images."""
    images = json.loads((folder / "annotations.json").read_text())["images"]
    made = [record for record in records if record.get("synthetic")]
    assert len(made) == len(images) > 0 and len(records) == 4 + len(made)
    assert all(os.path.isfile(record["file_name"]) for record in made)
    labels = {a["category_id"] for record in made for a in record["annotations"]}
    assert labels and labels <= {0, 1, 2}


def test_the_third_entry_of_a_dataset_is_its_generation_config(
    tiny_config, generation_config, tiny_sd_folder, tmp_path
):
    folder = tmp_path / "made"
    path = tmp_path / "both.yaml"
    path.write_text(
        f"_BASE_: {str(tiny_config())!r}\n"
        "MOSAICFUSION:\n"
        f"  DATASETS: [[made, {str(folder)!r}, {str(generation_config(tiny_sd_folder))!r}]]\n"
        "DATASETS: {TRAIN: [tiny_train, made]}\n"
    )
    cfg = build_config(TrainingOptions(str(path)))
    assert not folder.exists(), "nothing is generated before it is read"
    names = list(cfg.DATASETS.TRAIN)
    check(get_detection_dataset_dicts(names, filter_empty=False), folder)
    written = (folder / "run.json").stat().st_mtime_ns
    check(get_detection_dataset_dicts(names, filter_empty=False), folder)
    assert (folder / "run.json").stat().st_mtime_ns == written, "generated once"


JOB = """
import sys
from mf_plugin.detectron2.training import TrainingOptions, build_config
from detectron2.data import get_detection_dataset_dicts
cfg = build_config(TrainingOptions(sys.argv[1], synthetic=sys.argv[2]))
print("images", len(get_detection_dataset_dicts(list(cfg.DATASETS.TRAIN), filter_empty=False)))
"""


@pytest.mark.heavy
def test_of_two_processes_one_generates(
    tiny_config, generation_config, tiny_sd_folder, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)  # the dataset goes below work_dirs/
    config, generate = tiny_config(), generation_config(tiny_sd_folder)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", JOB, str(config), str(generate)]
    started = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    ]
    found = [process.communicate()[0].splitlines()[-1] for process in started]
    assert [process.returncode for process in started] == [0, 0]
    cfg = build_config(TrainingOptions(str(config), synthetic=str(generate)))
    records = get_detection_dataset_dicts(list(cfg.DATASETS.TRAIN), filter_empty=False)
    check(records, tmp_path / "work_dirs/generate_tiny")
    assert found == [f"images {len(records)}"] * 2
