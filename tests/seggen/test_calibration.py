from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mf_plugin.errors import InputError
from mf_plugin.seggen.calibration import calibrate_palette, load_autoencoder, reconstruct_with
from mf_plugin.seggen.colormap import decode, encode
from mf_plugin.seggen.palette import Palette, make_palette

TINY = Path(__file__).parents[2] / "mf_plugin/assets/tiny_sd"


def shift(images):
    """An autoencoder that turns every colour, farther than halfway to the next of 60."""
    turned = images.astype(int) @ np.array([[0.75, 0.25, 0], [0, 0.75, 0.25], [0.25, 0, 0.75]])
    return turned.round().astype(np.uint8)


def test_colors_are_measured_as_they_come_out():
    palette = make_palette(range(1, 61))
    seen = calibrate_palette(palette, shift)
    assert (seen.rendered == shift(palette.all_colors)).all()
    assert seen == palette and seen.rendered is not None and palette.rendered is None
    assert "rendered" not in seen.to_json()
    assert Palette.from_json(seen.to_json()).rendered is None


def test_a_calibrated_palette_reads_what_a_plain_one_cannot():
    palette = make_palette(range(1, 61))
    mask = np.zeros((48, 48), dtype=bool)
    mask[12:36, 12:36] = True
    seen, right, plain = calibrate_palette(palette, shift), 0, 0
    for category_id in palette.ids:
        image = shift(encode([(category_id, mask)], (48, 48), palette, "instance"))
        right += [s.category_id for s in decode(image, seen, "instance")] == [category_id]
        plain += [s.category_id for s in decode(image, palette, "instance")] == [category_id]
    assert right == 60
    assert plain < 50


def test_the_autoencoder_of_a_pipeline():
    pytest.importorskip("diffusers")
    reconstruct = reconstruct_with(load_autoencoder(str(TINY)))
    images = np.full((2, 32, 32, 3), 128, np.uint8)
    found = reconstruct(images)
    assert found.dtype == np.uint8 and found.shape == images.shape
    assert np.abs(found.astype(int) - 128).mean() < 20


def test_bad_input(tmp_path):
    with pytest.raises(InputError, match=r"an autoencoder gave uint8\[5, 48, 48, 3\]: expected"):
        calibrate_palette(make_palette([1, 2, 3]), lambda images: images[:, ::2, ::2])
    pytest.importorskip("diffusers")
    with pytest.raises(InputError, match="autoencoder of .* cannot be loaded"):
        load_autoencoder(str(tmp_path))
