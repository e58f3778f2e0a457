"""Training loaders whose repeat factors tell real images from synthetic ones.

Both take Detectron2's ``build_detection_train_loader`` as it is and give it `RepeatFactorSampler`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from detectron2.data import (
    DatasetMapper,
    build_detection_train_loader,
    get_detection_dataset_dicts,
)
from detectron2.utils import comm
from detectron2.utils.registry import locate

from mf_plugin.detectron2.samplers import RepeatFactorSampler, sampler_for
from mf_plugin.extras import require

REPEATING, PLAIN = "RepeatFactorTrainingSampler", "TrainingSampler"


def build_train_loader(cfg: Any, mapper: Callable | None = None) -> Any:
    """Detectron2's training loader for a yaml config, with our sampler in the place of its own.

    RepeatFactorTrainingSampler and TrainingSampler give way, since ours draws from the same
    distribution (t = DATALOADER.REPEAT_THRESHOLD, or 0); any other sampler stays.
    """
    threshold = threshold_of(cfg)
    if threshold is None:
        return build_detection_train_loader(cfg, mapper=mapper)
    records = get_detection_dataset_dicts(
        cfg.DATASETS.TRAIN,
        filter_empty=cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS,
        min_keypoints=(
            cfg.MODEL.ROI_KEYPOINT_HEAD.MIN_KEYPOINTS_PER_IMAGE if cfg.MODEL.KEYPOINT_ON else 0
        ),
        proposal_files=cfg.DATASETS.PROPOSAL_FILES_TRAIN if cfg.MODEL.LOAD_PROPOSALS else None,
    )
    sampler = None
    if isinstance(records, list):
        ours = cfg.get("MOSAICFUSION", {})
        policy, ratio = ours.get("POLICY", "joint"), ours.get("RATIO")
        sampler = sampler_for(records, threshold, policy, ratio, shared_seed(cfg.SEED))
    return build_detection_train_loader(cfg, dataset=records, sampler=sampler, mapper=mapper)


def build_lazy_train_loader(
    dataset: Sequence[dict],
    *,
    threshold: float,
    policy: str = "joint",
    ratio: float | Sequence[float] | None = None,
    seed: int = -1,
    loader: Callable | str = build_detection_train_loader,
    **kwargs: Any,
) -> Any:
    """What ``dataloader.train`` of a LazyConfig is made to call.

    The usual ``sampler=L(...)(dataset_dicts="${dataloader.train.dataset}")`` reads the dataset a
    second time; here the sampler is built from what was read once.

    Args:
        dataset: dataset dicts.
        threshold, policy, ratio, seed: of `sampler_for`; a seed below 0 is drawn.
        loader: what the config called, or its dotted name.
        kwargs: its other arguments.
    """
    ratio = list(ratio) if isinstance(ratio, Sequence) else ratio  # omegaconf's own list
    sampler = sampler_for(dataset, threshold, policy, ratio, shared_seed(seed))
    loader = locate(loader) if isinstance(loader, str) else loader
    return loader(dataset=dataset, sampler=sampler, **kwargs)


def threshold_of(cfg: Any) -> float | None:
    """t of the config's sampler; None where it is none that ours stands for."""
    name = cfg.DATALOADER.SAMPLER_TRAIN
    if name == PLAIN:
        return 0.0
    if name == REPEATING and cfg.DATALOADER.get("REPEAT_SQRT", True):
        return float(cfg.DATALOADER.REPEAT_THRESHOLD)
    return None


def build_mapper(cfg: Any, is_train: bool) -> DatasetMapper | None:
    """The mapper for INPUT.CUSTOM_AUG, a key of CenterNet2; None where Detectron2's own serves."""
    custom = cfg.INPUT.get("CUSTOM_AUG", "")
    if not custom or not (is_train or cfg.INPUT.TEST_INPUT_TYPE != "default"):
        return None
    module = require("centernet.data.custom_build_augmentation", "detectron2")
    augmentations = module.build_custom_augmentation(cfg, is_train)
    return DatasetMapper(cfg, is_train, augmentations=augmentations)


def sampler_of(loader: Any) -> RepeatFactorSampler | None:
    """Our sampler inside a loader of Detectron2, which wraps it several times; None if none is."""
    while loader is not None:
        sampler = getattr(loader, "sampler", None)
        if isinstance(sampler, RepeatFactorSampler):
            return sampler
        loader = getattr(loader, "dataset", None)
    return None


def shared_seed(seed: int) -> int:
    """``seed``, or where it is negative a random one that all ranks share."""
    return seed if seed >= 0 else comm.shared_random_seed()
