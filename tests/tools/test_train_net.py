"""Arguments of tools/train_net.py: what goes to which framework."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from mf_plugin.errors import InputError

ROOT = Path(__file__).parents[2]
spec = importlib.util.spec_from_file_location("train_net_tool", ROOT / "tools/train_net.py")
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)


def parse(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["train_net.py", *arguments])
    return vars(tool.parse_arguments())


def test_detectron2_gets_its_own_options(monkeypatch):
    arguments = parse(
        monkeypatch,
        *"--config-file a.yaml --num-gpus 2 --dist-url tcp://x:1 --seed 3 --resume".split(),
        *("MODEL.DEVICE", "cpu", "SOLVER.STEPS", "(1, 2)"),
    )
    assert arguments.pop("framework") is None
    options = tool.own_options(arguments, "detectron2")
    assert options == dict(
        config="a.yaml",
        synthetic=None,
        no_synthetic=False,
        synthetic_only=False,
        policy=None,
        synthetic_ratio=None,
        work_dir=None,
        seed=3,
        resume=True,
        eval_only=False,
        num_gpus=2,
        num_machines=1,
        machine_rank=0,
        dist_url="tcp://x:1",
        add_config=[],
        opts=["MODEL.DEVICE", "cpu", "SOLVER.STEPS", "(1, 2)"],
    )


def test_mmdet_gets_its_own_options(monkeypatch):
    pytest.importorskip("mmdet", reason="MMDetection is not installed")
    from mf_plugin.mmdet.training import TrainingOptions

    arguments = parse(
        monkeypatch, "--config", "a.py", "--launcher", "pytorch", "--cfg-options", "a=1", "b=2"
    )
    arguments.pop("framework")
    options = TrainingOptions(**tool.own_options(arguments, "mmdet"))
    assert (options.launcher, options.cfg_options) == ("pytorch", ["a=1", "b=2"])


def test_several_folders_and_their_ratios(monkeypatch):
    config = ("--config", "a.yaml", "--synthetic", "a")
    ratios = ("--synthetic", "b", "--synthetic-ratio", "0.2", "0.1")
    arguments = parse(monkeypatch, *config, *ratios, "MODEL.DEVICE", "cpu")
    assert arguments["synthetic"] == ["a", "b"]
    assert arguments["synthetic_ratio"] == [0.2, 0.1]
    assert arguments["opts"] == ["MODEL.DEVICE", "cpu"], "overrides are no ratios"
    one = parse(monkeypatch, *config, "--synthetic-ratio", "0.6", "--policy", "replace")
    assert (one["synthetic_ratio"], one["policy"], one["opts"]) == (0.6, "replace", [])
    with pytest.raises(InputError, match="--synthetic-ratio 'half': expected a number"):
        parse(monkeypatch, *config, "--synthetic-ratio", "half")


@pytest.mark.parametrize(
    "framework, arguments, message",
    [
        ("mmdet", ["--num-gpus", "2"], "--num-gpus: an option of detectron2"),
        ("mmdet", ["MODEL.DEVICE", "cpu"], "overrides at the end: an option of detectron2"),
        ("detectron2", ["--launcher", "slurm"], "--launcher: an option of mmdet"),
        ("detectron2", ["--cfg-options", "a=1"], "--cfg-options: an option of mmdet"),
    ],
)
def test_options_of_the_other_framework_are_refused(monkeypatch, framework, arguments, message):
    parsed = parse(monkeypatch, "--config", "a", *arguments)
    with pytest.raises(InputError, match=message):
        tool.own_options(parsed, framework)


def test_the_framework_is_told_or_asked_for(tmp_path):
    path = tmp_path / "config.py"
    path.write_text("model = dict(type='MaskRCNN')")
    assert tool.choose_framework(str(path), "mmdet") == "mmdet"
    with pytest.raises(InputError, match="say which with --framework"):
        tool.choose_framework(str(path), None)
    with pytest.raises(InputError, match="no.yaml does not exist"):
        tool.choose_framework("no.yaml", None)
    (tmp_path / "a.yaml").write_text("")
    assert tool.choose_framework(str(tmp_path / "a.yaml"), None) == "detectron2"
