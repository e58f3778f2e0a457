"""A few hundred hostile inputs for every reader; `make fuzz` tries many more."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from mf_plugin.errors import LONGEST, InputError, shown
from mf_plugin.fuzz import run, seeds
from mf_plugin.fuzz.choices import Choices
from mf_plugin.fuzz.mutate import corrupt, mutate, nested, to_bytes
from mf_plugin.fuzz.run import Fault, run_atheris, run_one, run_random
from mf_plugin.fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]
NEEDS_HOTCOCO = {"results", "scores"}
INPUTS = dict.fromkeys(TARGETS, 100) | {"finished": 15, "scores": 40, "lvis": 150}


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_nothing_but_the_documented_error(name):
    if name in NEEDS_HOTCOCO:
        pytest.importorskip("hotcoco")
    count = run_random(name, INPUTS[name], seed=2)
    assert count.total == INPUTS[name] and count.refused > 0


SOUND = ["lvis", "vocabulary", "truth", "colormap", "palette", "seggen_record", "captions"]
SOUND += ["masksyn", "seggen_config", "seggen_train_config"]


@pytest.mark.parametrize("name", SOUND)
def test_sound_input_is_accepted(name, tmp_path):
    assert run_one(name, b"\0", tmp_path)


@pytest.mark.parametrize("error", [KeyError("x"), RecursionError(), InputError("")])
def test_any_other_error_is_a_fault(monkeypatch, tmp_path, error):
    def fail(choices, folder):
        raise error

    monkeypatch.setitem(run.TARGETS, "bad", fail)
    with pytest.raises(Fault, match="bad 0102"):
        run_one("bad", b"\1\2", tmp_path)


def test_a_hang_is_a_fault(monkeypatch, tmp_path):
    def hang(choices, folder):
        while True:
            pass

    monkeypatch.setitem(run.TARGETS, "bad", hang)
    monkeypatch.setattr(run, "SECONDS", 0.2)
    with pytest.raises(Fault, match="no answer within"):
        run_one("bad", b"", tmp_path)


def test_the_same_bytes_make_the_same_input():
    data = bytes(range(60))
    made = [to_bytes(mutate(seeds.lvis(), Choices(data))) for _ in range(2)]
    assert made[0] == made[1] != to_bytes(seeds.lvis())
    assert corrupt(made[0], Choices(data)) == corrupt(made[0], Choices(data))


def test_messages_are_short_and_one_line():
    assert len(shown(nested(5000, True))) <= 80 and len(shown("x" * 10**6)) <= 80
    assert len(shown(10**5000)) <= 80 and "\n" not in shown("a\nb")
    assert str(InputError("a\nb")) == "a b" and len(str(InputError("x" * 10**6))) == LONGEST


def test_the_tool_counts_and_repeats():
    tool = [sys.executable, str(ROOT / "tools/fuzz.py"), "--target", "vocabulary"]
    done = subprocess.run([*tool, "--inputs", "30"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0 and "30 inputs with the driver random; 0 targets" in done.stdout
    done = subprocess.run([*tool, "--repeat", "00"], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout) == (0, "accepted\n")


def test_atheris_counts():
    if importlib.util.find_spec("atheris") is None:
        with pytest.raises(InputError, match="expects the package atheris"):
            run_atheris("vocabulary", 10)
        return
    assert run_atheris("vocabulary", 50).total == 50


def test_the_seeds_hold_what_readers_read():
    files = seeds.finished()
    assert set(files) == {"annotations.json", "manifest.jsonl", "dataset.json", "gallery.html"}
    assert json.loads(json.dumps(files["dataset.json"])) == files["dataset.json"]
