"""Values of SegGen's configs against the types and ranges of their fields."""

from __future__ import annotations

import dataclasses
import re

import pytest

from mf_plugin.errors import InputError
from mf_plugin.seggen.gates import GateConfig
from mf_plugin.seggen.source import SourceConfig
from mf_plugin.seggen.synthesis import SegGenConfig
from mf_plugin.seggen.training.config import SegGenTrainConfig

SOURCE = SourceConfig("instance", images="images", annotations="a.json")
SEGGEN = SegGenConfig("imgsyn", SOURCE, "m2i", (32, 48))
TRAINING = SegGenTrainConfig("text2mask", SOURCE, "a/b")
GATES = GateConfig()


@pytest.mark.parametrize(
    "config, changes, message",
    [
        (SEGGEN, {"copies": 2.5}, "copies is 2.5; expected a whole number"),
        (SEGGEN, {"copies": "ten"}, "copies is 'ten'; expected a whole number"),
        (SEGGEN, {"copies": 10**8}, "copies is 100000000; expected 10000000 at most"),
        (SEGGEN, {"mirror": "yes"}, "mirror is 'yes'; expected True or False"),
        (SEGGEN, {"num_images": True}, "num_images is True; expected a whole number or None"),
        (SEGGEN, {"mask2img": None}, "mask2img is None; expected text or a path"),
        (SEGGEN, {"source": "lvis"}, "source is 'lvis'; expected SourceConfig(...)"),
        (SEGGEN, {"gates": {"min_pixels": 9}}, "gates is {'min_pixels': 9}; expected GateConfig("),
        (SEGGEN, {"until": 3}, "until is 3; expected UntilConfig(...) or None"),
        (SEGGEN, {"size": 64}, "size is 64; expected (height, width) in whole pixels, 1 to 65535"),
        (SEGGEN, {"size": (32.0, 32)}, "size is (32.0, 32); expected (height, width)"),
        (SEGGEN, {"size": (32, 70_000)}, "size is (32, 70000); expected (height, width)"),
        (SEGGEN, {"main_categories": ()}, "main_categories is (); expected a tuple of names"),
        (SEGGEN, {"main_categories": (3,)}, "main_categories is (3,); expected a tuple of names"),
        (SEGGEN, {"zoom": float("nan")}, "zoom is nan; expected a number"),
        (SEGGEN, {"zoom": 17}, "zoom is 17; expected 1 to 16"),
        (SEGGEN, {"threads": 5000}, "threads is 5000; expected 1024 at most"),
        (SEGGEN, {"scheduler": 3}, "scheduler is 3; expected text or None"),
        (GATES, {"min_pixels": 3.5}, "gates: min_pixels is 3.5; expected a whole number"),
        (GATES, {"max_area": "all"}, "gates: max_area is 'all'; expected a number"),
        (GATES, {"named": 1}, "gates: named is 1; expected True or False"),
        (GATES, {"clean": None}, "gates: clean is None; expected a whole number"),
        (SOURCE, {"format": 3}, "source format is 3; expected text"),
        (SOURCE, {"images": 3}, "source images is 3; expected text or a path or None"),
        (SOURCE, {"classes": ["a"]}, "source classes is ['a']; expected (text, ...) or text or"),
        (TRAINING, {"steps": 2.5}, "steps is 2.5; expected a whole number"),
        (TRAINING, {"size": "x"}, "size is 'x'; expected (height, width) in whole pixels"),
        (TRAINING, {"size": (0, 8)}, "size is (0, 8); expected (height, width) in whole pixels"),
        (TRAINING, {"lr": "1e-5"}, "lr is '1e-5'; expected a number"),
        (TRAINING, {"template": None}, "template is None; expected text"),
        (TRAINING, {"tracker": ["x"]}, "tracker is ['x']; expected text or None"),
        (TRAINING, {"conditioning_channels": (16, 0)}, "conditioning_channels is (16, 0); exp"),
        (TRAINING, {"conditioning_channels": [16]}, "conditioning_channels is [16]; expected a t"),
        (TRAINING, {"validation_guidance": 0.5}, "validation_guidance is 0.5; expected at least 1"),
        (SEGGEN, {"region_prompt": "a thing"}, "region_prompt is 'a thing'; expected a text with"),
        (TRAINING, {"region_prompt": "{name}"}, "region_prompt is '{name}'; expected None: a Text"),
        (TRAINING, {"phrases": 0}, "phrases is 0; expected 1 to 100"),
        (TRAINING, {"what": "mask2img", "phrases": 2}, "phrases is 2; expected 1: a Mask2Img has"),
        (TRAINING, {"zoom": 99.0}, "zoom is 99.0; expected 1 to 16"),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_is_named(config, changes, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        dataclasses.replace(config, **changes)


def test_a_whole_number_is_a_number_and_a_path_may_be_text(tmp_path):
    changed = dataclasses.replace(SEGGEN, zoom=2, mask2img=tmp_path, text2mask="a/b")
    assert changed.zoom == 2 and GateConfig(max_area=1).max_area == 1
    assert dataclasses.replace(SOURCE, images=tmp_path, classes=("a", "b")).images == tmp_path


@pytest.mark.parametrize("kind", [SegGenConfig, GateConfig, SourceConfig, SegGenTrainConfig])
def test_every_field_is_documented(kind):
    said = re.findall(r"^ {8}(\w+(?:, \w+)*):", kind.__doc__, re.MULTILINE)
    names = {name for line in said for name in line.split(", ")}
    missing = {field.name for field in dataclasses.fields(kind)} - names
    assert not missing


def test_a_base_with_a_name_too_long_for_a_folder_is_a_hub_id():
    config = dataclasses.replace(TRAINING, base="x" * 3000)
    assert config.to_json()["base"] == "x" * 3000
    assert config.differences(config.to_json()) == []
