"""The shipped configs load, and the paper's hold the paper's numbers (arXiv 2309.13042)."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from functools import reduce
from pathlib import Path

import pytest

from mf_plugin.generation.config import GenerationConfig, differences, load_generation_config
from mf_plugin.generation.plan import load_vocabulary, make_plan

CONFIGS = Path(__file__).parents[2] / "configs" / "generation"

PAPER = {
    "model": "CompVis/stable-diffusion-v1-4",
    "main_categories": ("r",),
    "other_categories": ("r", "c", "f"),  # Table 2e
    "images_per_category": 25,  # Table 2f
    "regions": (4,),  # Table 2a
    "region_size": (384, 512),  # Sec. 4.1.3
    "canvas": None,
    "jitter": 0.375,  # Table 2b
    "overlap": (48, 64),  # Table 2c
    "multiple": 8,
    "scheduler": None,
    "steps": 50,  # Sec. 4.1.3
    "guidance": 7.5,  # Sec. 4.1.3
    "negative_prompt": "",
    "template": "a photo of a single {name}, {definition}",  # Table 2d
    "synonyms": False,
    "until": None,
    "attention.blocks": ("down", "up"),
    "attention.steps": (0, None),  # Table 2h
    "attention.tokens": "last",
    "mask.method": "published",
    "mask.scales": (1, 2, 4),  # Table 2g
    "mask.threshold": "otsu",
    "mask.solver_rounds": 2,
    "mask.bilateral.sigma_spatial": 16,
    "mask.bilateral.sigma_luma": 16,
    "mask.bilateral.sigma_chroma": 8,
    "mask.bilateral.smoothness": 256,
    "mask.bilateral.confidence": 0.999,
    "mask.bilateral.bistochastic_iterations": 10,
    "mask.bilateral.solver_iterations": 25,
    "mask.bilateral.tolerance": 1e-5,
    "filters.min_area": 0.05,
    "filters.max_area": 0.95,
    "filters.components": 1,
    "reject": "image",
    "dtype": "fp32",
}
SDXL = {
    "model": "stabilityai/stable-diffusion-xl-base-1.0",  # Table 5
    "region_size": (768, 1024),  # Table 5
    "overlap": (96, 128),
    "mask.scales": (2, 4),
}


@pytest.mark.parametrize(
    "name, expected",
    [("paper_lvis_rare.py", PAPER), ("paper_lvis_rare_sdxl.py", {**PAPER, **SDXL})],
)
def test_the_papers_numbers(name, expected):
    config = load_generation_config(CONFIGS / name)
    found = {path: reduce(getattr, path.split("."), config) for path in expected}
    assert found == expected


def test_the_defaults_are_the_papers_but_for_what_the_module_says():
    paper = load_generation_config(CONFIGS / "paper_lvis_rare.py")
    ours = GenerationConfig(paper.vocabulary, paper.model, region_size=paper.region_size)
    found = {line.partition(":")[0] for line in differences(ours.to_json(), paper.to_json())}
    assert found == {"attention.tokens", "mask.method", "mask.scales", "reject"}


@pytest.fixture(scope="module")
def lvis_sized(tmp_path_factory) -> Path:
    """1,203 categories in LVIS v1's groups: 337 rare, 461 common, 405 frequent."""
    groups = ["r"] * 337 + ["c"] * 461 + ["f"] * 405
    categories = [
        {"id": i, "name": f"thing_{i}", "frequency": group, "def": "it is one"}
        for i, group in enumerate(groups, start=1)
    ]
    path = tmp_path_factory.mktemp("lvis") / "lvis.json"
    path.write_text(json.dumps({"images": [], "annotations": [], "categories": categories}))
    return path


@pytest.mark.parametrize(
    "name, height, width",
    [("paper_lvis_rare.py", 768, 1024), ("paper_lvis_rare_sdxl.py", 1536, 2048)],
)
def test_the_papers_plan(lvis_sized, name, height, width):
    config = dataclasses.replace(load_generation_config(CONFIGS / name), vocabulary=lvis_sized)
    plan = make_plan(config, load_vocabulary(config.vocabulary))
    assert plan.num_images == 8425 == 337 * 25
    assert len(plan.groups) == -(-8425 // config.group_size)
    per_category = Counter(category.id for category in plan.rounds[0].main)
    assert per_category == dict.fromkeys(range(1, 338), 25)
    assert len(plan.others) == 1203
    last = plan.groups[len(plan.groups) - 1]
    assert (last.layout.height, last.layout.width) == (height, width)
    assert len(last.layout.regions) == 4 and last.canvases[-1].index == 8424
    main = last.canvases[-1].prompts[last.canvases[-1].main_region]
    assert main.text == "a photo of a single thing 337, it is one"


@pytest.mark.parametrize(
    "regions, sizes",
    [
        ((1,), {(384, 512)}),
        ((2,), {(384, 1024), (768, 512)}),
        ((1, 2, 4), {(384, 512), (384, 1024), (768, 512), (768, 1024)}),
    ],
)
def test_the_papers_numbers_of_objects(lvis_sized, regions, sizes):
    """Sec. 4.1.3 and Table 2a."""
    config = load_generation_config(CONFIGS / "paper_lvis_rare.py")
    config = dataclasses.replace(config, vocabulary=lvis_sized, regions=regions)
    plan = make_plan(config, load_vocabulary(config.vocabulary))
    layouts = [plan.groups[index].layout for index in range(30)]
    assert {(layout.height, layout.width) for layout in layouts} == sizes


def test_the_demo_config_plans_ten_rare_categories():
    config = load_generation_config(CONFIGS / "minilvis_rare.py")
    plan = make_plan(config, load_vocabulary(config.vocabulary))
    assert (len(plan.main), plan.num_images, len(plan.groups)) == (10, 120, 15)
    first = plan.groups[0].layout
    assert (first.height, first.width, len(first.regions)) == (128, 128, 4)
