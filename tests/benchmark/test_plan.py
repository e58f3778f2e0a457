"""The shipped benchmarks: what their commands say, and what shares what."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import pytest

from mf_plugin.benchmark.config import load_benchmark_config, select
from mf_plugin.benchmark.plan import plan
from mf_plugin.benchmark.steps import ordered
from mf_plugin.generation.config import differences, load_generation_config

ROOT = Path(__file__).parents[2]
CONFIGS = {
    name: ROOT / f"configs/benchmark/{name}.py" for name in ("demo", "ablations", "seggen", "all")
}


def steps_of(config):
    return ordered([training.record for training in plan(config, ROOT)])


def train_step(config, arm):
    (training,) = [t for t in plan(config, ROOT) if t.arm == arm]
    predict = training.record.needs[0]
    return predict.needs[0]


@pytest.fixture(scope="module")
def one():
    """A detector and a seed of the main table."""
    return select(load_benchmark_config(CONFIGS["demo"]), detectors=["mask-rcnn"], seeds=[1])


@pytest.mark.parametrize("name", CONFIGS)
def test_every_command_names_files_that_exist(name):
    steps = steps_of(load_benchmark_config(CONFIGS[name]))
    assert [file for step in steps for file in step.missing] == []


def test_the_main_table_is_whole():
    config = load_benchmark_config(CONFIGS["demo"])
    kinds = Counter(step.kind for step in steps_of(config))
    assert kinds == {
        "data": 3, "generate": 2, "oracle": 1, "train": 42, "predict": 42, "record": 42
    }  # fmt: skip
    assert config.split == "val" and config.reduced


def test_the_full_preset_has_the_same_arms_with_its_own_data():
    demo, whole = (load_benchmark_config(CONFIGS[name]) for name in ("demo", "all"))
    assert [arm.name for arm in whole.arms] == [arm.name for arm in demo.arms]
    steps = steps_of(whole)
    text = " ".join(" ".join(step.arguments) for step in steps)
    assert "demo" not in text and "--preset all" in text
    assert len([step for step in steps if step.kind == "train"]) == 2 * 9 * 5
    assert not whole.reduced


def test_choices_on_minival_and_tables_on_val_share_their_trainings(one):
    steps = {split: steps_of(select(one, split=split)) for split in ("minival", "val")}
    trained = [{s.hash for s in found if s.kind == "train"} for found in steps.values()]
    assert trained[0] == trained[1] and len(trained[0]) == 9
    text = " ".join(" ".join(step.arguments) for step in steps["minival"])
    assert "--split val" not in text and "val/annotations.json" in text


def test_arms_differ_as_they_should(one):
    arguments = {arm.name: " ".join(train_step(one, arm.name).arguments) for arm in one.arms}
    real = arguments["real"]
    assert arguments["copy_paste"] == real.replace("-demo.py", "-demo_copy-paste.py")
    refined = real.replace("--no-synthetic", "--synthetic {1}/dataset --policy joint")
    assert arguments["refined"] == arguments["published"] == arguments["oracle"] == refined
    assert arguments["refined_real"] == refined.replace("joint", "real")
    assert arguments["refined_ratio"] == refined.replace("joint", "ratio --synthetic-ratio 0.2")
    novel = " train_dataloader.dataset.ann_file=train-novel/annotations.json"
    novel += " train_dataloader.dataset.data_prefix.img=train-novel"
    assert arguments["novel_real"] == real + novel
    assert arguments["novel_refined"] == refined + novel
    assert [step.kind for step in train_step(one, "oracle").needs] == ["data", "oracle"]
    assert len({train_step(one, arm.name).hash for arm in one.arms}) == len(one.arms)


def test_sets_of_both_systems_are_mixed():
    config = select(load_benchmark_config(CONFIGS["seggen"]), seeds=[1])
    step = train_step(config, "all")
    assert [s.kind for s in step.needs] == ["data", *3 * ["generate"], "train"]
    text = " ".join(step.arguments)
    assert " ".join(f"--synthetic {{{i}}}/dataset" for i in (1, 2, 3)) + " --policy joint" in text
    assert text.endswith("load_from={4}/run/iter_*.pth")
    masksyn, mosaicfusion = step.needs[2], step.needs[1]
    assert train_step(config, "masksyn").needs[1].hash == masksyn.hash
    assert [s.hash for s in masksyn.needs] == [step.needs[0].hash] and not mosaicfusion.needs
    source = ("--annotations", "{0}/train/annotations.json", "--images", "{0}/train")
    assert masksyn.arguments[-4:] == source
    assert not any(file.startswith("work_dirs") for file in masksyn.files)


def test_a_real_image_gives_way_to_its_synthetic_version(one):
    sets = ("configs/generation/minilvis_imgsyn.py", "work_dirs/mine")
    arm = dataclasses.replace(
        one.arms[0], name="new", synthetic=sets, policy="replace", ratio=(0.4, 0.2)
    )
    step = train_step(dataclasses.replace(one, arms=(*one.arms, arm)), "new")
    data = "--synthetic {1}/dataset --synthetic work_dirs/mine"
    assert f"{data} --policy replace --synthetic-ratio 0.4 0.2 --seed 1" in " ".join(step.arguments)
    assert "work_dirs/mine/annotations.json" in step.files


def test_a_change_of_one_arm_reruns_that_arm_alone(one):
    changed = dataclasses.replace(
        one,
        arms=tuple(
            dataclasses.replace(a, ratio=0.3) if a.name == "refined_ratio" else a for a in one.arms
        ),
    )
    old, new = ({step.hash for step in steps_of(config)} for config in (one, changed))
    assert len(new - old) == 3  # train, predict, record


def test_ablations_go_on_from_the_main_tables_baseline_of_the_same_seed():
    main, rows = (load_benchmark_config(CONFIGS[name]) for name in ("demo", "ablations"))
    for seed in rows.seeds:
        start = train_step(select(main, seeds=[seed], detectors=["mask-rcnn"]), "real")
        for arm, number in (("real", 1), ("default", 2)):
            step = train_step(select(rows, seeds=[seed]), arm)
            assert step.needs[number].hash == start.hash
            assert step.arguments[-1] == f"load_from={{{number}}}/run/iter_*.pth"
    assert not any("load_from" in a for a in start.arguments)


def test_each_ablation_changes_one_setting():
    ablations = sorted((ROOT / "configs/generation/ablations").glob("*.py"))
    default = ROOT / "configs/generation/ablations/default.py"
    parent = load_generation_config(default).to_json()
    demo = load_generation_config(ROOT / "configs/generation/minilvis_rare.py").to_json()
    assert [line.split(":")[0] for line in differences(demo, parent)] == ["threads"]
    changed = {}
    for path in ablations:
        lines = differences(parent, load_generation_config(path).to_json())
        changed[path.stem] = {line.split(":")[0].split(".")[0] for line in lines}
    assert changed.pop("default") == set()
    assert changed.pop("main_rcf") == {"main_categories", "num_images"}
    assert changed.pop("masks_published") == {"attention", "mask"}
    assert changed.pop("prompt_name") == changed.pop("prompt_photo") == {"attention", "template"}
    assert changed.pop("regions_mixed") == {"regions", "jitter", "num_images"}
    assert {stem: len(names) for stem, names in changed.items() if len(names) != 1} == {}
    config = load_benchmark_config(CONFIGS["ablations"])
    used = {arm.synthetic for arm in config.arms}
    assert {f"configs/generation/ablations/{path.name}" for path in ablations} <= used
