"""Which categories are in which image, and which images are synthetic, of any dataset of mmdet.

mmdet pickles the record of each image when a dataset is loaded; asking for an image's labels later
unpickles its polygons too, which takes seconds at LVIS's size. So where a dataset of ours, or one
inside our union, is loaded, the table of labels and the image ids are kept (`KeepsCategories`,
`build_keeping`).

Shapes: N images of a dataset.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.datasets import BaseDetDataset, BaseSegDataset
from mmdet.registry import DATASETS
from mmengine.dataset import BaseDataset, ClassBalancedDataset, ConcatDataset, RepeatDataset
from tqdm import tqdm

from mf_plugin.data.image_categories import ImageCategories
from mf_plugin.errors import InputError

BAR_FROM = 20_000  # images from which reading their categories may take seconds
# Methods that pass on what is in a record or in the wrapped dataset, and change no label.
PASSING_INFO = (
    None,
    BaseDataset.get_data_info,
    ClassBalancedDataset.get_data_info,
    ConcatDataset.get_data_info,
    RepeatDataset.get_data_info,
)
PASSING_LABELS = (None, BaseDetDataset.get_cat_ids, ClassBalancedDataset.get_cat_ids)


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


def image_categories(dataset: Any) -> ImageCategories:
    """The labels in all N images, of any dataset with boxes, wrapped or not.

    From the table that was kept where there is one; else image by image, under a progress bar
    where there are many. A semantic dataset's images count as without labels.

    Raises:
        InputError: a dataset in it has no labels that could be read.
    """
    if isinstance(dataset, BaseSegDataset):  # in its label maps, which nobody reads in advance
        return ImageCategories.from_lists([[]] * len(dataset))
    if not _passes_labels_on(dataset):
        return ImageCategories.from_lists(_one_by_one(dataset))
    if hasattr(dataset, "datasets"):
        return ImageCategories.concatenate([image_categories(d) for d in dataset.datasets])
    if hasattr(dataset, "repeat_indices"):
        return image_categories(dataset.dataset).take(np.asarray(dataset.repeat_indices))
    if hasattr(dataset, "dataset"):
        inner = image_categories(dataset.dataset)
        if len(dataset) == len(inner):
            return inner
        return inner.take(np.arange(len(dataset)) % max(1, len(inner)))
    table = _kept(dataset)
    return ImageCategories.from_lists(_one_by_one(dataset)) if table is None else table


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


class KeepsCategories(BaseDetDataset):
    """Mixed into a BaseDetDataset: keeps the table of its labels when its records are pickled."""

    def _serialize_data(self) -> tuple[np.ndarray, np.ndarray]:
        _check_not_empty(self)
        table, ids = _table_of_records(self.data_list), ids_of_records(self.data_list)
        data_bytes, data_address = super()._serialize_data()
        self._categories, self._ids = (data_address, table), (data_address, ids)
        return data_bytes, data_address


def build_keeping(config: Mapping[str, Any]) -> Any:
    """The dataset of a config, with the table of its labels kept where it is one of mmdet's own.

    Its records are loaded unpickled first, which costs no second copy: mmdet has them in memory
    at that moment anyway.

    Raises:
        InputError: it has no images.
    """
    kind = config.get("type")
    kind = DATASETS.get(kind) if isinstance(kind, str) else kind
    if (
        config.get("lazy_init", False)
        or not (isinstance(kind, type) and issubclass(kind, BaseDetDataset))
        or issubclass(kind, KeepsCategories)
        or kind.__init__ is not BaseDetDataset.__init__
        or getattr(kind, "full_init", None) is not BaseDetDataset.full_init
    ):
        return DATASETS.build(config)
    dataset = DATASETS.build({**config, "lazy_init": True})
    pickled, dataset.serialize_data = dataset.serialize_data, False
    dataset.full_init()
    if pickled:
        dataset.serialize_data = True
        _check_not_empty(dataset)
        table, ids = _table_of_records(dataset.data_list), ids_of_records(dataset.data_list)
        dataset.data_bytes, dataset.data_address = dataset._serialize_data()
        dataset._categories = (dataset.data_address, table)
        dataset._ids = (dataset.data_address, ids)
    return dataset


def ids_of_records(records: Iterable[Mapping[str, Any]]) -> list[tuple[Any, Any]]:
    """N pairs: the id of each image, and that of the real image that it was made of or None."""
    return [(_id_of_record(r), r.get("source_image_id")) for r in records]


def _id_of_record(record: Mapping[str, Any]) -> Any:
    """Its id; the name of its file where it has none, as in mmdet's semantic datasets."""
    if "img_id" in record or "img_path" not in record:
        return record.get("img_id")
    return Path(record["img_path"]).name


def kept_ids(dataset: Any) -> list[tuple[Any, Any]] | None:
    """`ids_of_records` of a dataset as kept, while they are those of the records it has."""
    address, ids = getattr(dataset, "_ids", (None, None))
    return ids if ids is not None and address is dataset.data_address else None


def _check_not_empty(dataset: BaseDetDataset) -> None:
    """Raises InputError for a dataset without images, of which mmengine can pickle no records."""
    if not dataset.data_list:
        raise InputError(
            f"{dataset.ann_file} has no images: expected one or more that its filter_cfg does not "
            "filter out"
        )


def _passes_labels_on(dataset: Any) -> bool:
    """Whether a dataset's labels are those of its records or parts, not what it says itself."""
    kind = type(dataset)
    if getattr(kind, "get_data_info", None) not in PASSING_INFO:
        return False
    return issubclass(kind, ConcatDataset) or getattr(kind, "get_cat_ids", None) in PASSING_LABELS


def _kept(dataset: Any) -> ImageCategories | None:
    """The table of a BaseDetDataset, while it is that of the records it has; None elsewhere."""
    if not isinstance(dataset, BaseDetDataset):
        return None
    dataset.full_init()
    if not dataset.serialize_data:
        return _table_of_records(dataset.data_list)
    address, table = getattr(dataset, "_categories", (None, None))
    return table if address is dataset.data_address else None


def _one_by_one(dataset: Any) -> Iterator[list[int]]:
    images = range(len(dataset))
    for i in tqdm(images, desc="categories of images", disable=len(images) < BAR_FROM):
        yield categories_of(dataset, i)


def _table_of_records(records: Sequence[Mapping[str, Any]]) -> ImageCategories:
    instances = [record["instances"] for record in records]
    lengths = np.fromiter(map(len, instances), np.int64, len(instances))
    found = (instance["bbox_label"] for instance in chain.from_iterable(instances))
    labels = np.fromiter(found, np.int64, int(lengths.sum()))
    index = np.repeat(np.arange(len(instances)), lengths)
    return ImageCategories.from_instances(index, labels, len(instances))
