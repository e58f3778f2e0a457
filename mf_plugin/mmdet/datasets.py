"""LVIS-format datasets for MMDetection: any vocabulary, and synthetic ones.

Shapes: N images of a dataset.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from mmdet.datasets import LVISV1Dataset
from mmdet.registry import DATASETS

from mf_plugin.data.categories import Label, match_categories
from mf_plugin.data.provider import SyntheticDataset
from mf_plugin.data.randomness import random_state_kept
from mf_plugin.device import find_device
from mf_plugin.errors import InputError
from mf_plugin.lvis.io import image_path, read_lvis, validate_lvis
from mf_plugin.mmdet.image_categories import KeepsCategories
from mf_plugin.mmdet.labels import json_labels


@DATASETS.register_module()
class LVISJsonDataset(KeepsCategories, LVISV1Dataset):
    """An LVIS v1 dataset whose classes are the json's own categories, in the json's order.

    mmdet's LVISV1Dataset knows LVIS's 1203 names alone. Reads without the `lvis` package.
    ``class_labels`` holds the classes by label once it is loaded.

    Args:
        ann_file (str): the annotation json, below ``data_root``.
        data_root (str): folder of the dataset.
        data_prefix (dict): ``img``, the folder that the paths in ``coco_url`` start from, below
            ``data_root``.
        validate (bool): check the json, and that each image is on disk, before the first
            iteration. Off, it also takes RLE masks and images that are not on a local disk.
        class_labels (Sequence[Label], optional): the classes of another dataset, that the json's
            categories are matched to; the json's own where absent.
        kwargs: LVISV1Dataset's; ``metainfo`` may not name other classes.

    Raises:
        InputError: the json is missing, truncated or inconsistent, an image is missing, or a
            category fits none of the classes that are given.
    """

    METAINFO: dict = {}

    def __init__(
        self,
        ann_file: str,
        data_root: str = "",
        data_prefix: Mapping[str, str] = MappingProxyType({"img": ""}),
        validate: bool = True,
        class_labels: Sequence[Label] | None = None,
        **kwargs: Any,
    ) -> None:
        self.validate = validate
        self._given_labels = class_labels
        super().__init__(
            ann_file=ann_file, data_root=data_root, data_prefix=dict(data_prefix), **kwargs
        )

    @property
    def metainfo(self) -> dict:
        """``classes`` (names) and ``category_ids``, both in the order of the labels."""
        if self._given_labels is None and "category_ids" not in self._metainfo:
            self.full_init()
        return super().metainfo

    def load_data_list(self) -> list[dict]:
        """One record an image, as mmdet's CocoDataset makes them."""
        data = read_lvis(self.ann_file)
        if self.validate:
            try:
                validate_lvis(data, self.data_prefix.get("img") or ".", nested=True, linked=True)
            except InputError as error:
                raise InputError(f"{self.ann_file}: {error}") from None
        if self._given_labels is None:
            self._take_classes(data["categories"])
        else:
            self._match_classes(data, self._given_labels)

        annotations = defaultdict(list)
        self.cat_img_map: dict[int, list[int]] = defaultdict(list)
        for annotation in data["annotations"]:
            annotations[annotation["image_id"]].append(annotation)
            self.cat_img_map[annotation["category_id"]].append(annotation["image_id"])
        return [self._record(image, annotations[image["id"]]) for image in data["images"]]

    def _record(self, image: Mapping[str, Any], annotations: list[dict]) -> dict:
        named = {**image, "img_id": image["id"], "file_name": image_path(image)}
        record = self.parse_data_info({"raw_img_info": named, "raw_ann_info": annotations})
        if "source_image_id" in image:
            record["source_image_id"] = image["source_image_id"]
        return record

    def _take_classes(self, categories: list[dict]) -> None:
        names = tuple(category["name"] for category in categories)
        asked = self._metainfo.get("classes")
        if asked is not None and tuple(asked) != names:
            raise InputError(
                f"{self.ann_file}: metainfo asks for the {len(asked)} classes {_first(asked)}, "
                f"the json lists {len(names)}, {_first(names)}; labels follow the json"
            )
        self.cat_ids = [category["id"] for category in categories]
        self.cat2label = {category_id: label for label, category_id in enumerate(self.cat_ids)}
        self.class_labels = json_labels(categories, self.cat2label)
        self._metainfo.update(classes=names, category_ids=tuple(self.cat_ids))

    def _match_classes(self, data: Mapping[str, Any], labels: Sequence[Label]) -> None:
        used = {annotation["category_id"] for annotation in data["annotations"]}
        self.cat2label = match_categories(data["categories"], labels, used, self.ann_file)
        self.cat_ids = sorted(self.cat2label, key=self.cat2label.__getitem__)
        self.class_labels = tuple(labels)
        self._metainfo.setdefault("classes", tuple(label.names[0] for label in labels))


class SyntheticFolder:
    """Mixed into a dataset whose images were generated.

    Under several processes one generates, the others wait for its lock: a barrier would run into
    the time limit of the process group.

    Attributes:
        root: the folder.
        annotations_file: its LVIS json.
        image_root: the folder that the paths in ``coco_url`` start from.
    """

    is_synthetic = True

    def ensure(self, root: str, generation_config: str | None = None) -> None:
        """The folder is there and complete; generated now where a config is given.

        Raises:
            InputError: it is no synthetic dataset, and no config says how to make it one.
        """
        dataset = SyntheticDataset(root, generation_config)
        with random_state_kept():
            dataset.ensure(find_device())
        self.root = str(dataset.root)
        self.annotations_file = dataset.annotations_file
        self.image_root = dataset.image_root


@DATASETS.register_module()
class SyntheticLVISDataset(SyntheticFolder, LVISJsonDataset):
    """A synthetic dataset by its folder; generated first where a config is given and it is missing.

    In an LVISConcatDataset it has the real set's classes.

    Args:
        root (str): folder with ``annotations.json`` and ``images/``.
        generation_config (str, optional): a file of configs/generation/.
        kwargs: LVISJsonDataset's, less ``ann_file``, ``data_root`` and ``data_prefix``.

    Raises:
        InputError: the folder is no synthetic dataset, and no config says how to make it one; or
            its categories do not fit the classes.
    """

    def __init__(self, root: str, generation_config: str | None = None, **kwargs: Any) -> None:
        self.ensure(root, generation_config)
        super().__init__(
            ann_file=str(self.annotations_file),
            data_prefix=dict(img=str(self.image_root)),
            validate=False,  # `ensure` has done it
            **kwargs,
        )


def _first(names: Sequence[str], count: int = 3) -> str:
    shown = ", ".join(map(repr, names[:count]))
    return f"{shown}, ..." if len(names) > count else shown
