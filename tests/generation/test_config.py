"""A config is checked as it is made, hashes the same everywhere, and imports its parent."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

import mf_plugin
from mf_plugin.errors import InputError
from mf_plugin.generation.config import UntilConfig, differences, load_generation_config
from mf_plugin.generation.filters import FilterConfig


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"images_per_category": 0}, "images_per_category is 0; expected at least 1"),
        ({"num_images": -2}, "num_images is -2; expected at least 1"),
        ({"regions": (4, 3)}, "regions has 3; expected 1, 2, 4 or rows x columns"),
        ({"regions": 4}, "regions is 4; expected a tuple such as (4,)"),
        ({"regions": "2x2"}, "regions is '2x2'; expected a tuple such as (4,)"),
        ({"regions": ()}, "regions is (); expected a tuple"),
        ({"regions": ("2x",)}, "regions has '2x'; expected"),
        ({"regions": (4, "16x1")}, "canvas height is 64: with jitter 0.375"),
        ({"dtype": "float16"}, "dtype is 'float16'; expected one of ('fp32', 'bf16', 'fp16')"),
        ({"steps": 0}, "steps is 0; expected at least 1"),
        ({"group_size": 0}, "group_size is 0"),
        ({"jpeg_quality": 101}, "jpeg_quality is 101; expected 1 to 100"),
        ({"seed": -1}, "seed is -1"),
        ({"reject": "none"}, "reject is 'none'; expected one of ('region', 'image')"),
        ({"canvas": (64, 66)}, "canvas width is 66; expected a multiple of 4"),
        ({"canvas": (0, 64)}, "canvas height is 0; expected a positive multiple of 4"),
        ({"canvas": 64}, "canvas is 64; expected (height, width) in whole pixels"),
        ({"canvas": None}, "canvas is None and region_size is None; expected one of them"),
        ({"region_size": (32, 32)}, "canvas is (64, 64) and region_size is (32, 32); expected one"),
        ({"canvas": None, "region_size": (32, 30)}, "region_size width is 30; expected a multiple"),
        ({"canvas": None, "region_size": (32, 32.0)}, "region_size is (32, 32.0); expected"),
        ({"overlap": None}, "overlap is None; expected (dy, dx) in whole pixels"),
        ({"overlap": (8, 12)}, "overlap in width is 12; expected a multiple of 8"),
        ({"jitter": 0.0}, "jitter is 0.0; expected more than 0 and at most 0.5"),
        ({"main_categories": "r"}, "main_categories is 'r'; expected a tuple of names"),
        ({"other_categories": ()}, "other_categories is ()"),
        ({"backgrounds": ()}, "backgrounds is (); expected words for the template's {background}"),
        (
            {"template": "a {name}, {style}"},
            "styles is (); expected words for the template's {style}",
        ),
    ],
)
def test_a_number_out_of_range_is_named(make_config, changes, message):
    with pytest.raises(InputError) as error:
        make_config(**changes)
    assert message in str(error.value)


@pytest.mark.parametrize(
    "values, message", [((0, 9), "accepted is 0"), ((9, -1), "max_images is -1")]
)
def test_until_is_checked(values, message):
    with pytest.raises(InputError, match=f"until {message}; expected at least 1"):
        UntilConfig(*values)


def test_the_hash_covers_every_field(make_config):
    config = make_config()
    assert config.config_hash == make_config().config_hash
    assert set(config.to_json()) == {field.name for field in dataclasses.fields(config)}
    changed = make_config(filters=FilterConfig(min_area=0.1))
    assert changed.config_hash != config.config_hash
    until = make_config(until=UntilConfig(20, 500))
    assert until.to_json()["until"] == {"accepted": 20, "max_images": 500}


def test_a_model_inside_the_package_hashes_the_same_in_every_checkout(make_config):
    model = Path(mf_plugin.__file__).parent / "assets" / "tiny_sd"
    assert make_config(model=model).to_json()["model"] == "mf_plugin/assets/tiny_sd"
    assert make_config(model=Path("models/sd")).to_json()["model"] == "models/sd"


def test_differences_name_nested_fields(make_config):
    old = make_config().to_json()
    new = make_config(seed=8, filters=FilterConfig(0.1, 0.9, 9)).to_json()
    assert differences(old, new) == ["filters.min_area: 0.02 -> 0.1", "seed: 7 -> 8"]
    assert differences({"a": None}, {}) == []


def test_a_child_imports_its_parent_and_leaves_no_trace(tmp_path):
    parent = "from mf_plugin.generation.config import GenerationConfig\n"
    parent += "config = GenerationConfig('minilvis:demo', 'a/b', canvas=(768, 1024), seed={})\n"
    child = "import dataclasses\nfrom parent import config as parent\n"
    child += "config = dataclasses.replace(parent, steps=9)\n"
    for folder, seed in (("one", 1), ("two", 2)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "parent.py").write_text(parent.format(seed))
        (tmp_path / folder / "child.py").write_text(child)
        config = load_generation_config(tmp_path / folder / "child.py")
        assert (config.seed, config.steps) == (seed, 9)


@pytest.mark.parametrize(
    "text, message",
    [
        (None, "no such file"),
        (
            "config = 3",
            "`config = GenerationConfig(...)` or `config = SegGenConfig(...)`, found int",
        ),
        ("x = 3", "found NoneType"),
        ("config = (", "does not run: SyntaxError"),
        ("import nothing_of_that_name", "does not run: ModuleNotFoundError"),
        (
            "from mf_plugin.generation.config import GenerationConfig\n"
            "config = GenerationConfig(vocabulary='v', model='a/b', steps=0)",
            "steps is 0; expected at least 1",
        ),
    ],
)
def test_a_file_that_is_no_config_is_named(tmp_path, text, message):
    path = tmp_path / "c.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError) as error:
        load_generation_config(path)
    assert message in str(error.value)
