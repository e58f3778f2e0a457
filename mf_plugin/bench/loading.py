"""One way of loading a training set of LVIS's size, in a process of its own.

    python -m mf_plugin.bench.loading mmdet own STANDIN_FOLDER

Prints a line of JSON: seconds, processor time and peak memory of loading, then of repeat factors.
What importing costs is left out of the time; it is in the memory of every case alike.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mf_plugin.bench.lvis_standin import write_standin
from mf_plugin.errors import InputError

# What is loaded. "own" is the framework's own loader of LVIS, the peer of the three others;
# "any" our loader of any vocabulary, which checks the json and that each image is on disk.
CASES = ("own", "own+synthetic", "any", "any+synthetic")
THRESHOLD = 1e-3  # of the repeat factors: LVIS's

# The json's spelling, where mmdet has another.
LVIS_SPELLING = {"speaker_(stereo_equipment)": "speaker_(stero_equipment)"}

Load = Callable[[], Any]
Factors = Callable[[Any], Any]


def mmdet_case(case: str, root: Path) -> tuple[Load, Factors]:
    """(load, repeat factors of what was loaded) for MMDetection."""
    from mf_plugin.mmdet.datasets import DATASETS
    from mf_plugin.mmdet.samplers import RepeatFactorSampler
    from mf_plugin.mmdet.synthetic import Config, with_synthetic

    _check(case)
    kind = "LVISV1Dataset" if case.startswith("own") else "LVISJsonDataset"
    dataset = dict(
        type=f"mmdet.{kind}",
        data_root=str(root),
        ann_file="lvis/lvis_v1_train.json",
        data_prefix=dict(img="coco/"),
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="mmdet.LoadAnnotations", with_bbox=True, with_mask=True),
            dict(type="mmdet.PackDetInputs"),
        ],
    )
    sampler = dict(type="DefaultSampler", shuffle=True)
    cfg = Config(dict(default_scope="mmdet", train_cfg=dict(max_iters=1)))
    cfg.train_dataloader = dict(batch_size=1, dataset=dataset, sampler=sampler)

    def load() -> Any:
        chosen = cfg
        if case.endswith("+synthetic"):
            chosen = with_synthetic(cfg, str(root / "synthetic"))
        return DATASETS.build(chosen.train_dataloader.dataset)

    def factors(dataset: Any) -> Any:
        if case == "own":
            config = dict(type="ClassBalancedDataset", dataset=dataset, oversample_thr=THRESHOLD)
            return DATASETS.build(config)
        return RepeatFactorSampler(dataset, THRESHOLD, seed=0)

    return load, factors


def detectron2_case(case: str, root: Path) -> tuple[Load, Factors]:
    """(load, repeat factors of what was loaded) for Detectron2."""
    os.environ["DETECTRON2_DATASETS"] = str(root)  # lvis_v1_train of its catalog is there
    from mf_plugin.detectron2.catalog import register
    from mf_plugin.detectron2.loaders import get_detection_dataset_dicts, sampler_for

    _check(case)

    def load() -> list[dict[str, Any]]:
        names = ["lvis_v1_train"]
        if case.startswith("any"):
            names = ["any_lvis_v1"]
            register(names[0], root / "coco", synthetic=False)
        if case.endswith("+synthetic"):
            register("synthetic_lvis_v1", root / "synthetic")
            names.append("synthetic_lvis_v1")
        records: list[dict[str, Any]] = get_detection_dataset_dicts(names)
        return records

    def factors(records: list[dict[str, Any]]) -> Any:
        if case == "own":
            own = sys.modules["detectron2.data.samplers"].RepeatFactorTrainingSampler
            return own.repeat_factors_from_category_frequency(records, THRESHOLD)
        return sampler_for(records, THRESHOLD, "joint", None, seed=0)

    return load, factors


ADAPTERS = {"mmdet": mmdet_case, "detectron2": detectron2_case}


def measure_case(framework: str, case: str, root: Path) -> dict[str, float]:
    """Load once and compute the repeat factors once, in this process.

    Returns:
        ``wall``, ``user`` and ``system`` seconds of loading, ``peak`` bytes of resident memory of
        the process until then, ``images`` loaded, ``factors_wall`` and ``factors_user`` seconds.
    """
    load, factors = ADAPTERS[framework](case, root)
    before, begin = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    loaded = load()
    loading, end = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    images = len(loaded)
    again = time.perf_counter()
    factors(loaded)
    done = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "images": images,
        "wall": end - begin,
        "user": loading.ru_utime - before.ru_utime,
        "system": loading.ru_stime - before.ru_stime,
        "peak": loading.ru_maxrss * 1024,
        "factors_wall": time.perf_counter() - again,
        "factors_user": done.ru_utime - loading.ru_utime,
    }


def lvis_names(framework: str) -> list[str]:
    """LVIS v1's category names by ascending id, as a framework has them."""
    if framework == "mmdet":
        from mf_plugin.mmdet.datasets import LVISV1Dataset

        return [LVIS_SPELLING.get(name, name) for name in LVISV1Dataset.METAINFO["classes"]]
    from mf_plugin.detectron2 import catalog

    rows = sorted(catalog.LVIS_CATEGORIES, key=lambda category: category["id"])
    return [row["name"] for row in rows]


def _check(case: str) -> None:
    if case not in CASES:
        raise InputError(f"unknown case {case!r}: expected one of {', '.join(CASES)}")


def main(arguments: list[str]) -> None:
    """``FRAMEWORK CASE FOLDER``, or ``FRAMEWORK write FOLDER IMAGES`` to write the stand-in."""
    framework, case, root, *images = arguments
    if case == "write":
        write_standin(Path(root), lvis_names(framework), int(images[0]))
        return
    print(json.dumps(measure_case(framework, case, Path(root))))


if __name__ == "__main__":
    main(sys.argv[1:])
