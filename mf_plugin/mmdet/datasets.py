"""LVIS-format datasets for MMDetection: any vocabulary, synthetic ones, and their union.

mmdet derives labels from the order of the categories in each json, so a union is only right where
all jsons list the same categories in the same order; here that is checked.

Shapes: N images of a dataset.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from mmdet.datasets import LVISV1Dataset
from mmdet.registry import DATASETS
from mmengine.dataset import ConcatDataset
from mmengine.dist import barrier, is_main_process

from mf_plugin.data.provider import SyntheticDataset
from mf_plugin.errors import InputError
from mf_plugin.lvis.io import image_path, read_lvis, validate_lvis


@DATASETS.register_module()
class LVISJsonDataset(LVISV1Dataset):
    """An LVIS v1 dataset whose classes are the json's own categories, in the json's order.

    mmdet's LVISV1Dataset knows LVIS's 1203 names alone. Reads without the `lvis` package.

    Args:
        ann_file (str): the annotation json, below ``data_root``.
        data_root (str): folder of the dataset.
        data_prefix (dict): ``img``, the folder that the paths in ``coco_url`` start from, below
            ``data_root``.
        validate (bool): check the json, and that each image is on disk, before the first
            iteration. Off, it also takes RLE masks and images that are not on a local disk.
        kwargs: LVISV1Dataset's; ``metainfo`` may not name other classes.

    Raises:
        InputError: the json is missing, truncated or inconsistent, or an image is missing.
    """

    METAINFO: dict = {}

    def __init__(
        self,
        ann_file: str,
        data_root: str = "",
        data_prefix: Mapping[str, str] = MappingProxyType({"img": ""}),
        validate: bool = True,
        **kwargs: Any,
    ) -> None:
        self.validate = validate
        super().__init__(
            ann_file=ann_file, data_root=data_root, data_prefix=dict(data_prefix), **kwargs
        )

    @property
    def metainfo(self) -> dict:
        """``classes`` (names) and ``category_ids``, both in the order of the labels."""
        if "category_ids" not in self._metainfo:
            self.full_init()
        return super().metainfo

    def load_data_list(self) -> list[dict]:
        """One record an image, as mmdet's CocoDataset makes them."""
        data = read_lvis(self.ann_file)
        if self.validate:
            try:
                validate_lvis(data, self.data_prefix.get("img") or ".", nested=True)
            except InputError as error:
                raise InputError(f"{self.ann_file}: {error}") from None
        self._set_classes(data["categories"])

        annotations = defaultdict(list)
        self.cat_img_map: dict[int, list[int]] = defaultdict(list)
        for annotation in data["annotations"]:
            annotations[annotation["image_id"]].append(annotation)
            self.cat_img_map[annotation["category_id"]].append(annotation["image_id"])
        return [
            self.parse_data_info(
                {
                    "raw_img_info": {
                        **image,
                        "img_id": image["id"],
                        "file_name": image_path(image),
                    },
                    "raw_ann_info": annotations[image["id"]],
                }
            )
            for image in data["images"]
        ]

    def _set_classes(self, categories: list[dict]) -> None:
        names = tuple(category["name"] for category in categories)
        asked = self._metainfo.get("classes")
        if asked is not None and tuple(asked) != names:
            raise InputError(
                f"{self.ann_file}: metainfo asks for the {len(asked)} classes {_first(asked)}, "
                f"the json lists {len(names)}, {_first(names)}; labels follow the json"
            )
        self.cat_ids = [category["id"] for category in categories]
        self.cat2label = {category_id: label for label, category_id in enumerate(self.cat_ids)}
        self._metainfo.update(classes=names, category_ids=tuple(self.cat_ids))


@DATASETS.register_module()
class SyntheticLVISDataset(LVISJsonDataset):
    """A synthetic dataset by its folder; generated first where a config is given and it is missing.

    Under several processes the first one generates, the others wait.

    Args:
        root (str): folder with ``annotations.json`` and ``images/``.
        generation_config (str, optional): a file of configs/generation/.
        kwargs: LVISJsonDataset's, less ``ann_file``, ``data_root`` and ``data_prefix``.

    Raises:
        InputError: the folder is no synthetic dataset, and no config says how to make it one.
    """

    is_synthetic = True

    def __init__(self, root: str, generation_config: str | None = None, **kwargs: Any) -> None:
        dataset = SyntheticDataset(root, generation_config)
        with _random_state_kept():
            if is_main_process():
                dataset.ensure()
            barrier()
            if not is_main_process():
                dataset.ensure()
        super().__init__(
            ann_file=str(dataset.annotations_file),
            data_prefix=dict(img=str(dataset.image_root)),
            validate=False,  # `ensure` has done it
            **kwargs,
        )


@DATASETS.register_module()
class LVISConcatDataset(ConcatDataset):
    """Datasets of one vocabulary, one after the other.

    mmengine's ConcatDataset has no ``get_cat_ids``, and compares class names alone.

    Raises:
        InputError: the datasets do not list the same categories in the same order.
    """

    def __init__(self, datasets: Sequence[Any], lazy_init: bool = False) -> None:
        built = [DATASETS.build(d) if isinstance(d, dict) else d for d in datasets]
        _check_same_categories(built)
        super().__init__(built, lazy_init=lazy_init, ignore_keys=_metainfo_keys(built))

    def get_cat_ids(self, idx: int) -> list[int]:
        """The labels in image ``idx`` of the union."""
        i, j = self._get_ori_dataset_idx(idx)
        return categories_of(self.datasets[i], j)

    @property
    def is_synthetic(self) -> np.ndarray:
        """bool[N]: the images that come from a SyntheticLVISDataset."""
        return np.concatenate([synthetic_flags(dataset) for dataset in self.datasets])


def categories_of(dataset: Any, idx: int) -> list[int]:
    """The labels in image ``idx``, of any dataset with boxes, wrapped or not."""
    if hasattr(dataset, "get_cat_ids"):
        return dataset.get_cat_ids(idx)
    if hasattr(dataset, "get_data_info"):
        return [i["bbox_label"] for i in dataset.get_data_info(idx)["instances"]]
    if hasattr(dataset, "dataset"):
        return categories_of(dataset.dataset, idx % len(dataset.dataset))
    raise InputError(
        f"{type(dataset).__name__} has neither get_cat_ids nor get_data_info: repeat factors "
        "need the categories of each image"
    )


def synthetic_flags(dataset: Any) -> np.ndarray:
    """bool[N]: the synthetic images of a dataset, wrapped or not."""
    flags = getattr(dataset, "is_synthetic", None)
    if isinstance(flags, bool):
        return np.full(len(dataset), flags)
    if flags is not None:
        return np.asarray(flags)
    if hasattr(dataset, "datasets"):
        return np.concatenate([synthetic_flags(d) for d in dataset.datasets])
    if hasattr(dataset, "repeat_indices"):
        return synthetic_flags(dataset.dataset)[np.asarray(dataset.repeat_indices)]
    if hasattr(dataset, "dataset"):
        inner = synthetic_flags(dataset.dataset)
        return np.resize(inner, len(dataset)) if len(inner) else inner
    return np.zeros(len(dataset), dtype=bool)


def category_table(dataset: Any) -> list[tuple[int, str | None]]:
    """(category id, name) by label; the name is None where the dataset has it not from a json."""
    while hasattr(dataset, "dataset"):
        dataset = dataset.dataset
    if hasattr(dataset, "datasets"):
        return category_table(dataset.datasets[0])
    metainfo = dataset.metainfo
    if "category_ids" in metainfo:
        return list(zip(metainfo["category_ids"], metainfo["classes"]))
    dataset.full_init()
    if not hasattr(dataset, "cat_ids"):
        raise InputError(
            f"{type(dataset).__name__} has no category ids: expected an LVIS-style dataset"
        )
    return [(category_id, None) for category_id in dataset.cat_ids]


def _check_same_categories(datasets: Sequence[Any]) -> None:
    if not datasets:
        raise InputError("LVISConcatDataset: expected at least one dataset, got none")
    first = category_table(datasets[0])
    for number, dataset in enumerate(datasets[1:], 2):
        other = category_table(dataset)
        for label, (a, b) in enumerate(zip(first, other)):
            names_differ = None not in (a[1], b[1]) and a[1] != b[1]
            if a[0] != b[0] or names_differ:
                raise InputError(
                    f"dataset {number} ({_describe(dataset)}) has another vocabulary: label "
                    f"{label} is {_show(b)}, but {_show(a)} in dataset 1 "
                    f"({_describe(datasets[0])})"
                )
        if len(first) != len(other):
            raise InputError(
                f"dataset {number} ({_describe(dataset)}) has another vocabulary: "
                f"{len(other)} categories, but {len(first)} in dataset 1 "
                f"({_describe(datasets[0])})"
            )


def _metainfo_keys(datasets: Sequence[Any]) -> list[str]:
    """All of them: what mmengine would compare is compared above, with a clearer error."""
    return sorted({key for dataset in datasets for key in dataset.metainfo})


def _describe(dataset: Any) -> str:
    while hasattr(dataset, "dataset"):
        dataset = dataset.dataset
    return getattr(dataset, "ann_file", "") or type(dataset).__name__


def _show(row: tuple[int, str | None]) -> str:
    return f"category {row[0]}" if row[1] is None else f"{row[1]!r} (id {row[0]})"


def _first(names: Sequence[str], count: int = 3) -> str:
    shown = ", ".join(map(repr, names[:count]))
    return f"{shown}, ..." if len(names) > count else shown


@contextmanager
def _random_state_kept() -> Iterator[None]:
    """Generating inside a training run must not move that run's initial weights."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


