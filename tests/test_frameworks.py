from __future__ import annotations

from pathlib import Path

import pytest

from mf_plugin.errors import InputError
from mf_plugin.frameworks import detect_framework, is_lazy_config

CONFIGS = Path(__file__).parents[1] / "configs"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("mmdet/*.py")), ids=lambda p: p.stem)
def test_mmdet_configs_are_told(path):
    assert detect_framework(path) == "mmdet"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("detectron2/*.yaml")), ids=lambda p: p.stem)
def test_detectron2_configs_are_told(path):
    assert detect_framework(path) == "detectron2"
    assert not is_lazy_config(path)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("_base_ = 'other.py'", "mmdet"),
        ("from mmengine.config import read_base\nwith read_base():\n    from .a import *", "mmdet"),
        ("train_dataloader = dict(batch_size=2)", "mmdet"),
        ("from detectron2.config import LazyCall as L\nmodel = L(dict)()", "detectron2"),
        ("from detectron2 import model_zoo\nmodel = 1", "detectron2"),
        ("from .lazy_parent import model, train\ntrain.max_iter = 3", "detectron2"),
        ("from .lazy_parent import model", "detectron2"),
        ("from .mmdet_parent import model", "mmdet"),
        ("from .nowhere import model", None),
        ("model = dict(type='MaskRCNN')", None),
        ("import detectron2, mmengine", None),
    ],
)
def test_python_files_are_told_by_their_content(tmp_path, text, expected):
    (tmp_path / "lazy_parent.py").write_text("import detectron2.config\nmodel = train = {}")
    (tmp_path / "mmdet_parent.py").write_text("default_scope = 'mmdet'")
    path = tmp_path / "config.py"
    path.write_text(text)
    assert detect_framework(path) == expected


def test_a_saved_lazy_config_is_told_from_a_yacs_one(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("model:\n  _target_: detectron2.modeling.GeneralizedRCNN\n")
    assert is_lazy_config(path)
    path.write_text("MODEL: {DEVICE: cpu}  # no _target_: here\n")
    assert not is_lazy_config(path)


def test_bad_files_are_named(tmp_path):
    with pytest.raises(InputError, match="none.py does not exist"):
        detect_framework(tmp_path / "none.py")
    path = tmp_path / "broken.py"
    path.write_text("model = dict(")
    with pytest.raises(InputError, match="broken.py cannot be read"):
        detect_framework(path)
