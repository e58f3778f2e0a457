"""From a config to a dataset folder with a real, tiny model; killed and resumed; bad input."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import runpy
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from mf_plugin.errors import InputError
from mf_plugin.generation.config import (
    GenerationConfig,
    UntilConfig,
    load_generation_config,
)
from mf_plugin.generation.progress import describe_outcomes
from mf_plugin.generation.run import generate, preview
from mf_plugin.generation.store import remove_dataset
from mf_plugin.lvis.io import read_lvis, validate_lvis

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools" / "generate.py"

CONFIG_FILE = """
from mf_plugin.generation.config import GenerationConfig
from mf_plugin.generation.filters import FilterConfig
config = GenerationConfig(
    vocabulary={vocabulary!r}, model={model!r}, images_per_category=8, canvas=(64, 64),
    overlap=(8, 8), multiple=4, steps=2, guidance=3.0, template="a {{name}} on {{background}}",
    backgrounds=("red", "sand"), group_size=2, seed=7, threads=1,
    filters=FilterConfig(min_area=0.02, max_area=0.9, components=9),
)
"""


def hash_files(folder: Path) -> dict[str, str]:
    """Relative path -> SHA-256 of every file but run.json."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "run.json"
    }


def tool(*arguments: object) -> list[str]:
    return [sys.executable, str(TOOL), *map(str, arguments)]


def environment() -> dict[str, str]:
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


@pytest.fixture
def config(make_config, tiny_sd_folder) -> GenerationConfig:
    return make_config(model=tiny_sd_folder)


@pytest.fixture
def config_file(tmp_path, vocabulary_json, tiny_sd_folder) -> Callable[..., Path]:
    def write(**changes) -> Path:
        values = dict(vocabulary=str(vocabulary_json), model=tiny_sd_folder)
        path = tmp_path / "config.py"
        path.write_text(CONFIG_FILE.format(**{**values, **changes}))
        return path

    return write


def test_a_dataset_from_a_config(config, tmp_path):
    folder = generate(config, tmp_path / "set")
    data = read_lvis(folder / "annotations.json")
    validate_lvis(data, folder)
    assert [category["name"] for category in data["categories"]] == [
        "bath_towel",
        "cat",
        "bow_(weapon)",
        "tub",
    ]
    assert 0 < len(data["annotations"]) <= 24
    provenance = json.loads((folder / "dataset.json").read_text())
    assert provenance["config_hash"] == config.config_hash
    assert provenance["counts"]["canvases"] == 6
    assert len(provenance["weights_sha256"]) == 64 and "torch" in provenance["versions"]
    lines = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    assert [line["index"] for line in lines] == list(range(6))
    assert all(len(line["prompts"]) == len(line["reasons"]) == 4 for line in lines)


def test_a_dataset_in_another_dtype_of_several_layouts_and_synonyms(config, tmp_path):
    changes = dict(canvas=None, region_size=(32, 32), regions=(1, 2, "1x3"), num_images=12)
    config = dataclasses.replace(config, dtype="bf16", synonyms=True, **changes)
    folder = generate(config, tmp_path / "set")
    validate_lvis(read_lvis(folder / "annotations.json"), folder)
    lines = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    sizes = {(line["layout"]["height"], line["layout"]["width"]) for line in lines}
    assert len(sizes) > 1 and sizes <= {(32, 32), (32, 64), (64, 32), (32, 96)}
    for line in lines:
        assert len(line["prompts"]) == len(line["layout"]["regions"])
    assert json.loads((folder / "dataset.json").read_text())["config"]["dtype"] == "bf16"


def test_a_complete_dataset_is_left_as_it_is(config, tmp_path):
    folder = generate(config, tmp_path / "set")
    (folder / "groups").mkdir()  # a process that died between its last two steps
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    assert generate(config, folder) == folder
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    assert after == before and not (folder / "groups").exists()


def test_a_changed_config_or_vocabulary_is_refused(config, tmp_path):
    folder = generate(dataclasses.replace(config, num_images=1), tmp_path / "set")
    with pytest.raises(InputError, match=re.escape("(config.num_images: 1 -> None)")):
        generate(config, folder)


def test_changed_weights_are_refused(config, tmp_path, monkeypatch):
    monkeypatch.setattr("mf_plugin.generation.run.DatasetStore.finalise", _stop)
    with pytest.raises(KeyboardInterrupt):
        generate(config, tmp_path / "set")
    monkeypatch.setattr(
        "mf_plugin.mosaic.pipeline.MosaicPipeline.model_hash", lambda self: "of others"
    )
    with pytest.raises(InputError, match="weights_sha256: '[0-9a-f]+' -> 'of others'"):
        generate(config, tmp_path / "set")


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_preview_stands_beside_and_is_replaced(config, tmp_path):
    one = preview(config, tmp_path / "set", 1)
    assert one == tmp_path / "set-preview" and not (tmp_path / "set").exists()
    preview(dataclasses.replace(config, seed=8), tmp_path / "set", 2)
    provenance = json.loads((one / "dataset.json").read_text())
    assert (provenance["counts"]["canvases"], provenance["config"]["seed"]) == (2, 8)


def test_a_killed_run_goes_on_to_the_same_bytes(config_file, tmp_path):
    path = config_file()
    calm = generate(load_generation_config(path), tmp_path / "calm")
    folder = tmp_path / "killed"
    for _ in range(3):
        if kill_after_groups(2, folder, tool("--config", path, "--out", folder)):
            break
        remove_dataset(folder)  # it was done before the signal came
    assert not (folder / "dataset.json").exists()
    generate(load_generation_config(path), folder)
    assert hash_files(folder) == hash_files(calm)
    assert any(name.startswith("images/") for name in hash_files(folder))


UNTIL = "until=UntilConfig(accepted=12, max_images=20), images_per_category=3"


@pytest.fixture
def until_file(config_file) -> Path:
    """Twelve accepted objects of each main category; six canvases, 24 objects, come first."""
    path = config_file()
    text = path.read_text().replace("images_per_category=8", UNTIL)
    path.write_text("from mf_plugin.generation.config import UntilConfig\n" + text)
    return path


def count_accepted(folder: Path, name: str) -> int:
    """Instances of a category, counted in annotations.json."""
    data = read_lvis(folder / "annotations.json")
    (id_,) = (category["id"] for category in data["categories"] if category["name"] == name)
    return sum(annotation["category_id"] == id_ for annotation in data["annotations"])


def test_rounds_go_on_until_enough_and_a_kill_in_the_second_changes_no_byte(until_file, tmp_path):
    config = load_generation_config(until_file)
    calm = generate(config, tmp_path / "calm")
    provenance = json.loads((calm / "dataset.json").read_text())
    rounds, lacking = provenance["rounds"], provenance["lacking"]
    assert rounds[0] == 6 and len(rounds) >= 2
    assert sum(rounds) == provenance["counts"]["canvases"] <= 20
    for name in ("bath_towel", "cat"):
        assert lacking.get(name, 0) == max(0, 12 - count_accepted(calm, name))
    assert sum(rounds) == 20 or not lacking
    lines = [json.loads(line) for line in (calm / "manifest.jsonl").read_text().splitlines()]
    assert [line["index"] for line in lines] == list(range(sum(rounds)))
    first_of_round = sum(rounds[:1])
    assert lines[first_of_round]["group"] == 3 and lines[first_of_round - 1]["group"] == 2

    folder = tmp_path / "killed"
    for _ in range(3):
        if kill_after_groups(4, folder, tool("--config", until_file, "--out", folder)):
            break
        remove_dataset(folder)  # it was done before the signal came
    assert not (folder / "dataset.json").exists()
    generate(config, folder)
    assert hash_files(folder) == hash_files(calm)


def test_a_number_of_images_and_a_preview_are_one_round(until_file, tmp_path, monkeypatch):
    arguments = tool("--config", until_file, "--out", tmp_path / "set", "--num-images", 3)[1:]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(TOOL), run_name="__main__")
    assert stop.value.code == 0
    one = preview(load_generation_config(until_file), tmp_path / "set", 3)
    for folder in (tmp_path / "set", one):
        provenance = json.loads((folder / "dataset.json").read_text())
        assert provenance["counts"]["canvases"] == 3 and "rounds" not in provenance
    assert hash_files(one / "images") == hash_files(tmp_path / "set" / "images")


def test_a_budget_that_is_spent_names_what_lacks(config, tmp_path, caplog):
    until = UntilConfig(accepted=50, max_images=7)
    folder = generate(dataclasses.replace(config, until=until), tmp_path / "set")
    provenance = json.loads((folder / "dataset.json").read_text())
    lacks = {name: 50 - count_accepted(folder, name) for name in ("bath_towel", "cat")}
    assert (provenance["rounds"], provenance["lacking"]) == ([6, 1], lacks)
    named = f"bath_towel {lacks['bath_towel']}, cat {lacks['cat']}"
    assert f"the budget of 7 canvases is spent; accepted objects that lack: {named}" in caplog.text


def test_one_line_shows_speed_outcomes_and_what_is_left(config, tmp_path, capfd):
    folder = generate(config, tmp_path / "set")
    counts = json.loads((folder / "dataset.json").read_text())
    text = describe_outcomes(
        Counter({"accepted": counts["counts"]["annotations"], **counts["rejections"]})
    )
    lines = [line for line in re.split(r"[\r\n]", capfd.readouterr().err) if "canvases" in line]
    speed, left = r" *(\?|[\d.]+) canvases/s", r"(\?|[\d:]+) left"
    pattern = rf"generating: \d/6 canvases, {speed}, {left}, accepted \d+, rejected \d+.*"
    assert all(re.fullmatch(pattern, line) for line in lines)
    assert lines[-1].startswith("generating: 6/6 canvases") and lines[-1].endswith(text)


def kill_after_groups(groups: int, folder: Path, command: list[str]) -> bool:
    """SIGKILL a run once it has made some groups; whether it died unfinished."""
    process = subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL)
    while process.poll() is None and len(list(folder.glob("groups/[0-9]*.json"))) < groups:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL and not (folder / "dataset.json").exists()


# --- bad input, through the tool: one line, exit code 2, nothing written ---


def assert_refused(tmp_path: Path, message: str, *arguments: object) -> None:
    """Run the tool as a user does."""
    before = sorted(tmp_path.rglob("*"))
    result = subprocess.run(tool(*arguments), capture_output=True, text=True, env=environment())
    assert_one_error(result.returncode, result.stderr, message)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.fixture
def assert_refused_here(tmp_path, monkeypatch, capfd) -> Callable[..., None]:
    """The same in this process, for what takes torch, which is long to import."""

    def check(message: str, *arguments: object) -> None:
        before = sorted(tmp_path.rglob("*"))
        monkeypatch.setattr(sys, "argv", tool(*arguments)[1:])
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(str(TOOL), run_name="__main__")
        assert_one_error(stop.value.code, capfd.readouterr().err, message)
        assert sorted(tmp_path.rglob("*")) == before

    return check


def assert_one_error(code: int, stderr: str, message: str) -> None:
    errors = [line for line in stderr.splitlines() if line.startswith("error: ")]
    assert code == 2 and len(errors) == 1, stderr
    assert message in errors[0] and "Traceback" not in stderr


def test_an_unknown_category(tmp_path, config_file):
    config = config_file()
    config.write_text(config.read_text().replace("seed=7", "main_categories=('bath_towl',)"))
    message = "unknown category 'bath_towl': did you mean 'bath_towel'?"
    assert_refused(tmp_path, message, "--config", config, "--out", tmp_path / "set")


@pytest.mark.parametrize(
    "content, message",
    [
        ('{"images": [], "annotations": [], "categories": []}', "vocabulary is empty"),
        ('{"images": [], "annotations": [], "categ', "not valid json (truncated?)"),
        (None, "is not a file"),
    ],
)
def test_a_vocabulary_that_is_none(tmp_path, config_file, content, message):
    path = tmp_path / "lvis.json"
    if content is not None:
        path.write_text(content)
    config = config_file(vocabulary=str(path))
    assert_refused(tmp_path, message, "--config", config, "--out", tmp_path / "set")


def test_a_canvas_that_is_not_divisible(tmp_path, config_file):
    config = config_file()
    config.write_text(config.read_text().replace("(64, 64)", "(64, 62)"))
    message = "canvas width is 62; expected a multiple of 4"
    assert_refused(tmp_path, message, "--config", config, "--out", tmp_path / "set")


def test_regions_that_are_not_divisible(tmp_path, config_file, assert_refused_here):
    config = config_file()
    config.write_text(
        config.read_text().replace("multiple=4", "multiple=1").replace("(8, 8)", "(2, 2)")
    )
    message = "multiple is 1; expected a multiple of 2, the VAE factor"
    assert_refused_here(message, "--config", config, "--out", tmp_path / "set")


def test_mask_scales_that_the_model_lacks(
    tmp_path, config_file, assert_refused_here, monkeypatch, tiny_sd_folder
):
    """Known from the U-Net's blocks, before a canvas is painted."""

    def paint(*_: object, **__: object) -> None:
        raise AssertionError("painting began")

    monkeypatch.setattr("mf_plugin.mosaic.pipeline.MosaicPipeline.__call__", paint)
    config = config_file()
    text = config.read_text().replace("seed=7", "mask=MaskConfig(scales=(1, 8))")
    config.write_text("from mf_plugin.mosaic.masks import MaskConfig\n" + text)
    message = (
        "mask.scales is (1, 8); expected some of 1, 2, where down and up blocks of "
        f"{tiny_sd_folder} have attention"
    )
    assert_refused_here(message, "--config", config, "--out", tmp_path / "set")


def test_an_output_that_cannot_be_written(tmp_path, config_file):
    (tmp_path / "file").touch()
    arguments = ("--config", config_file(), "--out", tmp_path / "file" / "set")
    assert_refused(tmp_path, f"cannot write {tmp_path}/file/set", *arguments)


def test_a_model_that_is_not_there(tmp_path, config_file, assert_refused_here):
    config = config_file(model=str(tmp_path / "nowhere"))
    message = f"model '{tmp_path}/nowhere': no such folder"
    assert_refused_here(message, "--config", config, "--out", tmp_path / "set")


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--num-images", 0), "num_images is 0; expected at least 1"),
        (("--preview", 0), "num_images is 0; expected at least 1"),
        (("--seed", -1), "seed is -1; expected 0 or more"),
        (("--device", "warp9"), "device 'warp9' cannot be used"),
    ],
)
def test_arguments_out_of_range(tmp_path, config_file, assert_refused_here, arguments, message):
    assert_refused_here(message, "--config", config_file(), "--out", tmp_path / "set", *arguments)
