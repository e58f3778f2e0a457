"""RepeatFactorSampler: an endless stream of epochs in which rare images come up more often.

The numbers and the draws are `mf_plugin.data.sampling`'s, the same for both frameworks. Epoch e is
drawn by a generator seeded with (seed, e); the epochs follow one another in one stream, and rank k
of W takes its positions k, k + W, ...; so the ranks together draw what one rank would.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Iterator, Sized

import numpy as np
from mmdet.registry import DATA_SAMPLERS
from mmengine.dist import get_dist_info, sync_random_seed
from mmengine.logging import print_log
from torch.utils.data import Sampler
from tqdm import tqdm

from mf_plugin.data.sampling import epoch_indices, repeat_factors
from mf_plugin.errors import InputError
from mf_plugin.mmdet.datasets import categories_of, synthetic_flags

BAR_FROM = 20_000  # images from which reading their categories may take seconds


@DATA_SAMPLERS.register_module()
class RepeatFactorSampler(Sampler):
    """Draws images by their repeat factors, for iteration-based and epoch-based loops.

    Args:
        dataset: anything that `categories_of` can read.
        threshold (float): t of the repeat factors; 0 draws each image once an epoch.
        policy (str): ``joint``, ``real`` or ``ratio``, see `sampling.repeat_factors`.
        synthetic_ratio (float, optional): share of the synthetic images under ``ratio``.
        epoch (str): ``endless`` for iteration-based loops. ``real`` for epoch-based ones: an
            epoch is as long as ClassBalancedDataset makes it for the real images alone, so that
            synthetic images change what is drawn and not how many steps are taken.
        seed (int, optional): of the draws; the run's own where absent.

    Raises:
        InputError: an argument is out of range, or the dataset is empty.
    """

    def __init__(
        self,
        dataset: Sized,
        threshold: float = 0.0,
        policy: str = "joint",
        synthetic_ratio: float | None = None,
        epoch: str = "endless",
        seed: int | None = None,
    ) -> None:
        if epoch not in ("endless", "real"):
            raise InputError(f"epoch {epoch!r}: expected 'endless' or 'real'")
        if len(dataset) == 0:
            raise InputError("the training set is empty: every image was filtered out")
        self.rank, self.world_size = get_dist_info()
        self.seed = sync_random_seed() if seed is None else seed
        categories = [
            categories_of(dataset, i)
            for i in tqdm(
                range(len(dataset)), desc="categories of images", disable=len(dataset) < BAR_FROM
            )
        ]
        synthetic = synthetic_flags(dataset)
        self.factors = repeat_factors(categories, threshold, policy, synthetic, synthetic_ratio)
        self._endless = epoch == "endless"
        if self._endless:
            self._length = len(dataset)
        else:
            real = [c for c, is_synthetic in zip(categories, synthetic) if not is_synthetic]
            self._length = int(np.ceil(repeat_factors(real, threshold)).sum())
        self._epoch = 0
        self._skipped = 0
        self._log(synthetic, policy, threshold)

    def __iter__(self) -> Iterator[int]:
        """Dataset indices of this rank: endless, or this epoch's alone."""
        if self._endless:
            start, stop = self._skipped, None
        else:
            start, stop = self._epoch * len(self), (self._epoch + 1) * len(self)
        first = start * self.world_size + self.rank
        last = None if stop is None else stop * self.world_size
        return itertools.islice(self._stream(), first, last, self.world_size)

    def __len__(self) -> int:
        """Images an epoch on this rank; for an endless stream the size of the dataset."""
        return self._length if self._endless else math.ceil(self._length / self.world_size)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration; an endless stream goes on by itself."""
        self._epoch = epoch

    def skip(self, num_samples: int) -> None:
        """Start ``num_samples`` draws of this rank later: mmengine resumes with this."""
        self._skipped = num_samples

    def _stream(self) -> Iterator[int]:
        for epoch in itertools.count():
            rng = np.random.default_rng((self.seed, epoch))
            yield from epoch_indices(self.factors, rng).tolist()

    def _log(self, synthetic: np.ndarray, policy: str, threshold: float) -> None:
        real_draws, synthetic_draws = self.factors[~synthetic].sum(), self.factors[synthetic].sum()
        print_log(
            f"RepeatFactorSampler(policy={policy}, threshold={threshold}): an epoch draws "
            f"{real_draws:.0f} times from {np.sum(~synthetic)} real and {synthetic_draws:.0f} "
            f"times from {np.sum(synthetic)} synthetic images",
            logger="current",
            level=logging.INFO,
        )
