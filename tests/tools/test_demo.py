"""The demo's plan: which commands it runs, and what it runs again."""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from itertools import chain
from pathlib import Path

import pytest

from mf_plugin.errors import InputError

PATH = Path(__file__).parents[2] / "tools/demo.py"
spec = importlib.util.spec_from_file_location("demo_tool", PATH)
demo = importlib.util.module_from_spec(spec)
sys.modules["demo_tool"] = demo
spec.loader.exec_module(demo)


def arguments_of(step, name: str) -> list[str]:
    return [b for a, b in zip(step.arguments, step.arguments[1:]) if a == name]


def choose(framework="mmdet", detector="mask-rcnn", seeds=(1,), split="val"):
    return demo.Choice(framework, detector, list(seeds), split)


ALL = [choose(f, d) for f in ("mmdet", "detectron2") for d in ("mask-rcnn", "centernet2")]


@pytest.mark.parametrize("choice", ALL)
def test_both_arms_differ_in_the_data_alone(tmp_path, choice):
    steps = demo.plan(tmp_path, choice)[-1]
    real, synthetic = (step.arguments for step in steps)
    assert "--no-synthetic" in real
    assert arguments_of(steps[1], "--synthetic") == [str(tmp_path / "synthetic")]
    (config,), other = (arguments_of(step, "--config") for step in steps)
    assert other == [config.replace("-demo.", "-demo_mosaicfusion.")]
    kept = [a for a in real if a not in ("--no-synthetic", config, str(steps[0].result.parent))]
    own = ("--synthetic", str(tmp_path / "synthetic"), *other, str(steps[1].result.parent))
    assert kept == [a for a in synthetic if a not in own]


@pytest.mark.parametrize("choice", ALL)
def test_every_command_names_files_that_exist(tmp_path, choice):
    stages = [*demo.plan(tmp_path, choice), [demo.evaluate(tmp_path, choice)]]
    for step in chain.from_iterable(stages):
        files = [step.arguments[0], *arguments_of(step, "--config")]
        assert all((PATH.parents[1] / f).is_file() for f in files), step.name


def test_no_two_detectors_share_a_folder(tmp_path):
    folders = {demo.evaluate(tmp_path, choice).result.parent for choice in ALL}
    assert len(folders) == 4
    assert choose().folder(tmp_path) == tmp_path


@pytest.mark.parametrize("framework", ["mmdet", "detectron2"])
def test_val_is_not_built_while_choices_are_made_on_minival(tmp_path, framework):
    stages = demo.plan(tmp_path, choose(framework, split="minival"))
    text = " ".join(" ".join(s.arguments) for s in chain.from_iterable(stages))
    assert "--split minival" in text and "--split val" not in text
    moved = {
        "mmdet": "test_dataloader.dataset.ann_file=minival/annotations.json",
        "detectron2": "DATASETS.TEST ('minilvis-demo_minival',)",
    }
    assert moved[framework] in text


def test_seeds_of_one_arm_are_runs_of_one_name(tmp_path):
    runs = arguments_of(demo.evaluate(tmp_path, choose(seeds=(1, 2))), "--run")
    assert [r.split("=")[0] for r in runs] == ["real", "real", "mosaicfusion", "mosaicfusion"]


def test_a_finished_step_is_known_until_code_or_result_change(tmp_path):
    result = tmp_path / "result"
    step = demo.Step("s", "why", ["tool"], result)
    log = demo.Log(tmp_path / "steps.json")
    log.add(step.name, "code1", 1.26)
    assert not log.has(step, "code1")  # its result is missing
    result.touch()
    assert demo.Log(tmp_path / "steps.json").has(step, "code1")
    assert not log.has(step, "code2")
    assert log.steps["s"]["seconds"] == 1.3


def script(folder: Path, name: str, code: str) -> demo.Step:
    path = folder / f"{name}.py"
    path.write_text(code)
    return demo.Step(name, "why", [str(path)], folder)


def test_steps_of_a_stage_run_at_the_same_time_and_share_the_cores(tmp_path):
    meet = """
import os, pathlib, time
here, other = (pathlib.Path(__file__).parent / n for n in {names!r})
here.write_text(os.environ["OMP_NUM_THREADS"])
end = time.time() + 30
while not other.exists():
    assert time.time() < end
    time.sleep(0.05)
"""
    steps = [
        script(tmp_path, "a", meet.format(names=["one", "two"])),
        script(tmp_path, "b", meet.format(names=["two", "one"])),
    ]
    assert set(demo.run_stage(steps, "1/1")) == {"a", "b"}
    cores = int((tmp_path / "one").read_text()) + int((tmp_path / "two").read_text())
    assert cores <= max(2, os.cpu_count())


def test_a_failing_step_is_named_and_ends_the_others(tmp_path):
    steps = [
        script(tmp_path, "broken", "raise SystemExit(3)"),
        script(tmp_path, "endless", "import time; time.sleep(600)"),
    ]
    began = time.time()
    with pytest.raises(InputError, match="step 'broken' failed with exit code 3"):
        demo.run_stage(steps, "1/1")
    assert time.time() - began < 300
