"""Configs of hostile values: each is refused with an InputError, or it works."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from mf_plugin.benchmark.config import Arm, BenchmarkConfig, Detector, select
from mf_plugin.benchmark.config import Target as Aim
from mf_plugin.errors import InputError
from mf_plugin.fuzz import seeds
from mf_plugin.fuzz.choices import Choices
from mf_plugin.fuzz.mutate import corrupt, hostile_value, near_value, to_bytes
from mf_plugin.generation.config import (
    GenerationConfig,
    load_generation_config,
)
from mf_plugin.generation.filters import FilterConfig
from mf_plugin.generation.generator import UntilConfig
from mf_plugin.generation.plan import load_vocabulary, make_plan
from mf_plugin.mosaic.attention import AttentionConfig
from mf_plugin.mosaic.bilateral import BilateralConfig
from mf_plugin.mosaic.clip import ClipFilterConfig
from mf_plugin.mosaic.masks import MaskConfig
from mf_plugin.mosaic.refine import RefineConfig
from mf_plugin.mosaic.sam import SamRefineConfig
from mf_plugin.mosaic.tiny_sd.config import TinySDConfig
from mf_plugin.seggen.gates import GateConfig
from mf_plugin.seggen.plan import make_plan as make_seggen_plan
from mf_plugin.seggen.source import SourceConfig
from mf_plugin.seggen.sources import read_source
from mf_plugin.seggen.synthesis import SegGenConfig
from mf_plugin.seggen.training.config import SegGenTrainConfig
from mf_plugin.vocabulary import Vocabulary

_MOST_PLANNED = 2000  # images of a plan that is tried out
_GENERATION = GenerationConfig("minilvis:demo", "a/b", region_size=(64, 64), overlap=(16, 16))
_TINY = TinySDConfig(regions=(((64, 64), 1.0),), captions=(("{name}", 1.0),))
_BENCHMARK = BenchmarkConfig(
    preset="demo",
    detectors=(Detector("a", "A", "configs/a"),),
    arms=(Arm("real"), Arm("more", synthetic="g.py", policy="ratio", ratio=0.2)),
    seeds=(1, 2),
    targets=(Aim("a", "more", "APr", 1.0),),
)
_PARTS: Mapping[str, Any] = {
    "until": UntilConfig(2, 100),
    "attention": AttentionConfig(),
    "mask": MaskConfig(),
    "filters": FilterConfig(),
    "sam": SamRefineConfig("a/b"),
    "clip": ClipFilterConfig("a/b"),
}
_OF_MASK: Mapping[str, Any] = {"bilateral": BilateralConfig(), "refine": RefineConfig()}
_SOURCE = SourceConfig("instance", annotations="a.json", images="images")
_SEGGEN = SegGenConfig("imgsyn", _SOURCE, "a/b", (32, 48), text2mask="a/b", copies=2)
_TRAINING = SegGenTrainConfig("mask2img", _SOURCE, "a/b", size=(32, 48), steps=9, warmup=2)
_OF_SEGGEN: Mapping[str, Any] = {
    "source": _SOURCE,
    "gates": GateConfig(),
    "until": UntilConfig(2, 100),
}
_MOST_PIXELS = 1 << 22  # of a real image's part, scaled
_FILE = """from mf_plugin.generation.config import GenerationConfig

config = GenerationConfig(
    vocabulary="minilvis:demo",
    model="a/b",
    region_size=(64, 64),
    overlap=(16, 16),
    seed=1,
)
"""


def generation_config(choices: Choices, folder: Path) -> None:
    """Fields of a generation config and of its parts; one that is made can be planned."""
    changes: dict[str, Any] = {}
    for _ in range(choices.below(3)):
        name = choices.pick(sorted(_PARTS))
        part = changes.get(name) or _PARTS[name]
        if name == "mask" and choices.below(2):
            inner = choices.pick(sorted(_OF_MASK))
            changes[name] = dataclasses.replace(part, **{inner: _changed(_OF_MASK[inner], choices)})
        else:
            changes[name] = _changed(part, choices)
    config = _changed(dataclasses.replace(_GENERATION, **changes), choices)
    config.to_json()
    if not config.config_hash:
        raise AssertionError("a config without a hash")
    planned = max(config.num_images or 0, 30 * config.images_per_category)
    if planned > _MOST_PLANNED:
        return
    plan = make_plan(config, _vocabulary(str(config.vocabulary)))
    plan.groups[len(plan.groups) - 1].layout.to_json()


def benchmark_config(choices: Choices, folder: Path) -> None:
    """Fields of a benchmark and of what it lists; a part can be selected."""
    changes: dict[str, Any] = {}
    for name in ("arms", "detectors", "targets"):
        if choices.below(2):
            listed = list(getattr(_BENCHMARK, name))
            place = choices.below(len(listed))
            listed[place] = _changed(listed[place], choices)
            changes[name] = tuple(listed)
    config = _changed(dataclasses.replace(_BENCHMARK, **changes), choices)
    select(config, arms=[config.arms[0].name])
    for arm in config.arms:
        config.seeds_of(arm), config.baseline_of(arm)


def tiny_sd_config(choices: Choices, folder: Path) -> None:
    """Fields of the bundled model's recipe."""
    if not _changed(_TINY, choices).hash():
        raise AssertionError("a config without a hash")


def seggen_config(choices: Choices, folder: Path) -> None:
    """Fields of a SegGen config and of its parts; one that is made can be planned."""
    changes: dict[str, Any] = {}
    for _ in range(choices.below(3)):
        name = choices.pick(sorted(_OF_SEGGEN))
        changes[name] = _changed(changes.get(name) or _OF_SEGGEN[name], choices)
    if choices.below(2):
        changes["main_categories"] = choices.pick((("r",), ("cup", "bow_(weapon)"), ("r", "c")))
    config = _changed(dataclasses.replace(_SEGGEN, **changes), choices)
    config.to_json()
    if not config.config_hash or not all(isinstance(one, str) for one in config.inputs):
        raise AssertionError("a config without a hash, or an input that is no text")
    planned = max(config.num_images or 0, 3 * config.images_per_category, 3 * config.copies)
    pixels = config.size[0] * config.size[1] * config.zoom**2
    if planned > _MOST_PLANNED or pixels > _MOST_PIXELS or config.captions != "composed":
        return
    path = folder / "source.json"
    path.write_bytes(to_bytes(seeds.lvis()))
    source = read_source(SourceConfig("instance", annotations=path))
    plan = make_seggen_plan(config, source)
    group = plan.group(len(plan.groups) - 1)
    for canvas in group.canvases:
        group.describe(canvas)


def seggen_train_config(choices: Choices, folder: Path) -> None:
    """Fields of a SegGen training; what a checkpoint would keep of one that is made is itself."""
    changes = {"source": _changed(_SOURCE, choices)} if choices.below(3) == 0 else {}
    config = _changed(dataclasses.replace(_TRAINING, **changes), choices)
    if config.differences(config.to_json()):
        raise AssertionError("a config that differs from itself")
    for step in (0, config.steps // 2, config.steps - 1):
        if not 0 <= config.learning_rate(step) <= config.lr:
            raise AssertionError(f"learning rate {config.learning_rate(step)} at step {step}")


def config_file(choices: Choices, folder: Path) -> None:
    """A config file that was cut off, or has a value that is none."""
    path = folder / "c.py"
    if choices.below(2):
        text = _FILE.encode()[: choices.below(len(_FILE))]
    else:
        name = choices.pick(("seed", "region_size", "overlap", "model"))
        value = repr(hostile_value(choices))[:4000]
        text = _FILE.replace("seed=1", f"seed=1, {name}={value}").encode(errors="replace")
    if choices.below(4) == 0:
        text = corrupt(text[:40], choices)
    path.write_bytes(text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        load_generation_config(path)


def _changed(config: Any, choices: Choices) -> Any:
    """A config with up to two fields of other values."""
    names = [field.name for field in dataclasses.fields(config)]
    changes = {}
    for _ in range(choices.below(3)):
        name = choices.pick(names)
        kind, value = choices.below(4), getattr(config, name)
        if kind == 0:
            changes[name] = hostile_value(choices)
        elif kind == 1 and isinstance(value, tuple):
            changes[name] = tuple(hostile_value(choices) for _ in range(choices.below(4)))
        else:
            changes[name] = near_value(value, choices)
    return dataclasses.replace(config, **changes)


@cache
def _vocabulary(source: str) -> Vocabulary:
    if not source.startswith("minilvis:"):
        raise InputError(f"vocabulary {source!r} is not read here")
    return load_vocabulary(source)
