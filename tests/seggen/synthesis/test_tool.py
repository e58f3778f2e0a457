"""tools/generate.py with a SegGen config: one line for what does not fit, nothing written."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
IMGSYN, MOSAIC = (ROOT / f"configs/generation/minilvis_{name}.py" for name in ("imgsyn", "rare"))


@pytest.mark.parametrize(
    "config, option, message",
    [
        (IMGSYN, ("--model", "x"), "--model: a SegGenConfig has none"),
        (MOSAIC, ("--mask2img", "x"), "--mask2img: a GenerationConfig has none"),
        (MOSAIC, ("--images", "x"), "minilvis_rare.py starts from no real images"),
        (IMGSYN, ("--annotations", "no.json", "--images", "x"), "no.json"),
    ],
)
def test_options_that_a_config_does_not_have(tmp_path, monkeypatch, capfd, config, option, message):
    out = tmp_path / "set"
    arguments = ["generate.py", "--config", config, "--out", out, *option]
    monkeypatch.setattr(sys, "argv", list(map(str, arguments)))
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(ROOT / "tools/generate.py"), run_name="__main__")
    assert stop.value.code == 2 and message in capfd.readouterr().err
    assert not out.exists()
