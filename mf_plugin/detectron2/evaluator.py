"""RareAPEvaluator: LVIS AP by frequency group during training, for any vocabulary.

The numbers are those of `mf_plugin.evaluation.rare`, which tools/eval_rare.py prints from the file
that is written here. Detectron2's LVISEvaluator needs the lvis package, whose release on PyPI does
not run under numpy 2.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from detectron2.data import MetadataCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.evaluation.coco_evaluation import instances_to_coco_json
from detectron2.utils import comm
from detectron2.utils.file_io import PathManager

from mf_plugin.detectron2.catalog import category_ids
from mf_plugin.errors import InputError
from mf_plugin.evaluation.rare import evaluate_predictions, load_ground_truth
from mf_plugin.extras import MissingExtra, require
from mf_plugin.lvis.io import write_json_atomic

logger = logging.getLogger(__name__)


class RareAPEvaluator(DatasetEvaluator):
    """Writes the predictions as LVIS results and measures them.

    Without hotcoco (extra ``eval``) it writes them alone, and says so when it is built.

    Args:
        dataset_name: a registered dataset with a ``json_file``.
        output_prefix: path of the results, less ``.segm.json`` (masks and boxes) or
            ``.bbox.json`` (a detector without masks); no file where absent.
        max_dets: detections of an image that count, the best over all categories.
        train_json: gives the frequency groups where the ground truth has none.
        distributed: whether other ranks hold predictions too.
    """

    def __init__(
        self,
        dataset_name: str | Sequence[str],
        output_prefix: str | None = None,
        max_dets: int = 300,
        train_json: str | None = None,
        distributed: bool = True,
    ) -> None:
        if not isinstance(dataset_name, str):
            dataset_name = _only(dataset_name)
        self._category_ids = category_ids(dataset_name)
        json_file = MetadataCatalog.get(dataset_name).get("json_file")
        if json_file is None:
            raise InputError(f"dataset {dataset_name!r} has no json_file in its metadata")
        self._json_file = PathManager.get_local_path(json_file)
        self._output_prefix = output_prefix
        self._max_dets = max_dets
        self._train_json = train_json
        self._distributed = distributed
        self._predictions: list[dict[str, Any]] = []
        try:
            require("hotcoco", "eval")
            self._measures = True
        except MissingExtra as error:
            self._measures = False
            logger.warning("predictions of %s are written, not measured: %s", dataset_name, error)

    def reset(self) -> None:
        """Forget all predictions."""
        self._predictions = []

    def process(self, inputs: Sequence[dict], outputs: Sequence[dict]) -> None:
        """Add the predictions of a batch; label -> category id."""
        for given, output in zip(inputs, outputs, strict=True):
            instances = output["instances"].to(torch.device("cpu"))
            for found in instances_to_coco_json(instances, given["image_id"]):
                found["category_id"] = self._category_ids[found["category_id"]]
                self._predictions.append(found)

    def evaluate(self) -> dict[str, dict[str, float]] | None:
        """``{"bbox": {"AP": ..., "APr": ...}, "segm": ...}`` in percent; a group without ground
        truth is nan. None on every rank but the first."""
        predictions = self._predictions
        if self._distributed:
            comm.synchronize()
            gathered = comm.gather(self._predictions, dst=0)
            if not comm.is_main_process():
                return None
            predictions = list(itertools.chain.from_iterable(gathered))
        if self._output_prefix is not None:
            kind = "segm" if any("segmentation" in p for p in predictions) else "bbox"
            path = Path(f"{self._output_prefix}.{kind}.json")
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json_atomic(path, predictions)
            logger.info("%d detections in %s", len(predictions), path)
        if not self._measures:
            return {}
        truth = load_ground_truth(self._json_file, self._train_json)
        return evaluate_predictions(truth, predictions, self._max_dets)


def _only(names: Sequence[str]) -> str:
    names = list(names)
    if len(names) != 1:
        raise InputError(f"RareAPEvaluator measures one dataset, got {', '.join(names) or 'none'}")
    return names[0]
