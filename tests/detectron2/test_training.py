"""tools/train_net.py as a user calls it, on very small detectors of Detectron2."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("detectron2", reason="Detectron2 is not installed")

from mf_plugin.detectron2 import Trainer
from mf_plugin.detectron2.training import TrainingOptions, build_config, find_checkpoint, train
from mf_plugin.errors import InputError

ROOT = Path(__file__).parents[2]
LAZY = """
import torch
from detectron2.config import LazyCall as L
from detectron2.data import (
    DatasetMapper, build_detection_test_loader, build_detection_train_loader,
    get_detection_dataset_dicts,
)
from detectron2.data import transforms as T
from detectron2.data.samplers import RepeatFactorTrainingSampler
from detectron2.evaluation import LVISEvaluator
from detectron2.solver.build import get_default_optimizer_params
from fvcore.common.param_scheduler import MultiStepParamScheduler
from mf_plugin.detectron2 import register
from mf_plugin.detectron2.configs import read_yaml_config
from detectron2.modeling import build_model

register("tiny_train", {train!r}, synthetic=False)
register("tiny_val", {val!r}, like="tiny_train", synthetic=False)
dataloader = dict(
    train=L(build_detection_train_loader)(
        dataset=L(get_detection_dataset_dicts)(names="tiny_train"),
        mapper=L(DatasetMapper)(
            is_train=True, augmentations=[L(T.RandomFlip)()], image_format="BGR",
            use_instance_mask=True,
        ),
        sampler=L(RepeatFactorTrainingSampler)(
            repeat_factors=L(RepeatFactorTrainingSampler.repeat_factors_from_category_frequency)(
                dataset_dicts="${{dataloader.train.dataset}}", repeat_thresh=0.75
            )
        ),
        total_batch_size=2,
        aspect_ratio_grouping=False,
        num_workers=0,
    ),
    test=L(build_detection_test_loader)(
        dataset=L(get_detection_dataset_dicts)(names="tiny_val", filter_empty=False),
        mapper=L(DatasetMapper)(is_train=False, augmentations=[], image_format="BGR"),
        num_workers=0,
    ),
    evaluator=L(LVISEvaluator)(dataset_name="tiny_val", max_dets_per_image=50),
)
model = L(build_model)(cfg=L(read_yaml_config)(path={yaml!r}))
optimizer = L(torch.optim.SGD)(
    params=L(get_default_optimizer_params)(), lr=0.01
)
lr_multiplier = L(MultiStepParamScheduler)(values=[1.0, 0.1], milestones=[1], num_updates=2)
train = dict(
    output_dir="./output", init_checkpoint="", max_iter=2, amp=dict(enabled=False), ddp=dict(),
    checkpointer=dict(period=1, max_to_keep=9), eval_period=0, log_period=1, device="cpu", seed=1,
)
"""


@pytest.fixture(autouse=True)
def restored(catalogs):
    return catalogs


@pytest.fixture()
def lazy_config(tmp_path, real, tiny_config):
    path = tmp_path / "lazy.py"
    path.write_text(
        LAZY.format(train=str(real / "train"), val=str(real / "val"), yaml=str(tiny_config()))
    )
    return path


def train_net(*arguments):
    environment = dict(
        os.environ,
        PYTHONPATH=os.pathsep.join([str(ROOT), *filter(None, sys.path)]),
        OMP_NUM_THREADS="1",
    )
    return subprocess.run(
        [sys.executable, str(ROOT / "tools/train_net.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
    )


def weights(folder, name="model_final"):
    return torch.load(folder / f"{name}.pth", weights_only=False)["model"]


@pytest.mark.parametrize("detector", ["mask-rcnn", "centernet2"])
def test_both_arms_train_and_write_their_predictions(tiny_config, synthetic, tmp_path, detector):
    if detector == "centernet2":
        pytest.importorskip("centernet", reason="centernet2 is not installed")
    config = tiny_config(detector)
    arms = {"real": ["--no-synthetic"], "both": ["--synthetic", synthetic, "--policy", "real"]}
    for name, options in arms.items():
        done = train_net(
            "--config",
            config,
            "--work-dir",
            tmp_path / name,
            *options,
            "MODEL.ROI_HEADS.SCORE_THRESH_TEST",
            "0.0",
        )
        assert done.returncode == 0, done.stderr
        detections = json.loads((tmp_path / name / "results.segm.json").read_text())
        assert {d["image_id"] for d in detections} <= {1, 2, 3, 4} and detections
        assert {d["category_id"] for d in detections} <= {7, 2, 5}
        assert detections[0]["segmentation"]["size"] == [64, 64]
        logged = (tmp_path / name / "metrics.json").read_text().splitlines()
        assert "segm/APr" in json.loads(logged[-1])
    assert " 2 synthetic images" in done.stdout
    if detector == "centernet2":
        counts = json.loads((tmp_path / "both/category_image_count.json").read_text())
        assert {c["id"]: c["image_count"] for c in counts} == {7: 3, 2: 1, 5: 2}

    # predicting again with the checkpoint gives the same file
    results = tmp_path / "both/results.segm.json"
    before = results.read_text()
    results.unlink()
    opts = ("MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.0")
    folder = str(tmp_path / "both")
    train(TrainingOptions(str(config), work_dir=folder, eval_only=True, opts=opts))
    assert results.read_text() == before


def test_lazy_config_trains_with_and_without(lazy_config, synthetic, tmp_path):
    for name, options in (("real", []), ("both", ["--synthetic", synthetic])):
        done = train_net(
            "--config", lazy_config, "--work-dir", tmp_path / name, *options, "train.max_iter=1"
        )
        assert done.returncode == 0, done.stderr
        assert (tmp_path / name / "results.segm.json").is_file()
    assert " 2 synthetic images" in done.stdout
    again = TrainingOptions(str(lazy_config), work_dir=str(tmp_path / "both"), eval_only=True)
    before = (tmp_path / "both/results.segm.json").read_text()
    train(again)
    assert (tmp_path / "both/results.segm.json").read_text() == before


@pytest.fixture()
def initial_weights(monkeypatch):
    """Train without training: collects the weights at the first step."""
    from detectron2.engine import DefaultTrainer

    found = []

    def run(self):
        found.append({k: v.clone() for k, v in self.model.state_dict().items()})

    monkeypatch.setattr(DefaultTrainer, "train", run)
    return found


def test_both_arms_start_from_the_same_weights(tiny_config, synthetic, tmp_path, initial_weights):
    for number, options in enumerate([dict(), dict(synthetic=str(synthetic)), dict(seed=2)]):
        train(TrainingOptions(str(tiny_config()), work_dir=str(tmp_path / f"{number}"), **options))
    real, both, other_seed = initial_weights
    assert all(torch.equal(real[key], both[key]) for key in real)
    assert not all(torch.equal(real[key], other_seed[key]) for key in real)


def test_a_run_repeats_itself_and_resumes(tiny_config, tmp_path):
    config = str(tiny_config())
    for name in "ab":
        train(TrainingOptions(config, work_dir=str(tmp_path / name)))
    a, b = weights(tmp_path / "a"), weights(tmp_path / "b")
    assert all(torch.equal(a[key], b[key]) for key in a)
    longer = ("SOLVER.MAX_ITER", "3")
    train(TrainingOptions(config, work_dir=str(tmp_path / "a"), resume=True, opts=longer))
    assert (tmp_path / "a/model_0000002.pth").is_file()
    assert (tmp_path / "a/last_checkpoint").read_text() == "model_final.pth"


def test_several_processes_evaluate_together(tiny_config, tmp_path):
    config, folder = tiny_config(), tmp_path / "run"
    train(TrainingOptions(str(config), work_dir=str(folder)))
    alone = json.loads((folder / "results.segm.json").read_text())
    done = train_net("--config", config, "--work-dir", folder, "--eval-only", "--num-gpus", "2")
    assert done.returncode == 0, done.stderr
    together = json.loads((folder / "results.segm.json").read_text())
    assert together == alone


@pytest.mark.heavy
def test_several_processes_train_a_lazy_config_together(lazy_config, synthetic, tmp_path):
    done = train_net(
        "--config",
        lazy_config,
        "--work-dir",
        tmp_path / "run",
        "--synthetic",
        synthetic,
        "--num-gpus",
        "2",
        "train.max_iter=2",
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run/results.segm.json").is_file()
    assert (tmp_path / "run/model_final.pth").is_file()


def test_options_reach_the_config(tiny_config, tmp_path):
    options = TrainingOptions(
        str(tiny_config()), work_dir=str(tmp_path), seed=5, opts=("SOLVER.STEPS", "(1, 2)")
    )
    cfg = build_config(options)
    found = (cfg.SEED, cfg.OUTPUT_DIR, cfg.SOLVER.STEPS)
    assert found == (5, str(tmp_path), (1, 2))
    assert cfg.is_frozen()


def test_policy_of_a_config_with_synthetic_data(tiny_config, synthetic, tmp_path):
    path = tmp_path / "both.yaml"
    path.write_text(
        f"_BASE_: {str(tiny_config())!r}\n"
        f"MOSAICFUSION: {{DATASETS: [[tiny_synthetic, {str(synthetic)!r}]]}}\n"
        "DATASETS: {TRAIN: [tiny_train, tiny_synthetic]}\n"
    )
    cfg = build_config(TrainingOptions(str(path), synthetic_ratio=0.5))
    assert (cfg.MOSAICFUSION.POLICY, cfg.MOSAICFUSION.RATIO) == ("ratio", 0.5)
    assert tuple(cfg.DATASETS.TRAIN) == ("tiny_train", "tiny_synthetic")
    cfg = build_config(TrainingOptions(str(path), no_synthetic=True))
    assert tuple(cfg.DATASETS.TRAIN) == ("tiny_train",)


def test_keys_of_other_projects_are_added(tiny_config, tmp_path, monkeypatch):
    (tmp_path / "my_project.py").write_text("def add(cfg):\n    cfg.MODEL.MINE = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    options = dict(config=str(tiny_config()), opts=("MODEL.MINE", "2"))
    with pytest.raises(InputError, match="Non-existent key: MODEL.MINE"):
        build_config(TrainingOptions(**options))
    cfg = build_config(TrainingOptions(**options, add_config=("my_project:add",)))
    assert cfg.MODEL.MINE == 2
    with pytest.raises(InputError, match="--add-config my_project:none: expected MODULE:FUNCTION"):
        build_config(TrainingOptions(**options, add_config=("my_project:none",)))


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(config="no.yaml"), "config no.yaml does not exist"),
        (dict(opts=("MODEL.DEVICE",)), "expected KEY VALUE pairs"),
        (dict(opts=("MODEL.DEVICE", "cpu", "--seed", "3")), "--seed stands behind the overrides"),
        (dict(opts=("MODEL.NONE", "1")), "cannot be read: Non-existent key: MODEL.NONE"),
        (dict(opts=("MODEL.DEVICE", "cuda")), "asks for the device 'cuda' and torch sees no GPU"),
        (dict(opts=("MOSAICFUSION.DATA_ROOT", "void")), "void/train does not exist; build it with"),
        (dict(opts=("DATASETS.TEST", "('lvis_v1_val',)")), "annotations of lvis_v1_val are miss"),
        (dict(opts=("DATASETS.TEST", "('nobody',)")), "dataset 'nobody' is not registered"),
        (dict(eval_only=True), "no checkpoint in"),
        (dict(no_synthetic=True, policy="real"), "--no-synthetic excludes"),
        (dict(synthetic="void"), "void holds no synthetic dataset"),
        (dict(policy="ratio"), "expect --synthetic DIR, or a yaml config with a synthetic"),
        (dict(seed=-1), "seed -1"),
        (dict(num_gpus=0), "--num-gpus 0 --num-machines 1: expected 1 or more"),
        (dict(machine_rank=1), "--machine-rank 1: expected 0 to 0"),
        (dict(num_gpus=2), "2 processes on the device 'cpu'"),
    ],
)
def test_errors_name_the_value(tiny_config, tmp_path, options, message):
    if torch.cuda.is_available() and ("GPU" in message or "processes" in message):
        pytest.skip("there is a GPU")
    options = {"config": str(tiny_config()), "work_dir": str(tmp_path / "run"), **options}
    with pytest.raises(InputError, match=message):
        train(TrainingOptions(**options))
    assert not (tmp_path / "run/model_0000000.pth").exists()


def test_lazy_errors_name_the_value(lazy_config, tmp_path):
    with pytest.raises(InputError, match="override 'train.max_iter': a LazyConfig expects key=va"):
        build_config(TrainingOptions(str(lazy_config), opts=("train.max_iter",)))
    with pytest.raises(InputError, match="--synthetic-only expect --synthetic DIR"):
        build_config(TrainingOptions(str(lazy_config), policy="real"))
    broken = tmp_path / "broken.py"
    broken.write_text("model = 1 / 0")
    with pytest.raises(InputError, match="broken.py cannot be read: division by zero"):
        build_config(TrainingOptions(str(broken)))


def test_a_missing_test_image_ends_the_run_before_it_starts(tiny_config, real, tmp_path):
    (real / "val/images/000000000002.jpg").unlink()
    with pytest.raises(InputError, match="000000000002.jpg is missing on disk"):
        train(TrainingOptions(str(tiny_config()), work_dir=str(tmp_path / "run")))


def test_bad_input_is_one_line_and_code_2(tmp_path):
    done = train_net("--config", tmp_path / "none.yaml")
    assert done.returncode == 2
    assert done.stderr.startswith("error: config ") and done.stderr.count("\n") == 1


def test_eval_only_takes_the_weights_of_the_config_where_nothing_was_trained(tiny_config, tmp_path):
    options = TrainingOptions(
        str(tiny_config()), work_dir=str(tmp_path / "run"), opts=("MODEL.WEIGHTS", "some.pth")
    )
    assert find_checkpoint(build_config(options), options) == "some.pth"


def test_eval_only_takes_the_weights_that_the_command_names(tiny_config, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "last_checkpoint").write_text("model_final.pth")
    options = dict(config=str(tiny_config()), work_dir=str(folder), eval_only=True)
    named = {**options, "opts": ("MODEL.WEIGHTS", "other.pth")}
    latest = str(folder / "model_final.pth")
    for given, expected in (
        (options, latest),
        (named, "other.pth"),
        ({**named, "resume": True}, latest),
    ):
        given = TrainingOptions(**given)
        assert find_checkpoint(build_config(given), given) == expected


def test_a_resumed_run_goes_on_in_the_stream_of_draws(tiny_config, tmp_path):
    """Three steps in one go see the same images as one step and two more after a resume."""

    def trainer(name, steps, resume):
        opts = ("SOLVER.MAX_ITER", str(steps))
        options = TrainingOptions(str(tiny_config()), work_dir=str(tmp_path / name), opts=opts)
        built = Trainer(build_config(options))
        built.resume_or_load(resume)
        return built

    def images(loader, batches):
        return [[r["image_id"] for r in batch] for _, batch in zip(range(batches), loader)]

    whole = images(trainer("a", 3, False).data_loader, 3)
    one = ("SOLVER.MAX_ITER", "1")
    train(TrainingOptions(str(tiny_config()), work_dir=str(tmp_path / "b"), opts=one))
    resumed = trainer("b", 3, True)
    assert resumed.start_iter == 1
    assert images(resumed.data_loader, 2) == whole[1:]
