"""LVISResults: writes the predictions of a test run; `tools/eval_rare.py` does the measuring.

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
from mf_plugin.lvis.io import write_json_atomic


@METRICS.register_module()
class LVISResults(BaseMetric):
    """Dumps predictions as LVIS results; needs no ground truth.

    Args:
        outfile_prefix (str): path of the json file, less ``.segm.json``.
        kwargs: BaseMetric's.
    """

    default_prefix = "lvis"

    def __init__(self, outfile_prefix: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.outfile_prefix = outfile_prefix

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Add the predictions of a batch to ``self.results``, a list an image."""
        category_ids = self.dataset_meta.get("category_ids")
        if category_ids is None:
            raise InputError("LVISResults expects an LVISJsonDataset, which knows category ids")
        self.results.extend(to_lvis_results(sample, category_ids) for sample in data_samples)

    def compute_metrics(self, results: list[list[dict]]) -> dict[str, float]:
        """Write the json; the number of detections is all there is to report."""
        detections = [detection for image in results for detection in image]
        has_masks = not detections or "segmentation" in detections[0]
        path = Path(f"{self.outfile_prefix}.{'segm' if has_masks else 'bbox'}.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json_atomic(path, detections)
        print_log(f"{len(detections)} detections in {path}", "current", logging.INFO)
        return {"detections": float(len(detections))}


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
        for label, box, score in zip(predictions["labels"].tolist(), boxes.tolist(), scores)
    ]
    if "masks" in predictions:
        masks = predictions["masks"].cpu().numpy().astype(np.uint8).transpose(1, 2, 0)
        for result, rle in zip(results, mask_api.encode(np.asfortranarray(masks))):
            result["segmentation"] = {"size": rle["size"], "counts": rle["counts"].decode("ascii")}
    return results
