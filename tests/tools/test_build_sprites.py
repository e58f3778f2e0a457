"""Packing of the sprites; rendering needs node and the npm packages and is not tested here."""

from __future__ import annotations

import importlib.util
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mf_plugin.errors import InputError
from mf_plugin.lvis.sprites import STYLES

TOOL = Path(__file__).resolve().parents[2] / "tools" / "build_sprites.py"
ICONS = {
    "prefix": "set",
    "width": 32,
    "height": 32,
    "icons": {"pot": {"body": "<path/>"}, "tall": {"body": "<path/>", "height": 40}},
    "aliases": {"kettle": {"parent": "pot"}, "turned": {"parent": "pot", "hFlip": True}},
}


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("build_sprites", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_packages_are_the_styles(tool):
    assert tool.STYLES == STYLES


def test_icon_svg(tool):
    assert 'viewBox="0 0 32 32" width="32" height="32"><path/></svg>' in tool.icon_svg(ICONS, "pot")
    assert 'viewBox="0 0 32 40"' in tool.icon_svg(ICONS, "tall")
    assert 'viewBox="-40 -40 120 120"' in tool.icon_svg(ICONS, "tall", margin=1)
    assert tool.icon_svg(ICONS, "kettle") == tool.icon_svg(ICONS, "pot")


@pytest.mark.parametrize(
    ("name", "message"), [("pan", "set has no icon 'pan'"), ("turned", "is a turned alias")]
)
def test_icon_svg_refuses(tool, name, message):
    with pytest.raises(InputError, match=message):
        tool.icon_svg(ICONS, name)


def test_crop_to_alpha(tool):
    rgba = np.full((5, 6, 4), 7, np.uint8)
    rgba[..., 3] = 0
    rgba[1, 2, 3] = 1
    rgba[3, 3, 3] = 255
    cropped = tool.crop_to_alpha(rgba, "pot")
    assert cropped.shape == (3, 2, 4)
    assert cropped[0, 0].tolist() == [7, 7, 7, 1]
    assert cropped[0, 1].tolist() == [0, 0, 0, 0]
    with pytest.raises(InputError, match="noto: icon 'pot' has no visible pixel: expected one"):
        tool.crop_to_alpha(np.zeros((2, 2, 4), np.uint8), "noto: icon 'pot'")


def test_webp_is_exact(tool):
    rgba = np.random.default_rng(0).integers(0, 256, (9, 7, 4), dtype=np.uint8)
    read = np.asarray(Image.open(io.BytesIO(tool.encode_webp(rgba))).convert("RGBA"))
    assert np.array_equal(read, rgba)


def test_archive_is_the_same_bytes_whatever_the_order(tool, tmp_path):
    tool.write_archive(tmp_path / "a.zip", {"1.webp": b"x", "2.webp": b"y"})
    tool.write_archive(tmp_path / "b.zip", {"2.webp": b"y", "1.webp": b"x"})
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.namelist() == ["1.webp", "2.webp"]


def test_another_version_of_a_package_is_refused(tool, tmp_path):
    for package, version in tool.PACKAGES.items():
        (tmp_path / package).mkdir(parents=True)
        (tmp_path / package / "package.json").write_text(json.dumps({"version": version}))
    tool.check_packages(tmp_path)
    (tmp_path / "@iconify-json" / "noto" / "package.json").write_text('{"version": "9"}')
    with pytest.raises(InputError, match="@iconify-json/noto is version 9, expected 1.2.9"):
        tool.check_packages(tmp_path)


def test_missing_packages_are_one_line_and_no_archive(tmp_path):
    result = subprocess.run(
        [sys.executable, TOOL, "--packages", tmp_path / "none", "--out", tmp_path / "out"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 2
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    assert "npm install @iconify-json/fluent-emoji@1.2.7" in result.stderr
    assert not (tmp_path / "out").exists()
