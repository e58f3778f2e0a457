"""What the lines of a manifest and a dataset.json must hold to be read as records.

A finished folder may come from anybody. Its page is written again from these values, so each has
its type and range here, and what the page shows as a file is one inside the folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mf_plugin.errors import InputError, shown
from mf_plugin.lvis.paths import is_inside
from mf_plugin.lvis.validate import LARGEST_ID, are_numbers, check_size, is_id

_OUTCOMES = ("accepted", "rejected")
_COUNTS = ("canvases", "images", "objects", "annotations")
_LARGEST_SEED = 1 << 64


def check_line(line: Any, category_ids: set[int]) -> None:
    """A line of manifest.jsonl, as ``records.to_manifest_line`` writes it.

    Args:
        line: JSON value.
        category_ids: of the dataset.

    Raises:
        InputError: a value is missing or of a wrong type.
    """
    if not isinstance(line, Mapping):
        raise InputError(f"manifest has the line {shown(line)}; expected an object")
    problem = _line_problem(line, category_ids)
    if problem is not None:
        raise InputError(f"manifest line {shown(line.get('index'))}: {problem}")


def check_dataset(dataset: Any) -> None:
    """The parts of dataset.json that the page shows.

    Raises:
        InputError: a value is missing or of a wrong type.
    """
    if not isinstance(dataset, Mapping):
        raise InputError(f"dataset.json is {shown(dataset)}; expected an object")
    counts = dataset.get("counts")
    if not isinstance(counts, Mapping) or not all(is_id(counts.get(key)) for key in _COUNTS):
        raise InputError(f"dataset.json has counts {shown(counts)}; expected {', '.join(_COUNTS)}")
    for key in ("config", "versions"):
        if not isinstance(dataset.get(key, {}), Mapping):
            raise InputError(f"dataset.json has {key} {shown(dataset[key])}; expected an object")


def is_group(content: Any) -> bool:
    """Whether a group's json holds what the store reads again; its images are below the folder."""
    try:
        canvases, facts = content["canvases"], (content["environment"], content["seconds"])
        sound = isinstance(facts[0], dict) and are_numbers(facts[1:])
        return sound and all(map(_is_canvas, canvases))
    except (KeyError, TypeError):
        return False


def _is_canvas(canvas: Mapping[str, Any]) -> bool:
    if canvas["outcome"] == "accepted" and not is_inside(canvas["file_name"]):
        return False
    objects = canvas["objects"]
    return isinstance(objects, list) and all(
        isinstance(one["reason"], str) and is_id(one["category_id"]) for one in objects
    )


def _line_problem(line: Mapping[str, Any], category_ids: set[int]) -> str | None:
    if not is_id(line.get("index")):
        return "expected an index from 0"
    if not is_id(line.get("image_id")):
        return f"image_id is {shown(line.get('image_id'))}; expected a number from 0"
    if line.get("outcome") not in _OUTCOMES:
        return f"outcome is {shown(line.get('outcome'))}; expected one of {_OUTCOMES}"
    if line["outcome"] == "accepted":
        if not is_inside(line.get("file_name")) or "/" not in line["file_name"]:
            return f"file_name is {shown(line.get('file_name'))}; expected images/NAME"
        if not isinstance(line.get("sha256"), str):
            return f"sha256 is {shown(line.get('sha256'))}; expected text"
    for key, most in (("group", 1 << 53), ("main_region", 1 << 53), ("seed", _LARGEST_SEED)):
        value = line.get(key)
        if value is not None and not (type(value) is int and 0 <= value < most):
            return f"{key} is {shown(value)}; expected a number from 0"
    named = "category_ids" if "prompts" not in line and "caption" in line else "prompts"
    for name, check in (
        (named, is_id if named == "category_ids" else _is_prompt),
        ("reasons", _is_text),
        ("measures", _is_measures),
    ):
        values = line.get(name, [] if name == "measures" else None)
        if not isinstance(values, list) or not all(map(check, values)):
            return f"{name} is {shown(values)}; expected one of each object"
    if named == "category_ids" and not isinstance(line["caption"], str):
        return f"caption is {shown(line['caption'])}; expected text"
    ids = [prompt["category_id"] for prompt in prompts_of(line)]
    unknown = [category_id for category_id in ids if category_id not in category_ids]
    if unknown:
        return f"a prompt of the unknown category id {unknown[0]}"
    return _layout_problem(line.get("layout", {}), len(ids))


def prompts_of(line: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A {"category_id", "text"} for each object of a manifest line that `check_line` passed; where
    the line has one caption of all objects, the text is the caption."""
    if "prompts" in line:
        prompts: list[dict[str, Any]] = line["prompts"]
        return prompts
    return [{"category_id": i, "text": line["caption"]} for i in line["category_ids"]]


def _layout_problem(layout: Any, objects: int) -> str | None:
    if not isinstance(layout, Mapping):
        return f"layout is {shown(layout)}; expected an object"
    regions = layout.get("regions")
    if not regions and isinstance(regions, (list, type(None))):
        return None
    if not isinstance(regions, list) or len(regions) != objects:
        return f"layout has regions {shown(regions)}; expected one of each of {objects} objects"
    try:
        check_size(layout)
    except InputError:
        return f"layout {shown(layout)}; expected height and width in pixels"
    for region in regions:
        sound = isinstance(region, list) and len(region) == 4 and all(map(is_id, region))
        if not sound or min(region[2:]) < 1:
            return f"region {shown(region)}; expected [top, left, height, width] in pixels"
    return None


def _is_prompt(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and is_id(value.get("category_id"))
        and isinstance(value.get("text"), str)
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_measures(value: Any) -> bool:
    if not isinstance(value, Mapping):
        return False
    numbers = list(value.values())
    return are_numbers(numbers) and all(abs(number) <= LARGEST_ID for number in numbers)
