"""tools/train_net.py as a user calls it, on a very small detector."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from mmdet.datasets import BaseDetDataset
from mmdet.registry import DATASETS
from mmengine.config import Config

from mf_plugin.errors import InputError
from mf_plugin.mmdet.training import (
    TrainingOptions,
    build_config,
    check_annotation_files,
    parse_overrides,
    train,
)

ROOT = Path(__file__).parents[2]


def train_net(*arguments):
    environment = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1")
    return subprocess.run(
        [sys.executable, str(ROOT / "tools/train_net.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
    )


def weights(folder):
    checkpoint = torch.load(folder / "iter_2.pth", weights_only=False)
    return checkpoint["state_dict"]


def test_both_arms_train_and_write_their_predictions(tiny_config, synthetic, tmp_path):
    arms = {"real": ["--no-synthetic"], "both": ["--synthetic", synthetic, "--policy", "real"]}
    for name, options in arms.items():
        done = train_net("--config", tiny_config, "--work-dir", tmp_path / name, *options)
        assert done.returncode == 0, done.stderr
        assert "training" in done.stderr and "test" in done.stderr, "progress bars"
        detections = json.loads((tmp_path / name / "results.segm.json").read_text())
        assert detections, "score_thr is low: an untrained detector finds something"
        assert set(detections[0]) == {"image_id", "category_id", "bbox", "score", "segmentation"}
        assert {d["image_id"] for d in detections} <= {1, 2, 3, 4}
        assert {d["category_id"] for d in detections} <= {7, 2, 5}
        assert detections[0]["segmentation"]["size"] == [64, 64]
    assert "2 synthetic images" in done.stderr + done.stdout

    # predicting again with the checkpoint gives the same file
    results = tmp_path / "both/results.segm.json"
    before = results.read_text()
    results.unlink()
    train(TrainingOptions(str(tiny_config), work_dir=str(tmp_path / "both"), eval_only=True))
    assert results.read_text() == before


@pytest.fixture()
def initial_weights(monkeypatch):
    """Train without training: collects the weights at the first step."""
    from mmengine.runner import IterBasedTrainLoop

    found = []

    def run(self):
        found.append({k: v.clone() for k, v in self.runner.model.state_dict().items()})
        return self.runner.model

    monkeypatch.setattr(IterBasedTrainLoop, "run", run)
    return found


def test_both_arms_start_from_the_same_weights(tiny_config, synthetic, tmp_path, initial_weights):
    runs = [dict(), dict(synthetic=str(synthetic)), dict(seed=2)]
    for number, options in enumerate(runs):
        train(TrainingOptions(str(tiny_config), work_dir=str(tmp_path / f"{number}"), **options))
    real, both, other_seed = initial_weights
    assert all(torch.equal(real[key], both[key]) for key in real)
    assert not all(torch.equal(real[key], other_seed[key]) for key in real)


def test_a_run_repeats_itself_and_resumes(tiny_config, tmp_path):
    for name in "ab":
        options = TrainingOptions(str(tiny_config), work_dir=str(tmp_path / name))
        train(options)
    a, b = weights(tmp_path / "a"), weights(tmp_path / "b")
    assert all(torch.equal(a[key], b[key]) for key in a)

    longer = ["train_cfg.max_iters=3", "default_hooks.checkpoint.interval=1"]
    train(
        TrainingOptions(
            str(tiny_config), work_dir=str(tmp_path / "a"), resume=True, cfg_options=longer
        )
    )
    assert (tmp_path / "a/iter_3.pth").is_file()

    # A training that begins with the weights of another: its own come first.
    work_dir, start = tmp_path / "c", f"load_from={tmp_path / 'a/iter_3.pth'}"
    begun = TrainingOptions(str(tiny_config), work_dir=str(work_dir), cfg_options=[start])
    train(begun)
    assert not (work_dir / "iter_3.pth").exists()
    resumed = replace(begun, resume=True, cfg_options=[start, *longer])
    train(resumed)
    assert (work_dir / "iter_3.pth").is_file()


def test_where_a_training_starts(tiny_config, tmp_path):
    def choose(*cfg_options, **options):
        given = dict(work_dir=str(tmp_path / "work"), cfg_options=cfg_options, **options)
        cfg = build_config(TrainingOptions(str(tiny_config), **given))
        return cfg.resume, cfg.get("load_from")

    assert choose() == (False, None)
    assert choose(resume=True) == (False, None)
    assert choose("load_from=start.pth", resume=True) == (False, "start.pth")
    latest = tmp_path / "work/iter_2.pth"
    latest.parent.mkdir()
    (latest.parent / "last_checkpoint").write_text(str(latest))
    assert choose("load_from=start.pth") == (False, "start.pth")
    assert choose("load_from=start.pth", resume=True) == (True, str(latest))
    assert choose("load_from=start.pth", eval_only=True) == (False, "start.pth")
    assert choose(eval_only=True) == (False, str(latest))
    config = tmp_path / "finetune.py"
    config.write_text(f'_base_ = "{tiny_config}"\nload_from = "start.pth"\n')
    cfg = build_config(TrainingOptions(str(config), work_dir=str(latest.parent), eval_only=True))
    assert cfg.load_from == str(latest)


def test_options_reach_the_config(tiny_config, tmp_path):
    cfg = build_config(
        TrainingOptions(
            str(tiny_config),
            work_dir=str(tmp_path),
            seed=5,
            cfg_options=["data_root=elsewhere", "train_cfg.max_iters=7"],
        )
    )
    assert cfg.train_dataloader.dataset.data_root == "elsewhere"
    assert cfg.test_dataloader.dataset.data_root == "elsewhere"
    assert cfg.test_evaluator.outfile_prefix == str(tmp_path / "results")
    assert (cfg.randomness.seed, cfg.train_cfg.max_iters) == (5, 7)


def test_overrides_are_typed():
    assert parse_overrides(["a.b=1", "c=[x,2]", "d=1e-3"]) == {"a.b": 1, "c": ["x", 2], "d": 1e-3}
    with pytest.raises(InputError, match="'nonsense': expected key=value"):
        parse_overrides(["nonsense"])


def test_bad_input_is_one_line_and_code_2(tmp_path):
    done = train_net("--config", tmp_path / "none.py")
    assert done.returncode == 2
    assert done.stderr.startswith("error: config ") and done.stderr.count("\n") == 1


def test_missing_test_image_ends_the_run_before_it_starts(
    tiny_config, real, tmp_path, initial_weights
):
    (real / "val/images/000000000002.jpg").unlink()
    with pytest.raises(InputError, match="000000000002.jpg is missing on disk"):
        train(TrainingOptions(str(tiny_config), work_dir=str(tmp_path / "run")))
    assert not initial_weights


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(config="no.py"), "config no.py does not exist"),
        (dict(cfg_options=["data_root=void"]), "void/train/annotations.json; build it with: pyth"),
        (dict(eval_only=True), "no checkpoint in"),
        (dict(no_synthetic=True, policy="real"), "--no-synthetic excludes"),
        (dict(synthetic="void"), "void holds no synthetic dataset"),
        (dict(policy="ratio"), "ratio between 0 and 1, got None"),
        (dict(seed=-1), "seed -1"),
    ],
)
def test_errors_name_the_value(tiny_config, tmp_path, options, message):
    options = {"config": str(tiny_config), "work_dir": str(tmp_path / "run"), **options}
    with pytest.raises(InputError, match=message):
        train(TrainingOptions(**options))


def test_a_config_that_cannot_be_read_is_named(tmp_path):
    path = tmp_path / "broken.py"
    path.write_text("model = dict(")
    with pytest.raises(InputError, match="broken.py cannot be read"):
        train(TrainingOptions(str(path)))


def test_truncated_annotations_are_named(tiny_config, real, tmp_path):
    path = real / "train/annotations.json"
    path.write_text(path.read_text()[:200])
    with pytest.raises(InputError, match="train/annotations.json is not valid json"):
        train(TrainingOptions(str(tiny_config), work_dir=str(tmp_path / "run")))


@pytest.fixture()
def coco_config(tiny_config, real, tmp_path):
    """Somebody's config: COCO-style data, epochs, CocoMetric; nothing of ours is named in it."""
    ground_truth = real / "val/annotations.json"
    truth = json.loads(ground_truth.read_text())
    for annotation in truth["annotations"]:
        annotation["iscrowd"] = 0  # COCO's jsons have it, and pycocotools asks for it
    ground_truth.write_text(json.dumps(truth))
    data = dict(
        ann_file="annotations.json",
        data_prefix=dict(img=""),
        metainfo=dict(classes=("cup", "anvil", "bow")),
    )
    text = f"""
_base_ = {str(tiny_config)!r}
custom_imports = dict(_delete_=True, imports=["mmdet.datasets"])
data = {data!r}
train_dataloader = dict(
    _delete_=True, batch_size=2, num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=True),
    batch_sampler=dict(type="AspectRatioBatchSampler"),
    dataset=dict(
        type="CocoDataset", data_root={str(real / "train")!r},
        pipeline={{{{_base_.small_pipeline}}}}, **data))
test_dataloader = dict(
    dataset=dict(
        _delete_=True, type="CocoDataset", data_root={str(real / "val")!r}, test_mode=True,
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="Resize", scale=(64, 64), keep_ratio=True),
            dict(type="PackDetInputs", meta_keys=("img_id", "ori_shape", "img_shape",
                                                  "scale_factor")),
        ], **data))
test_evaluator = dict(
    _delete_=True, type="CocoMetric", metric=["bbox", "segm"],
    ann_file={str(ground_truth)!r})
train_cfg = dict(_delete_=True, type="EpochBasedTrainLoop", max_epochs=1)
default_hooks = dict(checkpoint=dict(by_epoch=True, interval=1))
"""
    path = tmp_path / "coco.py"
    path.write_text(text)
    return path


def test_a_coco_config_trains_resumes_and_evaluates(coco_config, synthetic, tmp_path):
    options = dict(
        config=str(coco_config), work_dir=str(tmp_path / "run"), synthetic=str(synthetic)
    )
    train(TrainingOptions(**options))
    first = torch.load(tmp_path / "run/epoch_1.pth", weights_only=False)
    assert first["meta"]["iter"] == 2, "four real images, two a step: as without synthetic ones"
    results = tmp_path / "run/results.segm.json"
    assert {d["category_id"] for d in json.loads(results.read_text())} <= {7, 2, 5}

    train(TrainingOptions(**options, resume=True, cfg_options=["train_cfg.max_epochs=2"]))
    second = torch.load(tmp_path / "run/epoch_2.pth", weights_only=False)
    assert second["meta"]["iter"] == 4

    before = results.read_text()
    results.unlink()
    train(TrainingOptions(**options, eval_only=True))
    assert results.read_text() == before


def test_a_file_that_a_users_dataset_finds_itself_is_not_looked_for():
    @DATASETS.register_module(force=True)
    class Elsewhere(BaseDetDataset):
        pass

    def config(**dataset):
        return Config(dict(train_dataloader=dict(dataset=dict(ann_file="none.json", **dataset))))

    check_annotation_files(config(type="Elsewhere"))
    check_annotation_files(config(type="CocoDataset", backend_args=dict(backend="petrel")))
    check_annotation_files(config(type="CocoDataset", data_root="s3://bucket/"))
    with pytest.raises(InputError, match="train set are missing: void/none.json"):
        check_annotation_files(config(type="CocoDataset", data_root="void"))
