"""What a plan says of its canvases, without any model."""

from __future__ import annotations

import dataclasses
import json
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from mf_plugin.errors import InputError
from mf_plugin.generation.config import UntilConfig, load_generation_config
from mf_plugin.seggen.gates import GateConfig
from mf_plugin.seggen.synthesis import SegGenConfig

CONFIGS = Path(__file__).resolve().parents[3] / "configs" / "generation"


def canvases_of(config: SegGenConfig) -> list:
    plan = config.make_plan()
    return [canvas for group in plan.groups for canvas in group.canvases]


def test_every_source_image_comes_as_often_as_asked(make_config):
    plan = make_config(copies=3).make_plan()
    assert plan.num_images == 9 and len(plan.groups) == 3  # image 7 has no object
    canvases = [canvas for group in plan.groups for canvas in group.canvases]
    assert Counter(c.source_image_id for c in canvases) == {1: 3, 2: 3, 4: 3}
    assert [c.copy for c in canvases] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert len({c.seed for c in canvases}) == 9
    assert all(c.text2mask_seed is None for c in canvases)


def test_variants_share_all_but_the_noise(make_config):
    single = canvases_of(make_config(copies=1, zoom=1.5, mirror=True))
    plan = make_config(copies=1, zoom=1.5, mirror=True, variants=3).make_plan()
    assert plan.num_images == 9
    canvases = [canvas for group in plan.groups for canvas in group.canvases]
    assert [c.variant for c in canvases] == [0, 1, 2] * 3
    assert [c.seed for c in canvases[::3]] == [c.seed for c in single]
    assert len({c.seed for c in canvases}) == 9
    for place, canvas in enumerate(canvases):
        first = single[place // 3]
        assert (canvas.source_image_id, canvas.copy) == (first.source_image_id, first.copy)
        assert (canvas.view, canvas.caption) == (first.view, first.caption)
        for (id_, mask), (asked, wanted) in zip(canvas.segments, first.segments, strict=True):
            assert id_ == asked and (mask == wanted).all()
    facts = [group.describe(c) for group in plan.groups for c in group.canvases]
    assert [f.get("variant") for f in facts[:3]] == [None, 1, 2]


def test_variants_of_main_categories(make_config):
    config = make_config(main_categories=("cat", "tub"), images_per_category=2, variants=2)
    single = canvases_of(dataclasses.replace(config, variants=1))
    canvases = canvases_of(config)
    sources = [c.source_image_id for c in canvases]
    assert sources[::2] == sources[1::2] == [c.source_image_id for c in single]


def test_a_group_is_a_pure_function_of_config_and_index(make_config):
    plan = make_config(zoom=1.5, mirror=True).make_plan()
    again = pickle.loads(pickle.dumps(plan)).groups[1]
    group = plan.groups[1]
    facts = [group.describe(canvas) for canvas in group.canvases]
    assert facts == [again.describe(canvas) for canvas in again.canvases]
    for one, two in zip(group.canvases, again.canvases, strict=True):
        assert [id_ for id_, _ in one.segments] == [id_ for id_, _ in two.segments]
        assert all((a == b).all() for (_, a), (_, b) in zip(one.segments, two.segments))
    other = dataclasses.replace(plan.config, seed=8).make_plan().groups[1]
    assert [c.seed for c in other.canvases] != [c.seed for c in group.canvases]


def test_main_categories_choose_the_source_images(make_config):
    config = make_config(main_categories=("cat", "tub"), images_per_category=3)
    canvases = canvases_of(config)
    assert len(canvases) == 6
    assert {c.source_image_id for c in canvases[::2]} == {1, 2}  # cats
    assert {c.source_image_id for c in canvases[1::2]} == {1, 4}  # tubs
    for place, canvas in enumerate(canvases):
        assert (5 if place % 2 == 0 else 11) in {id_ for id_, _ in canvas.segments}


def test_rounds_go_on_with_the_next_source_images(make_config):
    config = make_config(
        main_categories=("cat",), images_per_category=1, until=UntilConfig(5, max_images=9)
    )
    plan = config.make_plan()
    longer = plan.with_round([plan.main[0]] * 2)
    sources = [c.source_image_id for group in longer.groups for c in group.canvases]
    assert len(sources) == 3 and set(sources[:2]) == {1, 2} and sources[2] == sources[0]
    assert [c.index for group in longer.groups for c in group.canvases] == [0, 1, 2]


def test_masksyn_composes_captions_of_what_a_view_shows(make_config):
    canvases = canvases_of(make_config("masksyn", fit="stretch"))
    said = {c.source_image_id: c.caption.removeprefix("a photo of ") for c in canvases}
    # Larger categories come first: the cats have 176 + 352 pixels, the tub 320.
    assert said == {1: "two cats and a tub", 2: "a bow and a cat", 4: "a tub"}
    assert all(c.segments == () and c.not_exhaustive == () for c in canvases)
    large = make_config("masksyn", fit="stretch", gates=GateConfig(min_pixels=170))
    assert {c.caption for c in canvases_of(large) if c.source_image_id == 2} <= {
        "a bow",
        "a photo of a bow",
    }


def test_coco_captions_choose_the_images_that_have_some(make_config, real_images, caplog):
    captions = dict(captions="coco", captions_file=real_images / "captions.json")
    said = {c.source_image_id: c.caption for c in canvases_of(make_config("imgsyn", **captions))}
    assert set(said) == {1, 2, 4} and said[4] == "a view of the mountains"
    masksyn = make_config("masksyn", **captions)
    said = {c.source_image_id: c.caption for c in canvases_of(masksyn)}
    assert said == {1: "two cats beside a tub", 2: "a cat on a bow"}
    assert "2 captions of" in caplog.text and "name no known category" in caplog.text
    main = dataclasses.replace(masksyn, main_categories=("bow_(weapon)",), images_per_category=2)
    assert {c.caption for c in canvases_of(main)} == {"a cat on a bow"}


def test_an_image_without_labels_in_sight_is_not_painted(make_config, tmp_path, real_images):
    from PIL import Image

    from mf_plugin.seggen.source import SourceConfig

    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for stem, value in (("a", 0), ("b", 2)):
        Image.new("RGB", (40, 32)).save(tmp_path / f"images/{stem}.jpg")
        Image.new("L", (40, 32), value).save(tmp_path / f"labels/{stem}.png")
    source = SourceConfig(
        "semantic",
        images=tmp_path / "images",
        labels=tmp_path / "labels",
        classes=("wall", "sky"),
    )
    canvases = canvases_of(make_config(source=source, kind="semantic", copies=1))
    by_source = {c.source_file_name: c for c in canvases}
    assert by_source["a.jpg"].reason == "empty" and by_source["a.jpg"].caption == ""
    assert [id_ for id_, _ in by_source["b.jpg"].segments] == [2]
    assert by_source["b.jpg"].segments[0][1].all()


@pytest.mark.parametrize(
    "system, changes, message",
    [
        ("imgsyn", dict(main_categories=("bath_towel",)), "no source image holds 'bath_towel'"),
        ("imgsyn", dict(main_categories=("dog",)), "unknown category 'dog'"),
        ("imgsyn", dict(main_categories=("r",), until=UntilConfig(1, 3)), "expected at least 50"),
    ],
)
def test_main_categories_that_cannot_be(make_config, system, changes, message):
    with pytest.raises(InputError, match=message):
        make_config(system, **changes).make_plan()


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(system="maskfusion"), "system is 'maskfusion'; expected one of"),
        (dict(system="masksyn", text2mask=None), "text2mask is None; expected the folder"),
        (dict(size=(32, 0)), r"size is \(32, 0\); expected \(height, width\)"),
        (dict(captions="coco"), "captions_file is None; expected one where captions is 'coco'"),
        (dict(captions="blip2"), "captions_model is None"),
        (dict(until=UntilConfig(1, 9)), "main_categories is None; expected some, which `until`"),
        (
            dict(until=UntilConfig(1, 99), main_categories=("cat",), variants=2),
            "variants is 2; expected 1 where there is `until`",
        ),
        (dict(variants=0), "variants is 0; expected at least 1"),
        (dict(reject="blank"), "reject is 'blank'"),
        (dict(zoom=0.5), "zoom is 0.5; expected 1 to 16"),
        (dict(main_categories="r"), "main_categories is 'r'; expected a tuple of names, or None"),
    ],
)
def test_a_config_that_cannot_be(make_config, changes, message):
    with pytest.raises(InputError, match=message):
        make_config(**changes)


def test_a_missing_image_is_named(make_config, real_images, tmp_path):
    data = json.loads((real_images / "annotations.json").read_text())
    data["images"][1]["coco_url"] = "images/99.png"
    (tmp_path / "annotations.json").write_text(json.dumps(data))
    config = make_config()
    source = dataclasses.replace(config.source, annotations=tmp_path / "annotations.json")
    with pytest.raises(InputError, match=r"images/99.png \(id 2\) is missing on disk"):
        dataclasses.replace(config, source=source).make_plan()


def test_captions_that_name_nothing_known(make_config, tmp_path):
    path = tmp_path / "captions.json"
    path.write_text(json.dumps({"annotations": [{"image_id": 1, "caption": "a room"}]}))
    config = make_config("masksyn", captions="coco", captions_file=path)
    with pytest.raises(InputError, match="caption 'a room' names no known category"):
        config.make_plan()


def test_captions_that_a_training_left(make_config, tmp_path):
    path = tmp_path / "captions.json"
    path.write_text(json.dumps({"model": "m", "captions": {"1": "a tub in a room", "9": "a cat"}}))
    config = make_config(captions="blip2", captions_file=path)
    assert {c.caption for c in canvases_of(config)} == {"a tub in a room"}
    before = config.make_plan().identity()
    path.write_text(json.dumps({"captions": {"1": "a tub"}}))
    after = config.make_plan().identity()
    assert before.keys() == after.keys() and before != after
    path.write_text("[]")
    with pytest.raises(InputError, match="expected the captions.json of a training"):
        config.make_plan()


@pytest.mark.parametrize(
    "name",
    [
        "minilvis_masksyn.py",
        "minilvis_imgsyn.py",
        "coco_masksyn.py",
        "coco_imgsyn.py",
        "ade20k_masksyn.py",
        "ade20k_imgsyn.py",
    ],
)
def test_shipped_configs_load(name):
    config = load_generation_config(CONFIGS / name)
    assert isinstance(config, SegGenConfig)
    assert config.system == name.removesuffix(".py").split("_")[1]
    assert config.to_json()["source"]["format"] == config.source.format
    assert all(isinstance(text, str) for text in config.inputs)
    assert np.all(np.array(config.size) % 8 == 0)
