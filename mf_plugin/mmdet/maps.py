"""Synthetic folders with label maps, for semantic and panoptic training.

Beside annotations.json such a folder holds labels/<image>.png. For semantic training a pixel is the
place of its category in the json, from 1, 0 where there is none and 255 where it is not to be
counted; for panoptic training COCO's panoptic.json says what the segments are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmdet.datasets import BaseSegDataset, CocoPanopticDataset
from mmdet.registry import DATASETS

from mf_plugin.data.categories import Label, match_categories
from mf_plugin.errors import InputError
from mf_plugin.generation.panoptic import PANOPTIC
from mf_plugin.generation.records import LABELS
from mf_plugin.lvis.io import image_path, read_lvis
from mf_plugin.mmdet.datasets import SyntheticFolder
from mf_plugin.mmdet.image_categories import KeepsCategories
from mf_plugin.mmdet.labels import json_labels

IGNORED = 255  # mmdet's label of a pixel that is not counted
MOST_CLASSES = 254  # 255 is none, and `reduce_zero_label` takes one more value


@DATASETS.register_module()
class SyntheticPanopticDataset(SyntheticFolder, KeepsCategories, CocoPanopticDataset):
    """A synthetic folder of kind "panoptic", with the classes of a real CocoPanopticDataset.

    Whether a category is a thing, the real dataset says; where it stands alone, its own json.

    Args:
        root (str): the folder.
        generation_config (str, optional): what it is generated from where it is missing.
        class_labels (Sequence[Label], optional): the classes of the real dataset.
        kwargs: CocoPanopticDataset's, less the paths.

    Raises:
        InputError: the folder is no panoptic dataset, or a category fits no class.
    """

    def __init__(
        self,
        root: str,
        generation_config: str | None = None,
        class_labels: Sequence[Label] | None = None,
        **kwargs: Any,
    ) -> None:
        self.ensure(root, generation_config)
        self._given_labels = class_labels
        super().__init__(
            data_root=str(Path(root)),
            ann_file=PANOPTIC,
            data_prefix=dict(img="images", seg=LABELS),
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        """One record an image, as CocoPanopticDataset makes them."""
        path = Path(self.ann_file)
        if not path.is_file():
            raise InputError(
                f"{self.root} holds no {PANOPTIC}: panoptic training expects a folder that was "
                "generated with kind='panoptic'"
            )
        data = read_lvis(path)
        self._take_classes(data)
        segments = defaultdict(list)
        for annotation in data["annotations"]:
            segments[annotation["image_id"]] = annotation["segments_info"]
        return [self._record(image, segments[image["id"]]) for image in data["images"]]

    def _take_classes(self, data: Mapping[str, Any]) -> None:
        used = {s["category_id"] for a in data["annotations"] for s in a["segments_info"]}
        categories = data["categories"]
        if self._given_labels is None:
            names = tuple(c["name"] for c in categories)
            things = tuple(c["name"] for c in categories if c["isthing"])
            stuff = tuple(name for name in names if name not in set(things))
            self.cat2label = {c["id"]: label for label, c in enumerate(categories)}
            self.class_labels = json_labels(categories, self.cat2label)
            self._metainfo.update(classes=names, thing_classes=things, stuff_classes=stuff)
        else:
            labels = self._given_labels
            self.cat2label = match_categories(categories, labels, used, str(self.ann_file))
            self.class_labels = tuple(labels)
        self.cat_ids = sorted(self.cat2label, key=self.cat2label.__getitem__)

    def _record(self, image: Mapping[str, Any], segments: Sequence[Mapping[str, Any]]) -> dict:
        things = set(self._metainfo["thing_classes"])
        classes = self._metainfo["classes"]
        infos, instances = [], []
        for segment in segments:
            label = self.cat2label[segment["category_id"]]
            thing = classes[label] in things
            infos.append(dict(id=segment["id"], category=label, is_thing=thing))
            if thing:
                x, y, width, height = segment["bbox"]
                box = [x, y, x + width, y + height]
                instances.append(dict(bbox=box, bbox_label=label, ignore_flag=0))
        stem = Path(image["file_name"]).stem
        record = dict(
            img_path=str(Path(self.data_prefix["img"], Path(image["file_name"]).name)),
            img_id=image["id"],
            seg_map_path=str(Path(self.data_prefix["seg"], f"{stem}.png")),
            height=image["height"],
            width=image["width"],
            instances=instances,
            segments_info=infos,
        )
        if "source_image_id" in image:
            record["source_image_id"] = image["source_image_id"]
        return record


@DATASETS.register_module()
class SyntheticSegDataset(SyntheticFolder, BaseSegDataset):
    """A synthetic folder of kind "semantic", with the classes of a real BaseSegDataset.

    An image's source is known by the name of its file: mmdet gives such images no ids.

    Args:
        root (str): the folder.
        generation_config (str, optional): what it is generated from where it is missing.
        class_labels (Sequence[Label], optional): the classes of the real dataset; the json's own
            where absent.
        return_classes (bool): whether a record names all classes, as ADE20KSegDataset's can.
        kwargs: BaseSegDataset's, less the paths.

    Raises:
        InputError: the folder has no label maps, a category fits no class, or there are more
            classes than mmdet's label maps can hold.
    """

    def __init__(
        self,
        root: str,
        generation_config: str | None = None,
        class_labels: Sequence[Label] | None = None,
        return_classes: bool = False,
        **kwargs: Any,
    ) -> None:
        self.ensure(root, generation_config)
        self._given_labels, self._return_classes = class_labels, return_classes
        super().__init__(
            data_root=str(Path(root)),
            data_prefix=dict(img_path="images", seg_map_path=LABELS),
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        """One record an image, as ADE20KSegDataset makes them."""
        data = read_lvis(self.annotations_file)
        folder = Path(self.data_prefix["seg_map_path"])
        label_map = self._label_map(data)
        records = []
        for image in data["images"]:
            path = Path(self.root, image_path(image))
            labels = folder / f"{path.stem}.png"
            if not labels.is_file():
                raise InputError(
                    f"{labels} is missing: semantic training expects a folder that was generated "
                    "with kind='semantic'"
                )
            record: dict[str, Any] = dict(
                img_path=str(path), seg_map_path=str(labels), label_map=label_map
            )
            if self._return_classes:
                record["text"] = list(self._metainfo["classes"])
            if "source_file_name" in image:
                record["source_image_id"] = Path(image["source_file_name"]).name
            records.append(record)
        return records

    def _label_map(self, data: Mapping[str, Any]) -> dict[int, int] | None:
        """Value of a pixel -> label, after what the pipeline does to zero; None for no change."""
        categories = data["categories"]
        used = {annotation["category_id"] for annotation in data["annotations"]}
        if self._given_labels is None:
            label_of = {c["id"]: label for label, c in enumerate(categories)}
            self.class_labels = json_labels(categories, label_of)
            self._metainfo.update(classes=tuple(c["name"] for c in categories))
        else:
            self.class_labels = tuple(self._given_labels)
            where = str(self.annotations_file)
            label_of = match_categories(categories, self.class_labels, used, where)
        if max(len(categories), len(self.class_labels)) > MOST_CLASSES:
            raise InputError(
                f"{self.root}: {len(categories)} categories for {len(self.class_labels)} classes: "
                f"mmdet's label maps hold {MOST_CLASSES}"
            )
        steps = self.pipeline.transforms
        reduced = any(getattr(step, "reduce_zero_label", False) for step in steps)
        labels = [label_of.get(category["id"], IGNORED) for category in categories]
        values = dict(enumerate(labels, start=0 if reduced else 1))
        if not reduced:
            values[0] = IGNORED
        changed = {value: label for value, label in values.items() if value != label}
        return changed or None
