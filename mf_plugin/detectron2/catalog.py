"""LVIS-format folders by name in detectron2's catalogs: synthetic ones, and any vocabulary.

    register("minilvis_train", "data/train", synthetic=False)
    register("minilvis_synthetic", "work_dirs/synthetic", like="minilvis_train")

A process that detectron2 spawns knows none of its parent's names: register inside ``main``, or
through the config (`register_from_config`). Registering again what is there changes nothing.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets.lvis import get_lvis_instances_meta
from detectron2.data.datasets.lvis_v1_categories import LVIS_CATEGORIES
from detectron2.utils.file_io import PathManager

from mf_plugin.data.categories import Label, labels_by_id, match_categories
from mf_plugin.data.provider import ANNOTATIONS, SyntheticDataset, resolve_folder
from mf_plugin.data.randomness import random_state_kept
from mf_plugin.detectron2.records import lvis_records
from mf_plugin.device import find_device
from mf_plugin.errors import InputError
from mf_plugin.lvis.io import read_categories, read_lvis, validate_lvis
from mf_plugin.lvis.merge import recount

logger = logging.getLogger(__name__)

LVIS_V1 = "lvis_v1"  # a name with it in has LVIS v1's classes, as in detectron2
EVALUATOR = "lvis"


@dataclass(frozen=True)
class LVISFolder:
    """What stands behind a registered name; calling it loads the records.

    Attributes:
        root: the folder: annotations.json, and the images below it.
        labels: the classes of the detector.
        synthetic: whether its images were generated.
        generation_config: what it is generated from where it is missing.
        validate: whether loading checks the json and that each image is on disk.
    """

    root: str
    labels: tuple[Label, ...]
    synthetic: bool
    generation_config: Any = None
    validate: bool = True

    @property
    def json_file(self) -> str:
        return str(Path(self.root, ANNOTATIONS))

    def __call__(self) -> list[dict[str, Any]]:
        """detectron2's dataset dicts, the same on every call; a missing dataset is generated."""
        self.ensure()
        data = read_lvis(self.json_file)
        try:
            if self.validate and not self.synthetic:
                validate_lvis(data, self.root, nested=True, linked=True)
            records = lvis_records(data, self.root, self.match(data), synthetic=self.synthetic)
        except InputError as error:
            raise InputError(f"{self.json_file}: {error}") from None
        if not records:
            raise InputError(f"{self.json_file}: there is no image in it to train on or measure")
        logger.info("%s: %d images", self.json_file, len(records))
        return records

    def ensure(self) -> None:
        """A synthetic dataset is there, complete and checked; generated now where need be."""
        if self.synthetic:
            with random_state_kept():
                SyntheticDataset(self.root, self.generation_config).ensure(find_device())

    def match(self, data: dict[str, Any]) -> dict[int, int]:
        """The label of each category id; InputError where one with annotations fits none."""
        used = {annotation["category_id"] for annotation in data["annotations"]}
        return match_categories(data["categories"], self.labels, used, self.json_file)


_registered: dict[str, LVISFolder] = {}


def register(
    name: str,
    folder: str | Path,
    *,
    like: str | None = None,
    synthetic: bool = True,
    generation_config: Any = None,
    validate: bool = True,
) -> None:
    """Give an LVIS-format folder a name for ``DATASETS.TRAIN`` and ``DATASETS.TEST``.

    Sets thing_classes, class_image_count, thing_dataset_id_to_contiguous_id, evaluator_type,
    json_file and image_root. Of several processes that load a dataset that is still missing, one
    generates it and the others wait.

    Args:
        name: as it stands in the config.
        folder: ``annotations.json`` and images. A generation config (a .py file) in its place
            puts the dataset in ``work_dirs/<stem of the file>``.
        like: a registered dataset that the classes are taken from: the real training set. Without
            it a name with ``lvis_v1`` in it has LVIS v1's classes, any other the json's own.
        synthetic: whether its images were generated; then the folder has a ``dataset.json``.
        generation_config: a GenerationConfig or the file of one, where the folder may be missing.
        validate: check a real dataset when it is loaded, and that each image is on disk. Off, it
            may also hold RLE masks.

    Raises:
        InputError: the name stands for something else, the dataset is missing or damaged, or its
            categories do not fit the classes.
    """
    root, config = resolve_folder(folder)
    generation_config = generation_config if config is None else config
    if isinstance(generation_config, (str, Path)):
        generation_config = os.path.abspath(generation_config)

    # 1. A name stands for one thing.
    known = _registered.get(name)
    if known is not None:
        same = (known.root, known.synthetic, known.generation_config)
        if same != (root, synthetic, generation_config):
            raise InputError(f"dataset {name!r} is registered for {known.root}, not for {root}")
        if like is not None and labels_of(like) != known.labels:
            raise InputError(
                f"dataset {name!r} is registered with other classes than those of {like!r}: take "
                "another name"
            )
        return
    if name in DatasetCatalog:
        raise InputError(f"dataset {name!r} is registered by somebody else: take another name")

    # 2. Which classes there are.
    source = LVISFolder(root, (), synthetic, generation_config, validate)
    if like is not None:
        labels, metadata = labels_of(like), _classes_of(like)
    elif LVIS_V1 in name:
        labels, metadata = _lvis_v1_labels(), get_lvis_instances_meta(LVIS_V1)
    else:
        source.ensure()
        labels, metadata = _own_classes(source.json_file)
    source = replace(source, labels=labels)

    # 3. Whether its categories are among them; before hours go into generating any that are not.
    if synthetic and generation_config is None:
        source.ensure()
    if generation_config is not None and not Path(source.json_file).is_file():
        label_of = _match_planned(generation_config, labels)
    elif synthetic:
        label_of = source.match(read_lvis(source.json_file))
    else:  # loading checks the categories that are used: a gigabyte of json is read once
        found = read_categories(source.json_file)
        label_of = match_categories(found, labels, (), source.json_file)

    # 4. The two catalogs.
    DatasetCatalog.register(name, source)
    MetadataCatalog.get(name).set(
        json_file=source.json_file,
        image_root=root,
        evaluator_type=EVALUATOR,
        thing_dataset_id_to_contiguous_id=label_of,
        **metadata,
    )
    _registered[name] = source


def is_synthetic(name: str) -> bool:
    """Whether ``name`` was registered here as a synthetic dataset."""
    return name in _registered and _registered[name].synthetic


def registered_folder(name: str) -> str | None:
    """The folder that ``name`` was registered for here, if it was."""
    return _registered[name].root if name in _registered else None


def labels_of(name: str) -> tuple[Label, ...]:
    """The classes of a registered dataset, of ours or of anybody else.

    Raises:
        InputError: no such dataset, or it names its classes neither in its metadata nor in a json.
    """
    if name in _registered:
        return _registered[name].labels
    if name not in DatasetCatalog:
        raise InputError(f"dataset {name!r} is not registered: {_close_names(name)}")
    classes = _metadata_when_loaded(name).get("thing_classes")
    if classes is None:
        return labels_by_id(_read_categories(name))
    names: list[tuple[str, ...]] = [(str(c),) for c in classes]
    if list(classes) == get_lvis_instances_meta(LVIS_V1)["thing_classes"]:
        names = [label.names for label in _lvis_v1_labels()]
    metadata = MetadataCatalog.get(name)
    ids = {v: k for k, v in metadata.get("thing_dataset_id_to_contiguous_id", {}).items()}
    if not ids and metadata.get("evaluator_type") == EVALUATOR:
        ids = {label: label + 1 for label in range(len(classes))}  # as in load_lvis_json
    return tuple(Label(known, ids.get(label)) for label, known in enumerate(names))


def category_ids(name: str) -> dict[int, int | None]:
    """label -> category id in the json of a registered dataset; None where it names no ids."""
    ids = MetadataCatalog.get(name).get("thing_dataset_id_to_contiguous_id")
    if ids:
        return {label: category_id for category_id, label in ids.items()}
    return {label: known.id for label, known in enumerate(labels_of(name))}


def _classes_of(name: str) -> dict[str, Any]:
    """The metadata that detectron2 compares between training sets."""
    metadata = _metadata_when_loaded(name)
    classes = metadata.get("thing_classes")
    if classes is None:
        classes = [known.names[0] for known in labels_of(name)]
    counts = metadata.get("class_image_count")
    return {"thing_classes": classes} | ({} if counts is None else {"class_image_count": counts})


def _metadata_when_loaded(name: str) -> dict[str, Any]:
    """Metadata of a dataset; load_lvis_json adds some, by the name, where there was none."""
    metadata = MetadataCatalog.get(name)
    found = metadata.as_dict()
    if "thing_classes" not in found and found.get("evaluator_type") == EVALUATOR:
        with suppress(ValueError):  # a name that load_lvis_json refuses, so another loader's
            found = get_lvis_instances_meta(name) | found
    return found


def _match_planned(config: Any, labels: tuple[Label, ...]) -> dict[int, int]:
    """The labels of a dataset that is to be generated, from its config."""
    from mf_plugin.generation.config import load_generation_config

    where = str(config) if isinstance(config, (str, Path)) else "the generation config"
    if isinstance(config, (str, Path)):
        config = load_generation_config(config)
    plan = config.make_plan()
    return match_categories(plan.vocabulary.to_lvis(), labels, plan.possible_categories(), where)


def _own_classes(json_file: str) -> tuple[tuple[Label, ...], dict[str, Any]]:
    counts = read_categories(json_file)
    labels = labels_by_id(counts)
    if any(category.get("image_count") is None for category in counts):
        counts = recount(counts, read_lvis(json_file)["annotations"])
    return labels, {
        "thing_classes": [known.names[0] for known in labels],
        "class_image_count": [{"id": c["id"], "image_count": c["image_count"]} for c in counts],
    }


def _lvis_v1_labels() -> tuple[Label, ...]:
    """detectron2 calls a class by its first synonym, LVIS's jsons by its name."""
    ordered: Sequence[dict] = sorted(LVIS_CATEGORIES, key=lambda category: category["id"])
    return tuple(
        Label(tuple(dict.fromkeys((c["synonyms"][0], c["name"]))), c["id"]) for c in ordered
    )


def _read_categories(name: str) -> list[dict]:
    json_file = MetadataCatalog.get(name).get("json_file")
    if json_file is None:
        raise InputError(f"dataset {name!r} has neither thing_classes nor a json_file")
    return read_categories(PathManager.get_local_path(json_file))


def _close_names(name: str) -> str:
    import difflib

    close = difflib.get_close_matches(name, list(DatasetCatalog), n=3)
    return f"did you mean {', '.join(close)}?" if close else "add it to MOSAICFUSION.DATASETS"
