"""Benchmark configs: what they accept, and what is left when a part of one is asked for."""

from __future__ import annotations

import dataclasses

import pytest

from mf_plugin.benchmark.config import (
    Arm,
    BenchmarkConfig,
    Detector,
    Target,
    load_benchmark_config,
    select,
)
from mf_plugin.errors import InputError

CONFIG = BenchmarkConfig(
    preset="demo",
    detectors=(Detector("a", "A", "configs/a"), Detector("b", "B", "configs/b")),
    arms=(
        Arm("real"),
        Arm("more", synthetic="g.py"),
        Arm("best", synthetic="g.py", oracle=True),
        Arm("novel", train="novel"),
        Arm("novel_more", train="novel", synthetic="g.py", baseline="novel"),
    ),
    seeds=(1, 2),
    oracle="best",
)


def test_a_part_keeps_what_its_gains_are_counted_from():
    part = select(CONFIG, arms=["novel_more"], detectors=["b"], seeds=[7], split="minival")
    assert [arm.name for arm in part.arms] == ["real", "novel", "novel_more"]
    assert [d.name for d in part.detectors] == ["b"]
    assert (part.seeds, part.split, part.oracle) == ((7,), "minival", None)
    assert select(CONFIG) == CONFIG
    with pytest.raises(InputError, match="no arm is called 'x': real, more"):
        select(CONFIG, arms=["x"])


def test_an_arm_may_have_fewer_seeds():
    arms = (Arm("real"), Arm("more", synthetic="g.py", seeds=(2, 5)))
    config = dataclasses.replace(CONFIG, arms=arms, oracle=None)
    assert [config.seeds_of(arm) for arm in arms] == [(1, 2), (2,)]


def test_targets_name_what_is_there_and_leave_with_their_arms():
    target = Target("a", "best", "APr", 10, over="more")
    config = dataclasses.replace(CONFIG, targets=(target, Target("b", "more", "AP", 1.4)))
    assert select(config, detectors=["a"]).targets == (target,)
    assert select(config, arms=["more"]).targets == config.targets[1:]
    with pytest.raises(InputError, match="no arm is called 'x'; expected one of real, more"):
        dataclasses.replace(CONFIG, targets=(Target("a", "x", "APr", 10),))
    with pytest.raises(InputError, match="no detector is called 'c'; expected one of a, b"):
        dataclasses.replace(CONFIG, targets=(Target("c", "more", "APr", 10),))
    with pytest.raises(InputError, match="aim is 'x'; expected one of"):
        Target("a", "more", "APr", 10, aim="x")


def test_baselines():
    names = {arm.name: CONFIG.baseline_of(arm) for arm in CONFIG.arms}
    assert names == {
        "real": None, "more": "real", "best": "real", "novel": "real", "novel_more": "novel"
    }  # fmt: skip


@pytest.mark.parametrize(
    "values, message",
    [
        (dict(policy="both", synthetic="g.py"), "policy is 'both'; expected one of"),
        (dict(policy="joint"), "policy is 'joint'; expected None without synthetic images"),
        (dict(oracle=True), "oracle is True; expected one dataset"),
        (dict(oracle=True, synthetic=("g.py", "h.py")), "oracle is True; expected one dataset"),
        (dict(policy="ratio", synthetic="g.py"), "ratio is None; expected one with a policy"),
        (dict(ratio=0.2, synthetic="g.py"), "ratio is 0.2; expected one with a policy"),
        (dict(policy="ratio", ratio=1.5, synthetic="g.py"), "shares between 0 and 1"),
        (dict(policy="replace", synthetic="g.py"), "ratio is None; expected one with a policy"),
        (dict(policy="ratio", ratio=(0.1, 0.1), synthetic="g.py"), "one of each of the 1 sets"),
        (dict(train="all"), "train is 'all'"),
    ],
)
def test_a_contradicting_arm_is_refused(values, message):
    with pytest.raises(InputError, match=f"arm x: .*{message}"):
        Arm("x", **values)


@pytest.mark.parametrize(
    "values, message",
    [
        (dict(baseline="x"), "no arm is called 'x'"),
        (dict(seeds=(1, 1)), r"seeds are \[1, 1\]; expected at least one, each once"),
        (dict(arms=()), r"arms are \[\]"),
        (dict(split="train"), "split is 'train'"),
    ],
)
def test_a_contradicting_benchmark_is_refused(values, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(CONFIG, **values)


def test_a_child_states_the_difference(tmp_path):
    parent = "from mf_plugin.benchmark.config import *\n"
    parent += "config = BenchmarkConfig('demo', (Detector('d', 'D', 'c'),), (Arm('real'),), (1,))\n"
    (tmp_path / "parent.py").write_text(parent)
    (tmp_path / "sub").mkdir()
    child = "import dataclasses\nfrom parent import config as parent\n"
    child += "config = dataclasses.replace(parent, seeds=(3,))\n"
    (tmp_path / "sub/child.py").write_text(child)
    assert load_benchmark_config(tmp_path / "sub/child.py").seeds == (3,)
    (tmp_path / "c.py").write_text("config = 1")
    with pytest.raises(InputError, match="expected `config = BenchmarkConfig"):
        load_benchmark_config(tmp_path / "c.py")
