"""Mean intersection over union of semantic label maps, from one confusion matrix.

Shapes: C classes; a label map is int[H, W], 0 to C - 1, and 255 where the truth is not labelled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mf_plugin.arrays import AnyInts, IntArray
from mf_plugin.errors import InputError

IGNORED = 255


@dataclass(frozen=True)
class SemanticScores:
    """Percent; nan where there is no such pixel.

    Attributes:
        miou: mean of ``iou`` over the classes that are in the truth or the prediction.
        accuracy: of all labelled pixels.
        iou: of each class, in their order.
    """

    miou: float
    accuracy: float
    iou: tuple[float, ...]


def count_pixels(truth: AnyInts, prediction: AnyInts, num_classes: int) -> IntArray:
    """The confusion matrix int64[C, C] of an image: rows are the truth's classes.

    Raises:
        InputError: the maps are not of one size, or have a value that is no class.
    """
    if truth.shape != prediction.shape:
        raise InputError(f"label maps of {truth.shape} and {prediction.shape}: expected one size")
    known = truth != IGNORED
    true, predicted = truth[known].astype(np.int64), prediction[known].astype(np.int64)
    for name, labels in (("truth", true), ("prediction", predicted)):
        if labels.size and (labels.min() < 0 or labels.max() >= num_classes):
            raise InputError(
                f"the {name} has labels {labels.min()} to {labels.max()}: expected 0 to "
                f"{num_classes - 1}"
            )
    pairs = np.bincount(true * num_classes + predicted, minlength=num_classes**2)
    return pairs.reshape(num_classes, num_classes)


def semantic_scores(confusion: AnyInts) -> SemanticScores:
    """The scores of a confusion matrix int[C, C]."""
    same = np.diag(confusion)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - same
    with np.errstate(invalid="ignore", divide="ignore"):
        iou = 100.0 * same / union
        accuracy = 100.0 * same.sum() / confusion.sum()
    present = union > 0
    miou = float(iou[present].mean()) if present.any() else float("nan")
    return SemanticScores(miou, float(accuracy), tuple(iou.tolist()))
