"""The mask measurement: exact numbers for its arithmetic, a real tiny model for the whole way."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from mf_plugin.evaluation.mask_quality import (
    MaskSetting,
    MeasuredMask,
    compare_masks,
    draw_sheet,
    mask_iou,
    summarise,
)
from mf_plugin.generation.config import load_generation_config
from mf_plugin.lvis.sprites import preset_categories
from mf_plugin.vocabulary import Category, Vocabulary

CONFIG = Path(__file__).parents[2] / "configs/generation/minilvis_rare.py"
LEFT = np.array([[1, 1, 0, 0]] * 2, bool)
MIDDLE = np.array([[0, 1, 1, 0]] * 2, bool)


@pytest.mark.parametrize(
    "a, b, expected",
    [
        (LEFT, LEFT, 1.0),
        (LEFT, MIDDLE, 1 / 3),  # 2 pixels of 6
        (LEFT, ~LEFT, 0.0),
        (np.zeros_like(LEFT), np.zeros_like(LEFT), 0.0),
    ],
)
def test_mask_iou(a, b, expected):
    assert mask_iou(a, b) == pytest.approx(expected)


def test_summary_counts_objects_and_categories():
    image = np.zeros((2, 4, 3), np.uint8)
    measured = [
        MeasuredMask(Category(1, "ax"), image, LEFT, LEFT, 1.0),
        MeasuredMask(Category(1, "ax"), image, LEFT, MIDDLE, 1 / 3),
        MeasuredMask(Category(2, "bow"), image, LEFT, LEFT, 0.5),
    ]
    summary = summarise(measured)
    assert summary["objects"] == 3
    assert summary["mean_iou"] == pytest.approx((1 + 1 / 3 + 0.5) / 3)
    assert summary["share_under_0.5"] == pytest.approx(1 / 3)
    assert summary["per_category"] == pytest.approx({"ax": 2 / 3, "bow": 0.5})
    assert draw_sheet(measured, columns=2).shape == (4, 16, 3)


def test_measures_every_object_of_a_real_model_the_same_way_twice(tiny_sd_folder):
    from mf_plugin.mosaic.pipeline import MosaicPipeline

    config = dataclasses.replace(load_generation_config(CONFIG), steps=4)
    categories = list(Vocabulary.from_categories(preset_categories("demo")))[:2]
    pipeline = MosaicPipeline.from_pretrained(tiny_sd_folder)

    def run() -> list[float]:
        measured = compare_masks(
            pipeline,
            config,
            {"own": MaskSetting(config.attention, config.mask)},
            categories,
            per_category=2,
            size=(32, 48),
            read_steps=[1, 2],
            seed=0,
        )["own"]
        assert [m.category.id for m in measured] == [c.id for c in categories for _ in range(2)]
        assert all(m.mask.shape == (32, 48) and m.truth.any() for m in measured)
        return [m.iou for m in measured]

    first = run()
    assert first == run()
    assert all(0 <= iou <= 1 for iou in first)
