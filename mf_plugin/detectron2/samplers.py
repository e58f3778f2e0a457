"""RepeatFactorSampler: an endless stream of epochs in which rare images come up more often.

The numbers and the draws are `mf_plugin.data.sampling`'s, so that a run of Detectron2 and one of
MMDetection with the same seed and data see the same images in the same order.

detectron2's own RepeatFactorTrainingSampler has the policy ``joint`` alone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch.distributed as dist
from torch.utils.data import Sampler

from mf_plugin.data.draws import plan_draws
from mf_plugin.data.replacement import Replacement
from mf_plugin.data.sampling import endless_draws
from mf_plugin.detectron2.records import image_categories, image_sources, synthetic_folders
from mf_plugin.errors import InputError

logger = logging.getLogger(__name__)


class RepeatFactorSampler(Sampler):
    """Draws images by their repeat factors, without end.

    Args:
        factors: float[N], the expected draws of each image in an epoch.
        seed: of the draws, 0 or more, the same on all ranks.
        rank: of this process; taken from torch.distributed where absent.
        world_size: number of processes; likewise.
        replacement: which draws are replaced by synthetic images.
    """

    def __init__(
        self,
        factors: np.ndarray,
        seed: int,
        rank: int | None = None,
        world_size: int | None = None,
        replacement: Replacement | None = None,
    ) -> None:
        if len(factors) == 0:
            raise InputError(
                "the training set has 0 images: expected one or more in DATASETS.TRAIN, or in a "
                "LazyConfig's dataloader.train.dataset, that no filter takes out"
            )
        if seed < 0:
            raise InputError(f"seed {seed} of the sampler: expected 0 or more")
        self.factors = np.asarray(factors, dtype=np.float64)
        self.seed = seed
        self.replacement = replacement
        together = dist.is_available() and dist.is_initialized()
        self.rank = rank if rank is not None else dist.get_rank() if together else 0
        if world_size is None:
            world_size = dist.get_world_size() if together else 1
        self.world_size = world_size
        self._skipped = 0

    def __iter__(self) -> Iterator[int]:
        """This rank's indices, endless."""
        return endless_draws(
            self.factors, self.seed, self.rank, self.world_size, self._skipped, self.replacement
        )

    def skip(self, num_samples: int) -> None:
        """Start ``num_samples`` draws of this rank later, as a resumed run has to."""
        self._skipped = num_samples


def sampler_for(
    records: Sequence[Mapping[str, Any]],
    threshold: float,
    policy: str,
    ratio: float | Sequence[float] | None,
    seed: int,
) -> RepeatFactorSampler:
    """The sampler of a training set.

    Args:
        records: detectron2 dataset dicts; those of generated images have ``synthetic``.
        threshold: t of the repeat factors; 0 draws each image once an epoch.
        policy: ``joint``, ``real``, ``ratio``, ``replace`` or ``synthetic``, see
            `sampling.repeat_factors`.
        ratio: share of the synthetic images under ``ratio``, probability that a real one is
            replaced under ``replace``; one for all folders, or one for each in their order.
        seed: of the draws.

    Raises:
        InputError: an argument is out of range, or there is no image.
    """
    draws = plan_draws(
        image_categories(records),
        synthetic_folders(records),
        threshold,
        policy,
        ratio,
        lambda: image_sources(records),
    )
    logger.info(draws.text)
    return RepeatFactorSampler(draws.factors, seed, replacement=draws.replacement)
