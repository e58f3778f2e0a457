"""A generator of its own through the shared run: nothing there knows MosaicFusion."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")

from mf_plugin.errors import InputError
from mf_plugin.generation.config import UntilConfig
from mf_plugin.generation.run import generate
from mf_plugin.lvis.io import read_lvis, validate_lvis

sys.path.insert(0, str(Path(__file__).parent))
from squares_generator import SquaresConfig, SquaresGroup


def test_a_generator_of_its_own(tmp_path):
    folder = generate(SquaresConfig(num_images=5), tmp_path / "set")
    data = read_lvis(folder / "annotations.json")
    validate_lvis(data, folder)
    assert [image["id"] for image in data["images"]] == [1, 2, 4, 5]
    assert data["images"][0]["source_image_id"] == 9
    assert data["images"][0]["not_exhaustive_category_ids"] == [5]
    provenance = json.loads((folder / "dataset.json").read_text())
    assert provenance["squares"] == "of 8 pixels"
    assert provenance["weights_sha256"] == {"brush": "b"}
    assert provenance["canvas_rejections"] == {"empty": 1}
    labels = np.asarray(Image.open(folder / "labels/000000000001.png"))
    assert labels.sum() == 64
    lines = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    assert lines[0]["label_file"] == "labels/000000000001.png" and "reason" in lines[2]


def test_rounds_of_another_generator(tmp_path):
    config = SquaresConfig(num_images=2, until=UntilConfig(accepted=5, max_images=20))
    folder = generate(config, tmp_path / "set")
    provenance = json.loads((folder / "dataset.json").read_text())
    assert provenance["rounds"][0] == 2 and provenance["counts"]["annotations"] >= 5


def test_a_lost_label_map_is_made_again(tmp_path, monkeypatch):
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("mf_plugin.generation.run.DatasetStore.finalise", die)
        with pytest.raises(KeyboardInterrupt):
            generate(SquaresConfig(num_images=5), tmp_path / "set")
    (tmp_path / "set/labels/000000000001.png").unlink()
    folder = generate(SquaresConfig(num_images=5), tmp_path / "set")
    assert (folder / "labels/000000000001.png").is_file()


def test_another_config_of_another_generator_is_refused(tmp_path):
    generate(SquaresConfig(num_images=5), tmp_path / "set")
    with pytest.raises(InputError, match=r"config.group_size: 2 -> 3"):
        generate(dataclasses.replace(SquaresConfig(num_images=5), group_size=3), tmp_path / "set")


def test_groups_are_a_sequence_that_holds_none():
    groups: Sequence[SquaresGroup] = SquaresConfig(num_images=5).make_plan().groups
    assert [group.numbers for group in groups] == [(0, 1), (2, 3), (4,)]
    with pytest.raises(IndexError, match="group 3 of 3"):
        groups[3]
