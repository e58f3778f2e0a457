"""Training from a yaml config: Detectron2's DefaultTrainer with our data, solver and evaluator."""

from __future__ import annotations

import logging
import weakref
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from detectron2.data import MetadataCatalog, build_detection_test_loader
from detectron2.engine import DefaultTrainer
from detectron2.evaluation import (
    CityscapesInstanceEvaluator,
    COCOEvaluator,
    DatasetEvaluator,
    PascalVOCDetectionEvaluator,
)
from detectron2.utils import comm
from detectron2.utils.events import EventWriter, TensorboardXWriter

from mf_plugin.detectron2.evaluator import RareAPEvaluator
from mf_plugin.detectron2.loaders import build_mapper, build_train_loader, sampler_of
from mf_plugin.detectron2.solver import build_optimizer
from mf_plugin.detectron2.weights import Checkpointer

logger = logging.getLogger(__name__)


class Trainer(DefaultTrainer):
    """DefaultTrainer that draws by our sampler, knows AdamW and measures rare categories.

    A run that is resumed goes on in the stream of draws where it stopped; Detectron2's own starts
    the stream anew.
    """

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg)
        self.checkpointer = Checkpointer(
            self._trainer.model, cfg.OUTPUT_DIR, trainer=weakref.proxy(self)
        )
        if cfg.TEST.AUG.ENABLED:
            logger.warning("TEST.AUG.ENABLED has no effect: test images are predicted once")

    def resume_or_load(self, resume: bool = True) -> None:
        super().resume_or_load(resume)
        skip_draws(self.data_loader, self.start_iter, self.cfg.SOLVER.IMS_PER_BATCH)

    @classmethod
    def build_train_loader(cls, cfg: Any) -> Any:
        return build_train_loader(cfg, build_mapper(cfg, is_train=True))

    @classmethod
    def build_test_loader(cls, cfg: Any, dataset_name: str) -> Any:
        mapper = build_mapper(cfg, is_train=False)
        return build_detection_test_loader(cfg, dataset_name, mapper=mapper)

    @classmethod
    def build_optimizer(cls, cfg: Any, model: torch.nn.Module) -> torch.optim.Optimizer:
        return build_optimizer(cfg, model)

    @classmethod
    def build_evaluator(cls, cfg: Any, dataset_name: str) -> DatasetEvaluator:
        kind = MetadataCatalog.get(dataset_name).get("evaluator_type")
        if kind == "lvis":
            return RareAPEvaluator(dataset_name, results_prefix(cfg, dataset_name))
        if kind == "coco":
            return COCOEvaluator(dataset_name, output_dir=str(Path(cfg.OUTPUT_DIR, "inference")))
        if kind == "pascal_voc":
            return PascalVOCDetectionEvaluator(dataset_name)
        if kind == "cityscapes_instance":
            return CityscapesInstanceEvaluator(dataset_name)
        return super().build_evaluator(cfg, dataset_name)

    def build_writers(self) -> list[EventWriter]:
        return usable_writers(super().build_writers())


def evaluate(cfg: Any, checkpoint: str) -> None:
    """Predict and measure the test sets of a config with the weights of a file."""
    model = Trainer.build_model(cfg)
    Checkpointer(model, save_dir=cfg.OUTPUT_DIR).load(checkpoint)
    Trainer.test(cfg, model)


def results_prefix(cfg: Any, dataset_name: str) -> str:
    """Where the predictions of a test set go: ``results``, with its name where there are more."""
    name = "results" if len(cfg.DATASETS.TEST) == 1 else f"results_{dataset_name}"
    return str(Path(cfg.OUTPUT_DIR, name))


def skip_draws(loader: Any, iterations: int, batch_size: int) -> None:
    """Start a loader's draws where a run of so many iterations has stopped."""
    sampler = sampler_of(loader)
    if sampler is not None:
        sampler.skip(iterations * (batch_size // comm.get_world_size()))


def usable_writers(writers: list[EventWriter]) -> list[EventWriter]:
    """Detectron2's writers less TensorBoard's where tensorboard is not installed."""
    if find_spec("tensorboard") is not None:
        return writers
    return [writer for writer in writers if not isinstance(writer, TensorboardXWriter)]
