"""What a user sees who has no Detectron2; it is hidden from the import system where it is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
HIDE = """
import importlib.abc, runpy, sys
class Hidden(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] == "detectron2":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hidden())
"""
LINE = (
    "detectron2 is missing, and on no package index: pip install --no-build-isolation "
    "'git+https://github.com/facebookresearch/detectron2.git'"
)


def python(code):
    return subprocess.run(
        [sys.executable, "-c", HIDE + code], capture_output=True, text=True, cwd=ROOT
    )


def test_every_name_says_how_to_install_it():
    done = python("import mf_plugin.detectron2\nfrom mf_plugin.detectron2 import register")
    assert done.stderr.splitlines()[-1] == f"mf_plugin.extras.MissingExtra: {LINE}"


def test_what_needs_no_detectron2_can_be_imported():
    done = python("from mf_plugin.detectron2 import config_keys, records, samplers")
    assert done.returncode == 0, done.stderr


def test_train_net_says_it_in_one_line():
    config = "configs/detectron2/mask-rcnn_r18_fpn_minilvis-demo.yaml"
    done = python(
        f"sys.argv = ['train_net.py', '--config', {config!r}]\n"
        "runpy.run_path('tools/train_net.py', run_name='__main__')"
    )
    assert (done.returncode, done.stderr) == (2, f"error: {LINE}\n")
