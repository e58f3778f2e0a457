"""The bench of loading on a stand-in of 60 images: what is in it and what is counted, no speed."""

from __future__ import annotations

import json
from collections import Counter
from importlib.util import find_spec

import numpy as np
import pytest

from mf_plugin.bench import lvis_standin
from mf_plugin.bench.data import data_table, installed, measure_loading
from mf_plugin.bench.loading import ADAPTERS, CASES, lvis_names
from mf_plugin.bench.lvis_standin import write_standin
from mf_plugin.errors import InputError
from mf_plugin.lvis.io import read_lvis, validate_lvis

FRAMEWORKS = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(find_spec(name) is None, reason=f"{name} is not installed"),
    )
    for name in ADAPTERS
]
KEYS = ("images", "wall", "user", "system", "peak", "factors_wall", "factors_user")
IMAGES, SYNTHETIC = 60, 20  # 33,700 * 60 / 100,170 = 20.2


@pytest.fixture(scope="module")
def standin(tmp_path_factory):
    name = next((name for name in ADAPTERS if find_spec(name) is not None), None)
    if name is None:
        pytest.skip("neither mmdet nor detectron2 is installed")
    return write_standin(tmp_path_factory.mktemp("standin"), lvis_names(name), IMAGES)


def test_the_standin_is_lvis_scaled_down(standin):
    real = read_lvis(standin.json_file)
    validate_lvis(real, standin.image_root)
    groups = Counter(category["frequency"] for category in real["categories"])
    assert groups == {"r": 337, "c": 461, "f": 405}
    assert [category["id"] for category in real["categories"]] == list(range(1, 1204))
    # at this scale each category is in one image at least: 1,203 instances instead of 761
    assert (len(real["images"]), standin.instances) == (60, 761)
    assert Counter(a["category_id"] for a in real["annotations"]).keys() == set(range(1, 1204))
    assert real["images"][6]["coco_url"] == (
        "http://images.cocodataset.org/train2017/000000000007.jpg"
    )
    same = (standin.image_root / "annotations.json").read_bytes()
    assert same == standin.json_file.read_bytes()

    made = read_lvis(standin.synthetic / "annotations.json")
    validate_lvis(made, standin.synthetic)
    assert (len(made["images"]), len(made["annotations"])) == (SYNTHETIC, 4 * SYNTHETIC)
    rare = {c["id"] for c in made["categories"] if c["frequency"] == "r"}
    assert {a["category_id"] for a in made["annotations"]} <= rare


def test_polygons_are_as_long_as_lvis_has_them():
    texts = list(lvis_standin._polygon_texts(np.random.default_rng(0)))
    numbers = [len(json.loads(polygons)[0]) for polygons, _, _ in texts]
    assert min(numbers) >= 6 and all(n % 2 == 0 for n in numbers)
    assert np.mean(numbers) == pytest.approx(90, rel=0.05)


def test_a_standin_that_is_there_is_taken(standin):
    before = standin.json_file.stat().st_mtime_ns
    assert write_standin(standin.root, [""] * 1203, IMAGES) == standin
    assert standin.json_file.stat().st_mtime_ns == before


def test_all_cases_load_the_same_images_in_mmdet(standin):
    pytest.importorskip("mmdet", reason="MMDetection is not installed")
    from mmengine.registry import init_default_scope

    import mf_plugin.mmdet  # noqa: F401

    init_default_scope("mmdet")
    draws = {}
    for case in CASES:
        load, factors = ADAPTERS["mmdet"](case, standin.root)
        loaded = load()
        draws[case] = (len(loaded), len(factors(loaded)))
    assert draws["own"][0] == draws["any"][0] == IMAGES
    assert draws["own+synthetic"] == draws["any+synthetic"] == (IMAGES + SYNTHETIC,) * 2


def test_measurements_and_their_table(standin):
    """In processes of their own, of the framework that is quicker to import."""
    framework = "detectron2" if find_spec("detectron2") is not None else "mmdet"
    measured = measure_loading(standin.root, [framework], 1, ("own", "own+synthetic"))
    (own,) = measured[framework]["own"]["rounds"]
    (union,) = measured[framework]["own+synthetic"]["rounds"]
    assert set(own) == set(union) == set(KEYS)
    assert (own["images"], union["images"]) == (IMAGES, IMAGES + SYNTHETIC)
    assert measured[framework]["own"]["ratio"] == {"wall": 1.0, "user": 1.0, "peak": 1.0}
    assert "(peer)" in data_table(measured)


def test_ratios_are_medians_of_the_rounds(monkeypatch, tmp_path):
    walls = iter([10.0, 11.0, 20.0, 30.0, 10.0, 12.0])

    def run(framework, case, root):
        return json.dumps({key: next(walls) if key == "wall" else 1 for key in KEYS})

    monkeypatch.setattr("mf_plugin.bench.data._run", run)
    measured = measure_loading(tmp_path, ["mmdet"], 3, ("own", "any"))
    assert measured["mmdet"]["any"]["ratio"] == {"wall": 1.2, "user": 1.0, "peak": 1.0}
    row = data_table(measured).splitlines()[-1]
    assert row == (
        "| mmdet | LVISJsonDataset | 1 | 12.0 | 1.0 | 0.00 | 1.20 | 1.00 | 1.00 | 1.00 | 1.00 |"
    )


def test_a_missing_framework_is_named(monkeypatch):
    monkeypatch.setattr("mf_plugin.bench.data.importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="detectron2: not installed"):
        installed(["detectron2"])
    with pytest.raises(InputError, match="mmdet and detectron2: not installed"):
        installed(None)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_an_unknown_case_is_named(framework, tmp_path):
    with pytest.raises(InputError, match="unknown case 'other': expected one of own, own"):
        ADAPTERS[framework]("other", tmp_path)
