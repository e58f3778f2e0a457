"""What the tests of the mosaic share; the model is built in tests/conftest.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mf_plugin.mosaic.layout import MosaicLayout, Region
from mf_plugin.mosaic.prompts import Prompt

if TYPE_CHECKING:
    from mf_plugin.mosaic.pipeline import MosaicPipeline


@pytest.fixture(scope="session")
def model_folder(tiny_sd_folder) -> str:
    return tiny_sd_folder


@pytest.fixture(scope="session")
def pipeline(model_folder) -> MosaicPipeline:
    from mf_plugin.mosaic.pipeline import MosaicPipeline

    return MosaicPipeline.from_pretrained(model_folder)


@pytest.fixture
def cat() -> Prompt:
    return Prompt("a photo of a cat", (13, 16))


@pytest.fixture
def towel() -> Prompt:
    return Prompt("a photo of a bath towel, a towel for a bath", (13, 23))


@pytest.fixture
def two_regions() -> MosaicLayout:
    """Latents of 16 x 16 and 16 x 20 that share 4 columns, on a canvas of 16 x 32."""
    return MosaicLayout(32, 64, (Region(0, 0, 32, 32), Region(0, 24, 32, 40)))
