"""The readers, each called with what comes of a few decisions.

A target makes an input out of sound data, hands it to a reader, and uses what the reader lets pass:
whatever a reader accepts has to work behind it. A new reader gets its function here and its line in
``TARGETS``; SegGen's are in `seggen.py`, those of configs in `configs.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from mf_plugin.data.provider import SyntheticDataset, categories_per_image
from mf_plugin.data.sampling import repeat_factors
from mf_plugin.errors import InputError
from mf_plugin.evaluation.detections import read_results
from mf_plugin.evaluation.rare import evaluate_lvis, load_ground_truth
from mf_plugin.evaluation.training_counts import count_training
from mf_plugin.fuzz import seeds
from mf_plugin.fuzz.choices import Choices
from mf_plugin.fuzz.configs import (
    benchmark_config,
    config_file,
    generation_config,
    seggen_config,
    seggen_train_config,
    tiny_sd_config,
)
from mf_plugin.fuzz.mutate import corrupt, mutate, to_bytes, write_mutated
from mf_plugin.fuzz.seggen import captions, colormap, masksyn, palette, seggen_record, source
from mf_plugin.generation.finished import rewrite_report
from mf_plugin.lvis.io import read_categories, read_lvis, validate_lvis, write_json_atomic
from mf_plugin.lvis.merge import merge_lvis
from mf_plugin.lvis.novel import without_annotations
from mf_plugin.lvis.paths import image_file
from mf_plugin.vocabulary import Vocabulary

Target = Callable[[Choices, Path], None]
_DATA = re.compile(r'(<script type="application/json" id="data">)(.*?)(</script>)', re.DOTALL)


def lvis(choices: Choices, folder: Path) -> None:
    """Read, check, merge, write; the images that the json names are in the folder."""
    root = _images(folder)
    path = write_mutated(folder / "a.json", seeds.lvis(), choices)
    try:
        validate_lvis(read_lvis(path), root)
    finally:
        _swallow(lambda: read_categories(path))
    data = read_lvis(path)
    for image in data["images"]:
        found = image_file(root, image).resolve()
        if not found.is_relative_to(root.resolve()):
            raise AssertionError(f"{found} is outside of {root}")
    write_json_atomic(folder / "merged.json", merge_lvis(data, data, **_roots(root)))
    per_image = categories_per_image(data)
    repeat_factors(per_image, 0.1)
    without_annotations(data, [category["id"] for category in data["categories"]][:1])
    Vocabulary.from_categories(data["categories"]).to_lvis()


def vocabulary(choices: Choices, folder: Path) -> None:
    """Read a vocabulary and ask it for everything."""
    data = seeds.lvis()
    wanted = data["categories"] if choices.below(2) else {"categories": data["categories"]}
    found = Vocabulary.from_lvis_json(write_mutated(folder / "v.json", wanted, choices))
    for category in found:
        if not category.clean_names or found.by_id(category.id) != category:
            raise AssertionError(f"{category} is not in its vocabulary")
    write_json_atomic(folder / "again.json", found.to_lvis())
    _swallow(lambda: found.group("r"))
    _swallow(lambda: found.by_name("cups"))


def truth(choices: Choices, folder: Path) -> None:
    """Read a ground truth, in LVIS's form or COCO's, with groups from a training json."""
    data = seeds.lvis()
    if choices.below(2):
        for image in data["images"]:
            del image["neg_category_ids"], image["not_exhaustive_category_ids"]
    path = write_mutated(folder / "gt.json", data, choices)
    _swallow(lambda: count_training(path))
    load_ground_truth(path).scope  # noqa: B018  a property that reads all of it


def results(choices: Choices, folder: Path) -> None:
    """Read detections, and measure the masks of those that count."""
    scope = _truth().scope
    given = mutate(seeds.results(), choices)
    if choices.below(4) == 0 and isinstance(given, list):
        found = read_results(given, scope)
    else:
        text = to_bytes(given)
        path = folder / "r.segm.json"
        path.write_bytes(corrupt(text, choices) if choices.below(4) == 0 else text)
        found = read_results(path, scope)
    if found.masks is not None:
        found.mask_areas, found.mask_boxes  # noqa: B018  properties that decode


def scores(choices: Choices, folder: Path) -> None:
    """Average precision of what both readers accept."""
    change = choices.below(3)
    given = mutate(seeds.lvis(), choices, 2) if change != 1 else seeds.lvis()
    found = mutate(seeds.results(), choices, 2) if change != 0 else seeds.results()
    if isinstance(given, dict) and isinstance(found, list):
        evaluate_lvis(given, found)


def finished(choices: Choices, folder: Path) -> None:
    """Read a finished dataset, check it as a provider does, and write its report again."""
    files = dict(_finished())
    name = choices.pick(sorted(files))
    for other, content in files.items():
        path = folder / other
        if isinstance(content, str):
            path.write_text(content, encoding="utf-8")
        elif isinstance(content, list):
            path.write_text("".join(json.dumps(line) + "\n" for line in content))
        else:
            path.write_text(json.dumps(content))
    content = files[name]
    if name == "gallery.html":
        head, start, data, end, tail = _DATA.split(content, 1)
        text = to_bytes(mutate(json.loads(data), choices))
        parts = ((head + start).encode(), text, (end + tail).encode())
        (folder / name).write_bytes(b"".join(parts))
    elif name == "manifest.jsonl":
        lines = mutate(content, choices)
        lines = lines if isinstance(lines, list) else [lines]
        (folder / name).write_bytes(b"\n".join(map(to_bytes, lines)))
    else:
        (folder / name).write_bytes(to_bytes(mutate(content, choices)))
    if choices.below(8) == 0:
        (folder / name).write_bytes(corrupt((folder / name).read_bytes(), choices))
    if choices.below(2):
        SyntheticDataset(folder).ensure()
    rewrite_report(folder)
    page = (folder / "gallery.html").read_text(encoding="utf-8")
    if "<img" in page or "<svg/onload" in page or page.count("</script>") != 2:
        raise AssertionError("a name became markup of the page")


TARGETS: dict[str, Target] = {
    "lvis": lvis,
    "vocabulary": vocabulary,
    "truth": truth,
    "results": results,
    "scores": scores,
    "finished": finished,
    "generation_config": generation_config,
    "benchmark_config": benchmark_config,
    "tiny_sd_config": tiny_sd_config,
    "config_file": config_file,
    "colormap": colormap,
    "palette": palette,
    "seggen_record": seggen_record,
    "captions": captions,
    "masksyn": masksyn,
    "source": source,
    "seggen_config": seggen_config,
    "seggen_train_config": seggen_train_config,
}


def _swallow(call: Callable[[], Any]) -> None:
    with suppress(InputError):
        call()


def _images(folder: Path) -> Path:
    root = folder / "set"
    return root if root.is_dir() else seeds.image_folder(root)


def _roots(root: Path) -> dict[str, Path]:
    return {"real_root": root, "synthetic_root": root.parent / "other"}


@cache
def _truth() -> Any:
    return load_ground_truth(seeds.lvis())


@cache
def _finished() -> dict[str, Any]:
    return seeds.finished()
