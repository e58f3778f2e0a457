from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mf_plugin.errors import InputError
from mf_plugin.evaluation import judge as judging
from mf_plugin.lvis.sprites import load_sprites, preset_categories

torch = pytest.importorskip("torch")


class FixedNetwork:
    """Stands for a trained network: the mean red of an image decides between two classes."""

    def eval(self):
        return self

    def __call__(self, batch):
        red = batch[:, 0].mean((1, 2))
        return torch.stack([red, -red], 1)


@pytest.fixture(scope="module")
def categories():
    by_group = {g: [c for c in preset_categories("demo") if c["frequency"] == g] for g in "rf"}
    return [by_group["r"][0], by_group["f"][0]]


def flat_images(*levels, side=96):
    return np.stack([np.full((side, side, 3), level, np.uint8) for level in levels])


def test_scores_and_sheet(categories):
    judge = judging.Judge(categories, FixedNetwork())
    images, labels = flat_images(200, 10, 200, 10), np.array([0, 0, 1, 1])
    scores = judging.score_names(judge, images, labels)
    assert scores["predicted"] == [0, 1, 0, 1]
    assert scores["top1"] == 0.5 and scores["groups"] == {"r": 0.5, "c": None, "f": 0.5}
    assert scores["categories"][0]["mistaken_for"] == categories[1]["name"]
    sheet = judging.draw_contact_sheet(judge, images, labels, scores["predicted"], tile=48)
    pixels = np.asarray(sheet)
    assert pixels.shape == (2 * (48 + 18 + 6) + 6, 190 + 2 * (48 + 6) + 6, 3)
    assert (pixels[4 + 1, 190 + 20] == (0x2A, 0x9D, 0x5C)).all()  # right: green frame
    assert (pixels[4 + 1, 190 + 54 + 20] == (0xD1, 0x49, 0x5B)).all()  # wrong: red


def test_images_of_any_size_and_none(categories):
    judge = judging.Judge(categories, FixedNetwork())
    assert judge.classify(flat_images(200, side=160)).argmax(1).tolist() == [0]
    assert judge.classify(np.zeros((0, 64, 64, 3), np.uint8)).shape == (0, 2)
    with pytest.raises(InputError, match=r"float32\[1, 8, 8, 3\], expected uint8"):
        judge.classify(np.zeros((1, 8, 8, 3), np.float32))


def test_compositions_cover_all_seven_styles(categories):
    sprites = load_sprites(judging.STYLES, [c["id"] for c in categories])
    assert {style for _, style in sprites} == set(judging.STYLES) and len(judging.STYLES) == 7
    draws = [
        judging.draw_compositions(np.random.default_rng(7), sprites, categories, 6) for _ in "ab"
    ]
    assert draws[0][0].shape == (6, 64, 64, 3) and draws[0][0].dtype == np.uint8
    np.testing.assert_array_equal(draws[0][0], draws[1][0])
    np.testing.assert_array_equal(draws[0][1], draws[1][1])


def test_trains_and_is_cached(categories, tmp_path, monkeypatch):
    config = judging.JudgeConfig(steps=50, batch_size=16, width=8, learning_rate=1e-2)
    judge = judging.load_or_train_judge(tmp_path, categories, config)
    assert judging.held_out_accuracy(judge, 60) > 0.7
    images = flat_images(200, 10)
    before = judge.classify(images)
    np.testing.assert_allclose(before.sum(1), 1, rtol=1e-5)

    monkeypatch.setattr(judging, "train_judge", lambda *_: pytest.fail("trained again"))
    again = judging.load_or_train_judge(tmp_path, categories, config)
    np.testing.assert_array_equal(again.classify(images), before)
    with pytest.raises(pytest.fail.Exception):
        judging.load_or_train_judge(tmp_path, categories[::-1], config)


def test_one_category_cannot_be_judged(categories):
    with pytest.raises(InputError, match="1 categories, expected two"):
        judging.train_judge(categories[:1])


@pytest.mark.heavy
def test_tool(tiny_sd_folder, tmp_path):
    tool = Path(__file__).parents[2] / "tools" / "judge_tiny_sd.py"
    arguments = ["--images-per-category", "1", "--steps", "2", "--judge-steps", "4"]
    command = [sys.executable, str(tool), "--out", str(tmp_path), *arguments]
    done = subprocess.run([*command, "--model", tiny_sd_folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "judge.json").read_text())
    assert 0 <= summary["top1"] <= 1 and len(summary["categories"]) == 30
    assert 0 <= summary["judge_held_out_top1"] <= 1 and set(summary["groups"]) == set("rcf")
    assert (tmp_path / "judge.png").is_file()

    done = subprocess.run([*command, "--model", "nowhere"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.strip() == (
        "error: nowhere: no model_index.json, expected a diffusers pipeline folder"
    )
