from __future__ import annotations

import pytest

from mf_plugin.detectron2.config_keys import add_mosaicfusion_config


class Node(dict):
    """As much of yacs's CfgNode as the function may rely on."""

    __getattr__ = dict.__getitem__


def detectron2_defaults():
    return Node(SOLVER=Node(), MODEL=Node(), DATASETS=Node(TRAIN=()), DATALOADER=Node())


def test_keys_are_added_with_their_defaults():
    cfg = detectron2_defaults()
    add_mosaicfusion_config(cfg)
    ours = cfg.MOSAICFUSION
    assert (ours.DATASETS, ours.POLICY, ours.RATIO) == ((), "joint", None)
    assert cfg.SOLVER.OPTIMIZER == "SGD"
    assert cfg.DATASETS.TRAIN_REPEAT_FACTOR == [] and cfg.DATASETS.TRAIN == ()


def test_keys_that_are_there_stay():
    cfg = detectron2_defaults()
    cfg.SOLVER["OPTIMIZER"] = "ADAMW"  # Detic's add_detic_config has it, too
    add_mosaicfusion_config(cfg)
    cfg.MOSAICFUSION["POLICY"] = "real"
    add_mosaicfusion_config(cfg)
    assert (cfg.SOLVER.OPTIMIZER, cfg.MOSAICFUSION.POLICY) == ("ADAMW", "real")


def test_yaml_with_the_keys_merges(tmp_path):
    pytest.importorskip("detectron2", reason="Detectron2 is not installed")
    from detectron2.config import get_cfg

    cfg = get_cfg()
    add_mosaicfusion_config(cfg)
    path = tmp_path / "a.yaml"
    path.write_text(
        'DATASETS:\n  TRAIN: ("lvis_v1_train", "mosaicfusion_lvis_v1")\n'
        "MOSAICFUSION:\n  DATASETS: [[mosaicfusion_lvis_v1, some/folder]]\n  RATIO: 0.25\n"
    )
    cfg.merge_from_file(str(path))
    cfg.merge_from_list(["MOSAICFUSION.POLICY", "ratio"])
    assert cfg.MOSAICFUSION.DATASETS == (["mosaicfusion_lvis_v1", "some/folder"],)
    assert (cfg.MOSAICFUSION.POLICY, cfg.MOSAICFUSION.RATIO) == ("ratio", 0.25)
