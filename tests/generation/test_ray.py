"""Groups on Ray's workers: the same bytes, and lost workers, on a cluster of two CPUs."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ray = pytest.importorskip("ray")
pytest.importorskip("torch")

from mf_plugin.errors import InputError, RunFailed  # noqa: E402
from mf_plugin.generation.config import UntilConfig  # noqa: E402
from mf_plugin.generation.ray_maker import RayConfig  # noqa: E402
from mf_plugin.generation.run import generate  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
import squares_generator  # noqa: E402
from squares_generator import SquaresConfig  # noqa: E402

ray.cloudpickle.register_pickle_by_value(squares_generator)  # a worker could not import it
TWO = RayConfig(workers=2, tries=3)


def hash_files(folder: Path) -> dict[str, str]:
    """Relative path -> SHA-256 of every file but run.json."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("run.json", ".generate.lock")
    }


def read_run(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "run.json").read_text())


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    options = {"object_store_memory": 100 << 20, "include_dashboard": False}
    ray.init(address="local", num_cpus=2, log_to_driver=False, **options)
    yield
    ray.shutdown()


@pytest.fixture
def squares(tmp_path) -> Callable[..., SquaresConfig]:
    def make(**changes: Any) -> SquaresConfig:
        (tmp_path / "marks").mkdir(exist_ok=True)
        return SquaresConfig(marks=tmp_path / "marks", **changes)

    return make


def test_two_workers_write_what_one_process_writes(squares, tmp_path):
    alone = generate(squares(), tmp_path / "alone")
    folder = generate(squares(seconds=0.3), tmp_path / "ray", ray=TWO)
    assert hash_files(folder) == hash_files(alone) and len(hash_files(alone)) > 10
    run = read_run(folder)
    assert run["launcher"] == "ray" and run["workers"] == run["workers_started"] == 2
    assert run["failures"] == [] and sum(run["groups_by_node"].values()) == 6


@pytest.mark.heavy
def test_rounds_on_ray(squares, tmp_path):
    changes = dict(num_images=2, until=UntilConfig(accepted=9, max_images=40))
    alone = generate(squares(**changes), tmp_path / "alone")
    folder = generate(squares(**changes), tmp_path / "ray", ray=TWO)
    assert hash_files(folder) == hash_files(alone)
    assert len(json.loads((folder / "dataset.json").read_text())["rounds"]) > 2


@pytest.mark.heavy
def test_killed_workers_cost_a_group_each(squares, tmp_path):
    alone = generate(squares(), tmp_path / "alone")
    config = squares(killed={1: 2, 4: 1}, broken={2: 1})
    folder = generate(config, tmp_path / "ray", ray=TWO)
    assert hash_files(folder) == hash_files(alone)
    run = read_run(folder)
    assert sorted(failure["group"] for failure in run["failures"]) == [1, 1, 2, 4]
    causes = {failure["group"]: failure["cause"] for failure in run["failures"]}
    assert causes[2] == "ZeroDivisionError: the brush of group 2 is broken"
    assert "died" in causes[4]
    assert run["workers"] == 2 and run["workers_started"] == 5  # 3 lost; an error loses none
    assert sum(run["groups_by_node"].values()) == 6


def test_a_worker_that_hangs_is_ended_and_its_group_made_by_another(squares, tmp_path):
    """While the other one works, and when nothing else is left to wait for."""
    alone = generate(squares(), tmp_path / "alone")
    config = squares(hung={0: 1, 5: 1}, seconds=0.1)
    folder = generate(config, tmp_path / "ray", ray=dataclasses.replace(TWO, hung_after=1.5))
    assert hash_files(folder) == hash_files(alone)
    run = read_run(folder)
    assert sorted(failure["group"] for failure in run["failures"]) == [0, 5]
    causes = [failure["cause"] for failure in run["failures"]]
    assert all(re.fullmatch(r"TimeoutError: no answer for \d+ seconds", c) for c in causes), causes
    assert run["workers"] == 2 and run["workers_started"] == 4


@pytest.mark.heavy
@pytest.mark.parametrize(
    "changes, cause",
    [
        ({"broken": {3: 3}}, "ZeroDivisionError: the brush of group 3 is broken"),
        ({"killed": {3: 3}}, "ActorDiedError"),
    ],
)
def test_a_group_that_always_fails_is_named_and_what_is_done_stays(
    squares, tmp_path, changes, cause
):
    with pytest.raises(RunFailed, match=f"group 3 failed 3 times, .*{cause}"):
        generate(squares(**changes), tmp_path / "set", ray=TWO)
    done = {path.stem for path in (tmp_path / "set/groups").glob("[0-9]*.json")}
    assert {"00000000", "00000001", "00000002"} <= done and "00000003" not in done
    folder = generate(squares(), tmp_path / "set", ray=TWO)  # mended
    kept = sum(1 if name == "00000005" else 2 for name in done)  # the last one is half a group
    assert read_run(folder)["canvases"] == 11 - kept
    assert hash_files(folder) == hash_files(generate(squares(), tmp_path / "alone"))


@pytest.mark.heavy
def test_a_worker_that_cannot_start_is_started_again(squares, tmp_path):
    folder = generate(squares(unloadable=2), tmp_path / "set", ray=TWO)
    failures = read_run(folder)["failures"]
    assert [failure["group"] for failure in failures] == [None, None]
    assert failures[0]["cause"] == "MemoryError: no memory for the brush"


@pytest.mark.heavy
@pytest.mark.parametrize(
    "unloadable, message",
    [(-1, "^model 'brush' is bad$"), (99, "no worker can be started: .*no memory for the brush")],
)
def test_models_that_cannot_be_loaded_stop_the_run(squares, tmp_path, unloadable, message):
    with pytest.raises(InputError, match=message):
        generate(squares(unloadable=unloadable), tmp_path / "set", ray=TWO)
    assert not (tmp_path / "set").exists()


@pytest.mark.heavy
def test_a_worker_with_other_weights_makes_nothing(squares, tmp_path):
    """Whichever of the two is first: the other one is given up, and named."""
    folder = generate(squares(strange=1, seconds=0.5), tmp_path / "set", ray=TWO)
    run = read_run(folder)
    (failure,) = run["failures"]
    assert re.search("weights.brush: '.*' -> '.*'", failure["cause"]) and failure["group"] is None
    assert run["workers"] == 1


def test_workers_and_tries_are_checked():
    for changes in ({"workers": 0}, {"tries": 0}):
        with pytest.raises(InputError, match="is 0; expected at least 1"):
            RayConfig(**changes)
