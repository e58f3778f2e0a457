"""Arguments of tools/build_minilvis.py: which folders they give."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from mf_plugin.errors import InputError

ROOT = Path(__file__).parents[2]
spec = importlib.util.spec_from_file_location("build_tool", ROOT / "tools/build_minilvis.py")
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["build_minilvis.py", *map(str, arguments)])
    tool.main()


def test_the_novel_split_brings_the_training_split(monkeypatch, tmp_path):
    size = ("--num-images", 8, "--size", 48, 48)
    run(monkeypatch, "--out", tmp_path, "--split", "train-novel", *size)
    folders = sorted(p.name for p in tmp_path.iterdir() if p.is_dir())
    assert folders == ["train", "train-novel"]

    # The training split serves as a synthetic dataset: what the oracle reads is the same.
    run(monkeypatch, "--out", tmp_path / "oracle", "--oracle", tmp_path / "train-novel")
    counts = [
        json.loads((tmp_path / name / "dataset.json").read_text())["counts"]["annotations"]
        for name in ("train-novel", "oracle")
    ]
    assert counts[0] == counts[1] > 0


@pytest.mark.parametrize("more", [("--split", "val"), ("--num-images", 8), ("--size", 48, 48)])
def test_an_oracle_follows_from_its_synthetic_dataset(more, monkeypatch, tmp_path):
    with pytest.raises(InputError, match="--oracle excludes --split, --num-images and --size"):
        run(monkeypatch, "--out", tmp_path / "out", "--oracle", tmp_path / "synthetic", *more)
