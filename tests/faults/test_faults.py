"""Kills, full disks, read-only folders, clocks that jump: nothing is lost, nothing doubled."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from jobs import JOBS, generation, hash_files

from mf_plugin.generation.config import load_generation_config
from mf_plugin.generation.run import generate

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
NOBODY = 65534


def jobs(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tests/faults/jobs.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)


@pytest.fixture(scope="module")
def calm(tmp_path_factory) -> dict[str, str]:
    """Hashes of what generation makes undisturbed."""
    folder = tmp_path_factory.mktemp("calm") / "set"
    generation(folder)
    return hash_files(folder)


@pytest.mark.parametrize("job, files", [("generation", 58), ("merging", 1), ("report", 3)])
def test_killed_at_50_random_moments_it_ends_with_the_same_bytes(job, files, tmp_path):
    done = jobs("kill", job, tmp_path / "set", 50)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert (seen["files"], seen["other"]) == (files, 0)
    assert seen["deaths"] >= 25 and seen["unfinished"] >= 10


@pytest.mark.parametrize("job", JOBS)
def test_a_disk_that_is_full(job, tmp_path, calm):
    """As with a quota: no file may grow beyond 4,000 bytes, which images stay below."""
    folder = tmp_path / "set"
    done = jobs("run", job, folder, "file-size=4000")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: [Errno 27] File too large")
    assert "Traceback" not in done.stderr
    assert not list(folder.rglob("*.tmp"))  # half a file is nobody's
    left = set(hash_files(folder)) if folder.exists() else set()
    JOBS[job](folder)
    after = hash_files(folder)
    if job == "generation":
        assert {name for name in left if name.startswith("images/")}  # went on from these
        assert after == calm


def test_a_folder_that_cannot_be_written():
    """In a folder that others may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as temporary:
        parent = Path(temporary)
        parent.chmod(0o555)
        user = [f"user={NOBODY}"] if os.getuid() == 0 else []
        for job in JOBS:
            done = jobs("run", job, parent / "set", *user)
            assert done.returncode == 2, done.stderr
            last = done.stderr.splitlines()[-1]
            assert last.startswith("error: ") and str(parent) in last
            assert "ermission" in last
        assert not list(parent.iterdir())
        parent.chmod(0o755)


def test_a_clock_that_jumps(tmp_path, calm):
    done = jobs("run", "generation", tmp_path / "set", "clock=jumps")
    assert done.returncode == 0, done.stderr
    assert hash_files(tmp_path / "set") == calm


@pytest.mark.parametrize("mask_workers", [0, 1])
def test_ctrl_c_ends_a_run_within_five_seconds_and_says_how_to_go_on(
    mask_workers, tmp_path, tiny_sd_folder
):
    pytest.importorskip("diffusers")
    config, folder = tmp_path / "config.py", tmp_path / "set"
    config.write_text(CONFIG.format(model=tiny_sd_folder))
    tool = [sys.executable, str(ROOT / "tools/generate.py"), "--config", str(config), "--out"]
    options = ["--mask-workers", str(mask_workers)]
    process = subprocess.Popen(
        [*tool, str(folder), *options],
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        start_new_session=True,
        # What runs these tests in the background ignores it, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while process.poll() is None and not list(folder.glob("groups/[0-9]*.json")):
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, error = process.communicate(timeout=5)
    assert process.returncode == 130
    assert error.splitlines()[-1] == "interrupted; run the same command again to go on"
    assert "Traceback" not in error
    assert not (folder / "dataset.json").exists()
    loaded = load_generation_config(config)
    generate(loaded, folder)
    assert hash_files(folder) == hash_files(generate(loaded, tmp_path / "calm"))


CONFIG = """
from mf_plugin.generation.config import GenerationConfig
config = GenerationConfig(
    vocabulary="minilvis:demo", model={model!r}, images_per_category=3, canvas=(64, 64),
    overlap=(8, 8), multiple=4, steps=2, group_size=2, threads=1,
)
"""
