"""Real processes: what runs, what is not run again, kills, failures."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mf_plugin.benchmark.runner import run_steps
from mf_plugin.benchmark.steps import Step, ordered
from mf_plugin.errors import InputError

# Adds the numbers in its input files, and notes each of its runs in calls.txt.
ADD = """
import pathlib, sys
out, *inputs = map(pathlib.Path, sys.argv[1:])
out.mkdir(parents=True, exist_ok=True)
with open(pathlib.Path(__file__).parent / "calls.txt", "a") as calls:
    calls.write(out.parent.name + "\\n")
(out / "sum.txt").write_text(str(sum(int(i.read_text()) for i in inputs)))
"""


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "repository"
    root.mkdir()
    (root / "add.py").write_text(ADD)
    for name, number in (("a", 1), ("b", 2)):
        (root / f"{name}.txt").write_text(str(number))
    return root


def leaf(root: Path, name: str) -> Step:
    arguments = ("add.py", "{out}", f"{name}.txt")
    return Step(name, name, "why", arguments, "sum.txt", files=("add.py", f"{name}.txt"), root=root)


def total(root: Path) -> Step:
    arguments = ("add.py", "{out}", "{0}/sum.txt", "{1}/s*.txt")
    needs = (leaf(root, "a"), leaf(root, "b"))
    return Step("total", "total", "why", arguments, "sum.txt", needs, files=("add.py",), root=root)


def calls(root: Path) -> list[str]:
    return sorted((root / "calls.txt").read_text().split())


def test_each_step_runs_once_until_what_it_depends_on_changes(root, tmp_path):
    out = tmp_path / "out"
    assert run_steps([total(root)], out, jobs=2) == {}
    assert total(root).result_file(out).read_text() == "3"
    assert calls(root) == ["a", "b", "total"]
    assert run_steps([total(root)], out) == {}
    assert calls(root) == ["a", "b", "total"]

    before = total(root).folder(out)
    (root / "b.txt").write_text("40")
    assert run_steps([total(root)], out) == {}
    assert calls(root) == ["a", "b", "b", "total", "total"]  # a is kept
    assert total(root).result_file(out).read_text() == "41"
    assert (before / "sum.txt").read_text() == "3"  # nothing is overwritten

    (root / "b.txt").write_text("2")
    assert run_steps([total(root)], out) == {} and len(calls(root)) == 5  # back to the first
    (root / "add.py").write_text("# a comment\n" + ADD)
    assert run_steps([total(root)], out) == {} and len(calls(root)) == 5


def test_a_record_says_how_a_result_came_about(root, tmp_path):
    out = tmp_path / "out"
    step = leaf(root, "a")
    run_steps([step], out)
    record = json.loads((step.folder(out) / "step.json").read_text())
    assert record["hash"] == step.hash and record["resumed"] is False
    assert record["command"] == f"python add.py OUT/a/{step.hash[:16]} a.txt"
    assert record["machine"]["cores"] == os.cpu_count() and record["seconds"] >= 0
    assert str(tmp_path) not in json.dumps(record)


def test_a_lost_result_is_made_again(root, tmp_path):
    out = tmp_path / "out"
    run_steps([leaf(root, "a")], out)
    leaf(root, "a").result_file(out).unlink()
    run_steps([leaf(root, "a")], out)
    assert calls(root) == ["a", "a"]


def test_a_failing_step_is_named_and_stops_what_needs_it_alone(root, tmp_path):
    (root / "a.txt").write_text("no number")
    out = tmp_path / "out"
    other = Step("other", "other", "why", ("add.py", "{out}", "b.txt"), "sum.txt", root=root)
    silent = Step("silent", "silent", "why", ("-c", "pass"), "sum.txt", root=root)
    failed = run_steps([total(root), silent, other], out)
    assert list(failed) == ["a", "total", "silent"]
    assert "exit code 1" in failed["a"] and "ValueError: invalid literal" in failed["a"]
    assert failed["total"] == "needs 'a', which failed"
    assert "ended without" in failed["silent"]
    assert calls(root) == ["a", "b", "other"]

    (root / "a.txt").write_text("5")
    assert run_steps([total(root), other], out) == {}
    assert calls(root) == ["a", "a", "b", "other", "total"]


def test_missing_files_are_named_before_anything_runs(root, tmp_path):
    step = Step("x", "x", "why", ("add.py", "{out}"), "sum.txt", configs=("no.py",), root=root)
    assert step.missing == [str(root / "no.py")]
    with pytest.raises(InputError, match="step 'x' names .*no.py, which does not exist"):
        run_steps([leaf(root, "a"), step], tmp_path / "out")
    assert not (root / "calls.txt").exists()


def test_two_different_steps_of_one_name_are_refused(root):
    with pytest.raises(InputError, match="two steps are called 'x'"):
        ordered([Step(k, "x", "why", ("a.py",), "r", root=root) for k in ("one", "two")])


# Counts to three, a file for each, from where an earlier run ended; waits at the second one.
COUNT = """
import pathlib, sys, time
out = pathlib.Path(sys.argv[-1])
out.mkdir(parents=True, exist_ok=True)
first = int((out / "latest").read_text()) + 1 if "--resume" in sys.argv else 1
(out / f"began{first}").touch()
for i in range(first, 4):
    (out / f"iter_{i}.pth").touch()
    (out / "latest").write_text(str(i))
    if i == 2:
        time.sleep(600)
"""
RUN = """
import sys
from pathlib import Path
from mf_plugin.benchmark.runner import run_steps
from mf_plugin.benchmark.steps import Step
sys.path.insert(0, sys.argv[1])
from steps import step
print(run_steps([step], Path(sys.argv[2])))
"""
STEPS = """
from pathlib import Path
from mf_plugin.benchmark.steps import Step
step = Step("train", "train", "why", ("count.py", "{out}/run"), "run/iter_*.pth",
            resume=(("--resume",), "run/latest"), root=Path(__file__).parent)
"""


def test_a_killed_training_goes_on_and_never_twice_at_once(root, tmp_path):
    (root / "count.py").write_text(COUNT)
    (root / "steps.py").write_text(STEPS)
    out = tmp_path / "out"
    arguments = ("count.py", "{out}/run")
    resume = (("--resume",), "run/latest")
    step = Step("train", "train", "why", arguments, "run/iter_*.pth", resume=resume, root=root)
    run = step.folder(out) / "run"

    command = [sys.executable, "-c", RUN, str(root), str(out)]
    runner = subprocess.Popen(command, start_new_session=True)
    wait_for(lambda: (run / "iter_2.pth").exists())
    os.kill(runner.pid, signal.SIGKILL)  # its training is left at work
    runner.wait()

    second = subprocess.Popen(command)
    time.sleep(1.5)
    assert not (run / "began3").exists()  # the second runner waits for what the first has left
    os.killpg(runner.pid, signal.SIGKILL)
    assert second.wait(60) == 0
    assert sorted(p.name for p in run.iterdir()) == [
        "began1", "began3", "iter_1.pth", "iter_2.pth", "iter_3.pth", "latest"
    ]  # fmt: skip
    assert json.loads((step.folder(out) / "step.json").read_text())["resumed"] is True
    assert step.result_file(out).name == "iter_3.pth"  # the newest


def wait_for(holds, seconds: float = 60) -> None:
    end = time.time() + seconds
    while not holds():
        assert time.time() < end
        time.sleep(0.05)
