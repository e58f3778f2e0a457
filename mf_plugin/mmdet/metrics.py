"""LVISResults writes the predictions of a test run, for `tools/eval_rare.py` to measure.
RareAP measures them as well, in training and after it, with eval_rare's numbers.

The format is that of mmdet's CocoMetric: ``<prefix>.segm.json`` carries boxes too, and
``<prefix>.bbox.json`` is written for a detector without masks.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from pycocotools import mask as mask_api

from mf_plugin.errors import InputError
from mf_plugin.evaluation.rare import evaluate_predictions, load_ground_truth
from mf_plugin.extras import require
from mf_plugin.lvis.io import read_categories, write_json_atomic


@METRICS.register_module()
class LVISResults(BaseMetric):
    """Dumps predictions as LVIS results; needs no ground truth.

    Args:
        outfile_prefix (str): path of the json file, less ``.segm.json``.
        kwargs: BaseMetric's.
    """

    default_prefix = "lvis"

    def __init__(self, outfile_prefix: str | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.outfile_prefix = outfile_prefix

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Add the predictions of a batch to ``self.results``, a list an image."""
        category_ids = self.category_ids()
        self.results.extend(to_lvis_results(sample, category_ids) for sample in data_samples)

    def category_ids(self) -> Sequence[int]:
        """The category id of each label."""
        category_ids = self.dataset_meta.get("category_ids")
        if category_ids is None:
            raise InputError(
                f"{type(self).__name__} expects an LVISJsonDataset, which knows category ids"
            )
        return category_ids

    def compute_metrics(self, results: list[list[dict]]) -> dict[str, float]:
        """Write the json; the number of detections is all there is to report."""
        detections = [detection for image in results for detection in image]
        self.write(detections)
        return {"detections": float(len(detections))}

    def write(self, detections: list[dict]) -> None:
        """Write the json, ``<prefix>.segm.json`` or ``<prefix>.bbox.json``."""
        has_masks = not detections or "segmentation" in detections[0]
        path = Path(f"{self.outfile_prefix}.{'segm' if has_masks else 'bbox'}.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json_atomic(path, detections)
        print_log(f"{len(detections)} detections in {path}", "current", logging.INFO)


@METRICS.register_module()
class RareAP(LVISResults):
    """LVIS AP by frequency group, in percent: ``lvis/segm_APr``, ``lvis/bbox_AP``, ...

    A group or size without ground truth is nan. For any dataset class of mmdet whose labels follow
    the order of its json: LVISJsonDataset, LVISV1Dataset, CocoDataset.

    Args:
        ann_file (str): the ground truth, in LVIS's form or COCO's.
        outfile_prefix (str, optional): writes the predictions too, as LVISResults does.
        train_ann_file (str, optional): gives the frequency groups where the ground truth has none.
        max_dets (int): detections of an image that count, the best over all categories.
        kwargs: BaseMetric's.

    Raises:
        InputError: a file is missing.
        MissingExtra: hotcoco is not installed.
    """

    def __init__(
        self,
        ann_file: str,
        outfile_prefix: str | None = None,
        train_ann_file: str | None = None,
        max_dets: int = 300,
        **kwargs: Any,
    ) -> None:
        super().__init__(outfile_prefix, **kwargs)
        require("hotcoco", "eval")
        for path in filter(None, (ann_file, train_ann_file)):
            if not Path(path).is_file():
                raise InputError(f"RareAP: {path} is not a file, expected annotations")
        self.ann_file, self.train_ann_file, self.max_dets = ann_file, train_ann_file, max_dets
        self._ids: list[int] | None = None

    def category_ids(self) -> Sequence[int]:
        """As the dataset says, or else the json's order, as mmdet's own datasets have it.

        Raises:
            InputError: the json is damaged, or lacks one of the dataset's classes.
        """
        if "category_ids" in self.dataset_meta:
            return self.dataset_meta["category_ids"]
        if self._ids is None:
            classes = set(self.dataset_meta["classes"])
            categories = read_categories(self.ann_file)
            self._ids = [c["id"] for c in categories if c["name"] in classes]
            if len(self._ids) != len(self.dataset_meta["classes"]):
                raise InputError(
                    f"RareAP: {self.ann_file} has {len(self._ids)} of the dataset's "
                    f"{len(self.dataset_meta['classes'])} classes, expected all"
                )
        return self._ids

    def compute_metrics(self, results: list[list[dict]]) -> dict[str, float]:
        """Every metric of `evaluation.rare.METRICS`, of boxes and of masks where there are some."""
        detections = [detection for image in results for detection in image]
        if self.outfile_prefix is not None:
            self.write(detections)
        truth = load_ground_truth(self.ann_file, self.train_ann_file)
        scores = evaluate_predictions(truth, detections, self.max_dets)
        return {f"{t}_{m}": value for t, found in scores.items() for m, value in found.items()}


def to_lvis_results(sample: dict, category_ids: Sequence[int]) -> list[dict]:
    """The predictions of one image, as dicts with image_id, category_id, bbox, score, segmentation.

    Args:
        sample: mmdet's DetDataSample as a dict; boxes x1, y1, x2, y2; masks bool[N, H, W].
        category_ids: by label.
    """
    predictions = sample["pred_instances"]
    boxes = predictions["bboxes"].cpu().numpy().astype(np.float64)
    boxes[:, 2:] -= boxes[:, :2]
    scores = predictions.get("mask_scores", predictions["scores"]).cpu().tolist()
    results = [
        {
            "image_id": sample["img_id"],
            "category_id": category_ids[label],
            "bbox": box,
            "score": score,
        }
        for label, box, score in zip(
            predictions["labels"].tolist(), boxes.tolist(), scores, strict=True
        )
    ]
    if "masks" in predictions:
        masks = predictions["masks"].cpu().numpy().astype(np.uint8).transpose(1, 2, 0)
        encoded = mask_api.encode(np.asfortranarray(masks))
        for result, rle in zip(results, encoded, strict=True):
            result["segmentation"] = {"size": rle["size"], "counts": rle["counts"].decode("ascii")}
    return results
