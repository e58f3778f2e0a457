"""A checkpoint of a stranger is not run; mmengine's own is read whole."""

from __future__ import annotations

import functools
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.runner import checkpoint
from mmengine.runner.checkpoint import CheckpointLoader, load_checkpoint, load_from_local

from mf_plugin.errors import InputError
from mf_plugin.mmdet.weights import install_weights_only, load_weights


class Attack:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.fixture(autouse=True)
def loaders(monkeypatch):
    monkeypatch.setattr(CheckpointLoader, "_schemes", dict(CheckpointLoader._schemes))
    monkeypatch.setattr(checkpoint, "load_url", checkpoint.load_url)


@pytest.fixture
def served(tmp_path, monkeypatch):
    """The address of a web server over ``tmp_path / "web"``; downloads go to ``tmp_path``."""
    (tmp_path / "web").mkdir()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    handler = functools.partial(SimpleHTTPRequestHandler, directory=tmp_path / "web")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_hostile_checkpoint_is_refused_and_not_run(tmp_path):
    path, trace = tmp_path / "a.pth", tmp_path / "trace"
    torch.save({"state_dict": {"weight": Attack(trace)}}, path)
    install_weights_only()
    with pytest.raises(InputError, match=r"a\.pth is not read: .*expected weights alone"):
        load_checkpoint(torch.nn.Linear(1, 1), str(path))
    assert not trace.exists()


def test_so_is_one_of_the_web(tmp_path, served):
    trace = tmp_path / "trace"
    torch.save({"state_dict": {"weight": Attack(trace)}}, tmp_path / "web/a.pth")
    torch.save({"state_dict": {"weight": torch.ones(2)}}, tmp_path / "web/b.pth")
    install_weights_only()
    with pytest.raises(InputError, match=r"/a\.pth is not read: .*expected weights alone"):
        CheckpointLoader.load_checkpoint(f"{served}/a.pth", logger=None)
    assert not trace.exists()
    found = CheckpointLoader.load_checkpoint(f"{served}/b.pth", logger=None)
    assert found["state_dict"]["weight"].tolist() == [1, 1]


def test_mmengine_alone_would_run_it(tmp_path):
    """What the loader is for; once this fails, mmengine has mended it."""
    path, trace = tmp_path / "a.pth", tmp_path / "trace"
    torch.save({"weight": Attack(trace)}, path)
    CheckpointLoader.register_scheme(prefixes="", loader=load_from_local, force=True)
    CheckpointLoader.load_checkpoint(str(path), logger=None)
    assert trace.exists()


@pytest.mark.parametrize("name", ["__globals__", "mean"])
def test_getattr_reaches_nothing_but_a_history(tmp_path, name):
    class Reach:
        def __reduce__(self):
            return getattr, (np.ndarray, name)

    torch.save({"weight": Reach()}, tmp_path / "a.pth")
    with pytest.raises(InputError, match="is not read"):
        load_weights(str(tmp_path / "a.pth"))


def test_own_checkpoints_are_read_whole(tmp_path):
    hub = MessageHub.get_instance("test_weights")
    hub.update_scalar("train/loss", 0.5)
    saved = {
        "state_dict": {"weight": torch.ones(2)},
        "message_hub": hub.state_dict(),
        "meta": {"epoch": 1, "lr": np.float64(0.1), "flags": np.array([True])},
    }
    torch.save(saved, tmp_path / "a.pth")
    found = load_weights(str(tmp_path / "a.pth"))
    assert found["message_hub"]["log_scalars"]["train/loss"].current() == 0.5
    assert found["meta"]["lr"] == 0.1 and found["state_dict"]["weight"].tolist() == [1, 1]


def test_missing_and_damaged_files(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_weights(str(tmp_path / "none.pth"))
    (tmp_path / "a.pth").write_bytes(b"no checkpoint")
    with pytest.raises(InputError, match="is not read"):
        load_weights(str(tmp_path / "a.pth"))
