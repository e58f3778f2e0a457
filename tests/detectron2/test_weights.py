"""Weights of a stranger are not run; the model zoo's are read."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pytest
import torch

pytest.importorskip("detectron2")

from mf_plugin.detectron2.weights import Checkpointer, read_arrays
from mf_plugin.errors import InputError


class Attack:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("suffix", ["pkl", "pth"])
def test_hostile_weights_are_refused_and_not_run(tmp_path, suffix):
    path, trace = tmp_path / f"a.{suffix}", tmp_path / "trace"
    content = {"model": {"weight": Attack(trace)}, "__author__": "x"}
    if suffix == "pkl":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path)
    with pytest.raises(InputError, match=rf"a\.{suffix} is not read"):
        Checkpointer(torch.nn.Linear(1, 1), str(tmp_path)).load(str(path))
    assert not trace.exists()


@pytest.mark.parametrize("protocol", [2, 4])
def test_the_model_zoo_s_files_are_read(tmp_path, protocol):
    content = {"model": {"weight": np.full((1, 1), 3, np.float32)}, "__author__": "zoo"}
    content["model"]["bias"] = np.zeros(1, np.float32)
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    layer = torch.nn.Linear(1, 1)
    Checkpointer(layer, str(tmp_path)).load(str(path))
    assert layer.weight.item() == 3


def test_caffe2_s_blobs_are_unpacked(tmp_path):
    blobs = {"conv1_w": np.zeros(3, np.float32), "conv1_w_momentum": np.ones(3, np.float32)}
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"blobs": blobs}, protocol=2))
    found = Checkpointer(torch.nn.Linear(1, 1))._load_file(str(path))
    assert list(found["model"]) == ["conv1_w"] and found["matching_heuristics"]


@pytest.mark.parametrize("data", [b"", b"\x80\x04", b"cos\nsystem\n.", pickle.dumps([1])])
def test_what_is_no_dict_of_arrays(data):
    with pytest.raises(InputError, match=r"checkpoint a\.pkl"):
        read_arrays(io.BytesIO(data), "a.pkl")
