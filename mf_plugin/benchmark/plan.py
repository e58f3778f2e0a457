"""The steps of a benchmark: data -> generate (or oracle) -> train -> predict -> record.

Trainings predict nothing, so that choices on minival and tables on val share them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mf_plugin.benchmark.config import TRAIN_SPLITS, Arm, BenchmarkConfig, Detector
from mf_plugin.benchmark.fingerprint import REPOSITORY
from mf_plugin.benchmark.steps import Step
from mf_plugin.generation.config import load_generation_config
from mf_plugin.seggen.synthesis import SegGenConfig

# What decides a kind's results besides its command, its configs and the steps that it needs.
MINILVIS = ("mf_plugin/lvis", "mf_plugin/vocabulary.py", "mf_plugin/assets/minilvis")
TRAINING = ("mf_plugin/data", "mf_plugin/mmdet", "mf_plugin/lvis", "mf_plugin/vocabulary.py")
CODE = {
    "data": (*MINILVIS, "tools/build_minilvis.py"),
    "generate": (
        *("mf_plugin/mosaic", "mf_plugin/generation", "mf_plugin/configfile.py"),
        *(*MINILVIS, "tools/generate.py"),
    ),
    "oracle": (*MINILVIS, "tools/build_minilvis.py"),
    "train": (*TRAINING, "tools/train_net.py"),
    "predict": (*TRAINING, "tools/train_net.py"),
    "record": ("mf_plugin/evaluation", "mf_plugin/benchmark/measure.py", "tools/measure_run.py"),
}
SEGGEN = ("mf_plugin/seggen",)
REAL = Arm("real", "real images")  # what a detector's start was trained on
DRAWS, DRAWS_SEED = 1000, 0  # of the bootstrap, as tools/eval_rare.py's


@dataclass(frozen=True)
class Training:
    """One cell of the table: an arm of a detector with a seed, and the step that measures it."""

    detector: str
    arm: str
    seed: int
    record: Step


def plan(config: BenchmarkConfig, root: Path = REPOSITORY) -> list[Training]:
    """All trainings of a benchmark; the steps that they need hang on their ``record``.

    Baselines come first, then seed by seed, so that an unfinished benchmark has whole rows.

    Args:
        config: what is compared.
        root: the repository, from which the config's paths are seen.
    """
    order = sorted(config.arms, key=lambda arm: arm.name != config.baseline)
    return [
        Training(detector.name, arm.name, seed, _record(config, detector, arm, seed, root))
        for seed in config.seeds
        for detector in config.detectors
        for arm in order
        if seed in config.seeds_of(arm)
    ]


def _data(preset: str, split: str, root: Path) -> Step:
    return Step(
        "data",
        f"data {split}",
        f"compose the {split} split of mini-LVIS",
        ("tools/build_minilvis.py", "--preset", preset, "--split", split, "--out", "{out}"),
        f"{split}/annotations.json",
        files=CODE["data"],
        root=root,
    )


def _synthetic(preset: str, synthetic: str, root: Path) -> Step | None:
    """The step that makes a dataset in "{out}/dataset"; None for a folder that is there."""
    if not synthetic.endswith(".py"):
        return None
    files, from_real = _inputs(root, synthetic)
    source = ("--annotations", "{0}/train/annotations.json", "--images", "{0}/train")
    return Step(
        "generate",
        f"generate {synthetic}",
        f"paint objects by {synthetic}",
        ("tools/generate.py", "--config", synthetic, "--out", "{out}/dataset")
        + ("--device", "{device}")
        + (source if from_real else ()),
        "dataset/dataset.json",
        needs=(_data(preset, "train", root),) if from_real else (),
        configs=(synthetic,),
        files=(*CODE["generate"], *(SEGGEN if from_real else ()), *files),
        root=root,
    )


def _oracle_of(preset: str, generate: Step | None, folder: str, root: Path) -> Step:
    return Step(
        "oracle",
        f"oracle of {generate.name.split(maxsplit=1)[1] if generate else folder}",
        "compose real renderings, as many as the synthetic ones, in the training styles",
        ("tools/build_minilvis.py", "--preset", preset, "--oracle", folder)
        + ("--out", "{out}/dataset"),
        "dataset/annotations.json",
        needs=(generate,) if generate else (),
        files=(*CODE["oracle"], *(() if generate else (folder,))),
        root=root,
    )


@cache
def _inputs(root: Path, file: str) -> tuple[tuple[str, ...], bool]:
    """Of a generation config: the vocabulary and the weights, hub ids left out, and whether it
    starts from real images, as SegGen's do; those are the benchmark's own."""
    if not (root / file).is_file():
        return (), False
    config = load_generation_config(root / file)
    if isinstance(config, SegGenConfig):
        return tuple(str(path) for path in (config.text2mask, config.mask2img) if path), True
    return tuple(name for name in config.inputs if (root / name).exists()), False


def _train(config: BenchmarkConfig, detector: Detector, arm: Arm, seed: int, root: Path) -> Step:
    split = TRAIN_SPLITS[arm.train]
    needs = [_data(config.preset, split, root)]
    files: tuple[str, ...] = CODE["train"]
    data = [] if arm.sets else ["--no-synthetic"]
    for synthetic in arm.sets:
        made = _synthetic(config.preset, synthetic, root)
        if arm.oracle:
            made = _oracle_of(config.preset, made, "{0}/dataset" if made else synthetic, root)
        if made is None:
            data += ["--synthetic", synthetic]
            files += (f"{synthetic}/annotations.json",)
        else:
            data += ["--synthetic", f"{{{len(needs)}}}/dataset"]
            needs.append(made)
    data += ["--policy", arm.policy] if arm.policy else []
    data += ["--synthetic-ratio", *map(str, arm.ratios)] if arm.ratios else []
    options = ["data_root={0}", "test_dataloader=None", "test_evaluator=None", "test_cfg=None"]
    if split != "train":
        options.append(f"train_dataloader.dataset.ann_file={split}/annotations.json")
        options.append(f"train_dataloader.dataset.data_prefix.img={split}")
    if detector.start is not None:
        needs.append(_train(config, detector.start, REAL, seed, root))
        options.append(f"load_from={{{len(needs) - 1}}}/run/iter_*.pth")
    file = detector.config_of(arm)
    return Step(
        "train",
        f"train {detector.name} {arm.name} seed {seed}",
        f"train {detector.title}: {arm.label or arm.name}",
        ("tools/train_net.py", "--config", file, *data, "--seed", str(seed))
        + ("--work-dir", "{out}/run", "--cfg-options", *options, *arm.options),
        "run/iter_*.pth",
        needs=tuple(needs),
        configs=(file,),
        files=files,
        resume=(("--resume",), "run/last_checkpoint"),
        root=root,
    )


def _record(config: BenchmarkConfig, detector: Detector, arm: Arm, seed: int, root: Path) -> Step:
    train = _train(config, detector, arm, seed, root)
    held_out = _data(config.preset, config.split, root)
    what = f"{detector.name} {arm.name} seed {seed}"
    file = f"{detector.config}.py"  # an arm's own config differs in its training alone
    predict = Step(
        "predict",
        f"predict {config.split} {what}",
        f"predict the {config.split} split",
        ("tools/train_net.py", "--config", file, "--no-synthetic", "--eval-only")
        + ("--work-dir", "{out}/run", "--cfg-options")
        + ("data_root={2}", "load_from={0}/run/iter_*.pth")
        + ("test_dataloader.dataset.data_root={1}",)
        + (f"test_dataloader.dataset.ann_file={config.split}/annotations.json",)
        + (f"test_dataloader.dataset.data_prefix.img={config.split}",),
        "run/results.segm.json",
        needs=(train, held_out, train.needs[0]),  # the config's training set has to be there
        configs=(file,),
        files=CODE["predict"],
        root=root,
    )
    return Step(
        "record",
        f"record {config.split} {what}",
        f"measure AP on {config.split} by frequency group, under resampled images",
        ("tools/measure_run.py", "--gt", f"{{1}}/{config.split}/annotations.json")
        + ("--results", "{0}/run/results.segm.json", "--out", "{out}/measured.json")
        + ("--draws", str(DRAWS), "--seed", str(DRAWS_SEED)),
        "measured.json",
        needs=(predict, held_out),
        files=CODE["record"],
        root=root,
    )
