"""Mask work beside the caller: same bytes, same order, and no process that outlives its parent."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("scipy")

from mf_plugin.generation.assemble import MosaicAssembler, Painted
from mf_plugin.generation.filters import FilterConfig
from mf_plugin.generation.plan import Plan, make_plan
from mf_plugin.generation.workers import MaskWorkers, assemble_group
from mf_plugin.mosaic.attention import RegionAttention
from mf_plugin.mosaic.masks import MaskConfig

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def plan(make_config, vocabulary) -> Plan:
    config = make_config(
        num_images=8,
        jitter=0.5,
        mask=MaskConfig(method="published"),
        filters=FilterConfig(0.02, 0.9, components=9),
    )
    return make_plan(config, vocabulary)


def painted(plan: Plan, index: int) -> Painted:
    """Made-up pixels and attention of a group, different from group to group."""
    group = plan.groups[index]
    rng = np.random.default_rng(index)
    images = rng.integers(0, 256, (len(group.canvases), 64, 64, 3), dtype=np.uint8)
    maps = [
        [
            RegionAttention(
                {1: rng.random((16, 16), np.float32), 2: rng.random((8, 8), np.float32)}
            )
            for _ in group.layout.regions
        ]
        for _ in group.canvases
    ]
    return Painted(images, maps)


@pytest.mark.parametrize("number", [0, 2])
def test_groups_come_back_in_order_and_equal_to_the_callers_own(plan, number):
    made = []
    with MaskWorkers(MosaicAssembler(plan.config), number) as workers:
        for index in range(4):
            made += workers.add(plan.groups[index], painted(plan, index), seconds=index)
        made += workers.finish()
    assert [(group.index, group.seconds) for group in made] == [(i, i) for i in range(4)]
    for group in made:
        expected = assemble_group(
            MosaicAssembler(plan.config), plan.groups[group.index], painted(plan, group.index)
        )
        assert group.canvases == expected
    assert any(jpeg for group in made for _, jpeg in group.canvases)


def test_ctrl_c_is_the_callers_alone(plan):
    """A terminal sends it to every process, also to one that is just starting."""
    with MaskWorkers(MosaicAssembler(plan.config), 1) as workers:
        made = workers.add(plan.groups[0], painted(plan, 0), seconds=0)
        (worker,) = multiprocessing.active_children()
        os.kill(worker.pid, signal.SIGINT)
        made += workers.finish()
        os.kill(worker.pid, signal.SIGINT)
        made += workers.add(plan.groups[1], painted(plan, 1), seconds=0) + workers.finish()
    assert [group.index for group in made] == [0, 1]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, set())


def test_what_goes_wrong_in_a_worker_reaches_the_caller(plan):
    images = painted(plan, 0).images
    nothing = [[RegionAttention({})] * 4] * len(images)
    message = "mask scale 1: the model has attention at"
    assembler = MosaicAssembler(plan.config)
    with pytest.raises(Exception, match=message), MaskWorkers(assembler, 1) as workers:
        workers.add(plan.groups[0], Painted(images, nothing), seconds=0)
        workers.finish()


PARENT = """
import sys
sys.path.insert(0, {root!r})
from concurrent.futures import wait
from mf_plugin.generation.assemble import MosaicAssembler
from mf_plugin.generation.config import GenerationConfig
from mf_plugin.generation.workers import MaskWorkers
import os, time
if __name__ == "__main__":
    config = GenerationConfig(vocabulary="minilvis:demo", model="no/model", canvas=(64, 64),
                              overlap=(16, 16))
    with MaskWorkers(MosaicAssembler(config), 1) as workers:
        print(workers._executor.submit(os.getpid).result(), flush=True)
        time.sleep(60)
"""


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks processes up in /proc")
def test_a_worker_ends_with_a_parent_that_was_killed(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT.format(root=str(ROOT)))
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    assert pid != parent.pid and is_running(pid)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    for _ in range(300):
        if not is_running(pid):
            return
        time.sleep(0.1)
    os.kill(pid, signal.SIGKILL)
    pytest.fail(f"worker {pid} outlived its parent by 30 s")
