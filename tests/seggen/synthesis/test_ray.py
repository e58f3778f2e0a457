"""MosaicFusion's and SegGen's real, tiny models on Ray: the same bytes as one process writes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ray = pytest.importorskip("ray")
psutil = pytest.importorskip("psutil")
pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from mf_plugin.generation.config import GenerationConfig  # noqa: E402
from mf_plugin.generation.filters import FilterConfig  # noqa: E402
from mf_plugin.generation.ray_maker import RayConfig  # noqa: E402
from mf_plugin.generation.run import generate  # noqa: E402

ROOT = Path(__file__).resolve().parents[3]
TWO = RayConfig(workers=2)

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[str]:
    """Its address."""
    options = {"object_store_memory": 100 << 20, "include_dashboard": False}
    context = ray.init(address="local", num_cpus=2, log_to_driver=False, **options)
    yield context.address_info["gcs_address"]
    ray.shutdown()


@pytest.fixture
def mosaic(tiny_sd_folder, real_images) -> GenerationConfig:
    return GenerationConfig(
        vocabulary=str(real_images / "annotations.json"),
        model=tiny_sd_folder,
        images_per_category=6,
        canvas=(64, 64),
        overlap=(8, 8),
        multiple=4,
        steps=30,
        guidance=3.0,
        template="a {name} on {background}",
        backgrounds=("red", "sand"),
        filters=FilterConfig(min_area=0.02, max_area=0.9, components=9),
        group_size=2,
        threads=1,
        seed=7,
    )


def hash_files(folder: Path) -> dict[str, str]:
    """Relative path -> SHA-256 of every file but run.json."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("run.json", ".generate.lock")
    }


def kill_one_that_paints(staging: Path, killed: list[int]) -> None:
    """Once a group is done, SIGKILL the first worker process that is in the middle of another."""
    for _ in range(2000):
        time.sleep(0.05)
        if not any(staging.glob("[0-9]*.json")):
            continue
        for process in psutil.Process().children(recursive=True):
            try:
                painting = "GroupWorker.make" in " ".join(process.cmdline())
            except psutil.Error:
                continue
            if painting:
                os.kill(process.pid, signal.SIGKILL)
                killed.append(process.pid)
                return


def test_a_worker_killed_from_outside_costs_its_group(mosaic, tmp_path):
    alone = generate(mosaic, tmp_path / "alone")
    killed: list[int] = []
    killer = threading.Thread(target=kill_one_that_paints, args=(tmp_path / "set/groups", killed))
    killer.start()
    folder = generate(mosaic, tmp_path / "set", ray=TWO)
    killer.join()
    run = json.loads((folder / "run.json").read_text())
    assert len(killed) == 1 and len(run["failures"]) == 1
    assert run["failures"][0]["group"] is not None and str(killed[0]) in str(run["failures"])
    assert run["workers_started"] == 3 and sum(run["groups_by_node"].values()) == 6
    assert hash_files(folder) == hash_files(alone)


@pytest.mark.parametrize("system", ["imgsyn", "masksyn"])
def test_seggen_on_ray(make_config, models, tmp_path, system):
    config = make_config(system, mask2img=models / "mask2img", threads=1)
    if system == "masksyn":
        config = dataclasses.replace(config, text2mask=models / "text2mask")
    alone = generate(config, tmp_path / "alone")
    folder = generate(config, tmp_path / "set", ray=TWO)
    assert hash_files(folder) == hash_files(alone)
    assert len((folder / "manifest.jsonl").read_text().splitlines()) > 5
    painted = any(name.startswith("images/") for name in hash_files(folder))
    assert painted or system == "masksyn"  # an untrained Text2Mask may draw nothing


CONFIG_FILE = """
from pathlib import Path
from mf_plugin.generation.config import GenerationConfig
from mf_plugin.generation.filters import FilterConfig
config = GenerationConfig(
    vocabulary={vocabulary!r}, model={model!r}, images_per_category=2, canvas=(64, 64),
    overlap=(8, 8), multiple=4, steps=2, guidance=3.0, template="a {{name}} on {{background}}",
    backgrounds=("red", "sand"), group_size=2, seed=7, threads=1,
    filters=FilterConfig(min_area=0.02, max_area=0.9, components=9),
)
"""


@pytest.mark.parametrize("joined", [True, False])
def test_the_tool_joins_a_cluster_or_starts_one(
    tiny_sd_folder, real_images, tmp_path, cluster, joined
):
    config = tmp_path / "config.py"
    vocabulary = str(real_images / "annotations.json")
    config.write_text(CONFIG_FILE.format(vocabulary=vocabulary, model=str(tiny_sd_folder)))
    base = [sys.executable, ROOT / "tools/generate.py", "--config", config]
    on_ray = ["--launcher", "ray", "--workers", "1", *(["--address", cluster] if joined else [])]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for out, options in (("alone", []), ("set", on_ray)):
        command = [*map(str, base), "--out", str(tmp_path / out), *options]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert hash_files(tmp_path / "set") == hash_files(tmp_path / "alone")
    assert "1 of 1 workers" in done.stderr
    assert json.loads((tmp_path / "set/run.json").read_text())["launcher"] == "ray"


def test_a_cluster_that_is_not_there_is_one_line(tiny_sd_folder, real_images, tmp_path):
    config = tmp_path / "config.py"
    vocabulary = str(real_images / "annotations.json")
    config.write_text(CONFIG_FILE.format(vocabulary=vocabulary, model=str(tiny_sd_folder)))
    command = [sys.executable, ROOT / "tools/generate.py", "--config", config, "--out"]
    command += [tmp_path / "set", "--launcher", "ray", "--address", "127.0.0.1:1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True)
    assert done.returncode == 2 and not (tmp_path / "set").exists()
    assert done.stderr.splitlines()[-1].startswith("error: cannot join Ray at '127.0.0.1:1'")
