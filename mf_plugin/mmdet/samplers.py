"""RepeatFactorSampler: an endless stream of epochs in which rare images come up more often.

The numbers and the draws are `mf_plugin.data.sampling`'s, the same for both frameworks.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Iterator, Sequence, Sized
from typing import Any

import numpy as np
from mmdet.registry import DATA_SAMPLERS
from mmengine.dist import get_dist_info, sync_random_seed
from mmengine.logging import print_log
from torch.utils.data import Sampler

from mf_plugin.data.draws import plan_draws
from mf_plugin.data.sampling import repeat_factors
from mf_plugin.errors import InputError
from mf_plugin.mmdet.image_categories import image_categories
from mf_plugin.mmdet.image_sources import image_sources, synthetic_folders


@DATA_SAMPLERS.register_module()
class RepeatFactorSampler(Sampler):
    """Draws images by their repeat factors, for iteration-based and epoch-based loops.

    Args:
        dataset: anything that `image_categories` can read.
        threshold (float): t of the repeat factors; 0 draws each image once an epoch.
        policy (str): ``joint``, ``real``, ``ratio``, ``replace`` or ``synthetic``, see
            `sampling.repeat_factors`.
        synthetic_ratio (float or list of float, optional): share of the synthetic images under
            ``ratio``, probability that a real one is replaced under ``replace``; one for all
            synthetic datasets, or one for each in their order.
        epoch (str): ``endless`` for iteration-based loops. ``real`` for epoch-based ones: an
            epoch is as long as ClassBalancedDataset makes it for the real images alone, so that
            synthetic images change what is drawn and not how many steps are taken. The epochs
            are cut one after the other from the endless stream; where the ranks do not divide
            its length, an epoch is as much longer as makes them equal.
        seed (int, optional): of the draws; the run's own where absent.

    Raises:
        InputError: an argument is out of range, or the dataset is empty.
    """

    def __init__(
        self,
        dataset: Sized,
        threshold: float = 0.0,
        policy: str = "joint",
        synthetic_ratio: float | Sequence[float] | None = None,
        epoch: str = "endless",
        seed: int | None = None,
    ) -> None:
        if epoch not in ("endless", "real"):
            raise InputError(f"epoch {epoch!r}: expected 'endless' or 'real'")
        if len(dataset) == 0:
            raise InputError(
                f"the training set {', '.join(_names(dataset))} has no images: expected one or "
                "more that its filter_cfg does not filter out"
            )
        self.dataset = dataset  # mmdet's AspectRatioBatchSampler asks for it
        self.rank, self.world_size = get_dist_info()
        self.seed = sync_random_seed() if seed is None else seed
        table, folders = image_categories(dataset), synthetic_folders(dataset)
        synthetic = folders >= 0
        self.draws = plan_draws(
            table, folders, threshold, policy, synthetic_ratio, lambda: image_sources(dataset)
        )
        self.factors = self.draws.factors
        self._endless = epoch == "endless"
        if self._endless:
            self._length = len(dataset)
        else:
            if synthetic.all():
                raise InputError("epoch 'real': expected real images, all are synthetic")
            real = repeat_factors(table.take(~synthetic), threshold)
            self._length = int(np.ceil(real).sum())
        self._epoch = 0
        self._skipped = 0
        print_log(self.draws.text, logger="current", level=logging.INFO)

    def __iter__(self) -> Iterator[int]:
        """Dataset indices of this rank: endless, or this epoch's alone."""
        if self._endless:
            return self._draws(self._skipped)
        passed, within = divmod(self._skipped, len(self))
        within = within if self._epoch == 0 else 0
        start = (passed + self._epoch) * len(self) + within
        return itertools.islice(self._draws(start), len(self) - within)

    def __len__(self) -> int:
        """Images an epoch on this rank; for an endless stream the size of the dataset."""
        return self._length if self._endless else math.ceil(self._length / self.world_size)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration; an endless stream goes on by itself."""
        self._epoch = epoch

    def skip(self, num_samples: int) -> None:
        """Start ``num_samples`` draws of this rank later.

        mmengine's iteration-based loop resumes with this, and counts its epochs from 0 again.
        """
        self._skipped = num_samples

    def _draws(self, start: int) -> Iterator[int]:
        return self.draws.endless(self.seed, self.rank, self.world_size, start)


def _names(dataset: Any) -> list[str]:
    """The annotation files of the datasets inside the wrappers; the class of one without."""
    if hasattr(dataset, "datasets"):
        return [name for part in dataset.datasets for name in _names(part)]
    if hasattr(dataset, "dataset"):
        return _names(dataset.dataset)
    return [getattr(dataset, "ann_file", "") or type(dataset).__name__]
