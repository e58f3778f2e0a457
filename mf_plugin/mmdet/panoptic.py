"""Panoptic training and measuring in MMDetection without panopticapi, which is on no package index.

`LoadPanopticMaps` and `PanopticQuality` stand for mmdet's LoadPanopticAnnotations and
CocoPanopticMetric, and read the same data.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.datasets.transforms import LoadAnnotations, LoadPanopticAnnotations
from mmdet.registry import METRICS, TRANSFORMS
from mmdet.structures import INSTANCE_OFFSET
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from PIL import Image

from mf_plugin.errors import InputError
from mf_plugin.evaluation.panoptic import panoptic_scores, pixels_of_ids
from mf_plugin.extras import require
from mf_plugin.generation.panoptic import decode_panoptic
from mf_plugin.lvis.io import read_categories, write_json_atomic

NO_SEGMENT = 0


@TRANSFORMS.register_module()
class LoadPanopticMaps(LoadPanopticAnnotations):
    """mmdet's LoadPanopticAnnotations with a decoder of its own."""

    def __init__(
        self,
        with_bbox: bool = True,
        with_label: bool = True,
        with_mask: bool = True,
        with_seg: bool = True,
        box_type: str = "hbox",
        imdecode_backend: str = "cv2",
        backend_args: dict | None = None,
    ) -> None:
        self.rgb2id = decode_panoptic
        LoadAnnotations.__init__(
            self,
            with_bbox=with_bbox,
            with_label=with_label,
            with_mask=with_mask,
            with_seg=with_seg,
            with_keypoints=False,
            box_type=box_type,
            imdecode_backend=imdecode_backend,
            backend_args=backend_args,
        )


@METRICS.register_module()
class PanopticQuality(BaseMetric):
    """PQ, SQ, RQ in percent: ``panoptic/PQ``, ``panoptic/PQ_th``, ``panoptic/PQ_st``, ...

    Writes the predictions in COCO's form: ``<prefix>.panoptic.json`` and ``<prefix>.panoptic/``.
    Under several processes the folder has to be one that all of them see.

    Args:
        ann_file (str): COCO's panoptic json.
        seg_prefix (str): the folder of its PNGs.
        outfile_prefix (str): where the predictions go.
        kwargs: BaseMetric's.

    Raises:
        InputError: the truth is missing, or a class of the dataset is not in it.
        MissingExtra: hotcoco is not installed.
    """

    default_prefix = "panoptic"

    def __init__(self, ann_file: str, seg_prefix: str, outfile_prefix: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        require("hotcoco", "eval")
        if not Path(ann_file).is_file() or not Path(seg_prefix).is_dir():
            raise InputError(
                f"PanopticQuality: expected the json {ann_file} and the folder {seg_prefix}"
            )
        self.ann_file, self.seg_prefix, self.outfile_prefix = ann_file, seg_prefix, outfile_prefix
        self._ids: tuple[int, ...] | None = None

    @property
    def folder(self) -> Path:
        return Path(f"{self.outfile_prefix}.panoptic")

    def category_ids(self) -> tuple[int, ...]:
        """By label: the dataset's classes in its order."""
        if self._ids is None:
            by_name = {c["name"]: c["id"] for c in read_categories(self.ann_file)}
            classes = self.dataset_meta["classes"]
            missing = [name for name in classes if name not in by_name]
            if missing:
                raise InputError(
                    f"PanopticQuality: {self.ann_file} has no category {missing[0]!r}, a class of "
                    "the dataset"
                )
            self._ids = tuple(by_name[name] for name in classes)
        return self._ids

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Write the map of each image; keep what the json says of its segments."""
        category_ids = self.category_ids()
        self.folder.mkdir(parents=True, exist_ok=True)
        for sample in data_samples:
            predicted = sample["pred_panoptic_seg"]["sem_seg"][0].cpu().numpy().astype(np.int64)
            ids, segments = to_segments(predicted, category_ids)
            name = f"{Path(sample['img_path']).stem}.png"
            Image.fromarray(pixels_of_ids(ids)).save(self.folder / name)
            self.results.append(
                {"image_id": sample["img_id"], "file_name": name, "segments_info": segments}
            )

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        path = Path(f"{self.outfile_prefix}.panoptic.json")
        write_json_atomic(path, {"annotations": results})
        print_log(f"{len(results)} panoptic maps in {self.folder}", "current", logging.INFO)
        return panoptic_scores(self.ann_file, self.seg_prefix, path, self.folder)


def to_segments(
    predicted: np.ndarray, category_ids: Sequence[int]
) -> tuple[np.ndarray, list[dict[str, int]]]:
    """A predicted map as segments, numbered from 1.

    Args:
        predicted: int[H, W], label + 1000 x instance, as mmdet codes it; a label that is no class
            is no segment.
        category_ids: by label.

    Returns:
        int64[H, W] of segment ids, 0 for none; and COCO's ``segments_info``.
    """
    ids = np.full(predicted.shape, NO_SEGMENT, np.int64)
    segments: list[dict[str, int]] = []
    for value, area in zip(*np.unique(predicted, return_counts=True), strict=True):
        label = int(value) % INSTANCE_OFFSET
        if label < len(category_ids):
            number = len(segments) + 1
            ids[predicted == value] = number
            segments.append(
                {"id": number, "category_id": int(category_ids[label]), "area": int(area)}
            )
    return ids, segments
