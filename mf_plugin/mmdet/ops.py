"""mmcv's compiled ops through torchvision, where mmcv was installed without them.

`pip install onedl-mmcv` gives a build without ``mmcv._ext`` in seconds; compiling one takes about
ten minutes on two cores. Mask R-CNN calls nms and roi_align alone, and torchvision has both with
the same arithmetic; the ops of `torch_ops` serve detectors with deformable convolutions, deformable
attention and focal loss. Every other op raises an error that names it.

Shapes: N boxes (x1, y1, x2, y2); R regions (image index, x1, y1, x2, y2); B, C, H, W features;
h, w bins of a region.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.machinery import ModuleSpec
from itertools import pairwise
from types import ModuleType
from typing import Any, NoReturn

import torch
import torchvision  # noqa: F401  registers torch.ops.torchvision
from torch import Tensor

from mf_plugin.mmdet.torch_ops import COVERED as TORCH_OPS

NAME = "mmcv._ext"
BUILD_HINT = (
    "build mmcv with its ops: MMCV_WITH_OPS=1 pip install --no-build-isolation --no-binary :all: "
    "--force-reinstall --no-deps onedl-mmcv"
)
PARALLEL_FROM = 100_000  # pooled numbers from which a thread is worth its start
AVERAGE_POOLING = 1  # mmcv's number for pool_mode="avg"

logger = logging.getLogger(__name__)


def install_ops() -> bool:
    """Make ``mmcv.ops`` importable; a compiled ``mmcv._ext`` always wins.

    Returns:
        whether torchvision stands in, now or since an earlier call.

    Raises:
        ImportError: mmdet's models were imported before and have replaced the ops by dummies.
    """
    if NAME in sys.modules:
        return isinstance(sys.modules[NAME], TorchvisionOps)
    if importlib.util.find_spec(NAME) is not None:
        return False
    early = [m for m in ("mmdet.structures", "mmdet.models") if m in sys.modules]
    if early:
        raise ImportError(
            f"{early[0]} was imported while mmcv had no ops: import mf_plugin.mmdet before it"
        )
    module = TorchvisionOps(NAME)
    sys.modules[NAME] = module
    mmcv: Any = sys.modules["mmcv"]
    mmcv._ext = module
    logger.info("mmcv was built without its ops: torch and torchvision stand in")
    return True


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """int64[K]: the boxes that stay, by descending score.

    Args:
        boxes: [N, 4].
        scores: [N].
        iou_threshold: a box that overlaps a better one by more than this goes.
        offset: 1 where a box covers its last pixel, so that its width is x2 - x1 + 1.
    """
    if offset:
        boxes = boxes + boxes.new_tensor([0, 0, offset, offset])
    return torch.ops.torchvision.nms(boxes, scores, iou_threshold)


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    *,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Fill ``output`` [R, C, h, w] with the pooled regions of ``input`` [B, C, H, W]."""
    _check_pool_mode(pool_mode)

    def pool(channels: slice) -> None:
        output[:, channels] = torch.ops.torchvision.roi_align(
            input[:, channels],
            rois,
            spatial_scale,
            aligned_height,
            aligned_width,
            sampling_ratio,
            aligned,
        )

    _over_channels(pool, output)


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    *,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Fill ``grad_input`` [B, C, H, W] with the gradient of ``grad_output`` [R, C, h, w]."""
    _check_pool_mode(pool_mode)
    batch, _, height, width = grad_input.shape

    def spread(channels: slice) -> None:
        grad = grad_output[:, channels]
        grad_input[:, channels] = torch.ops.torchvision._roi_align_backward(
            grad,
            rois,
            spatial_scale,
            aligned_height,
            aligned_width,
            batch,
            grad.shape[1],
            height,
            width,
            sampling_ratio,
            aligned,
        )

    _over_channels(spread, grad_output)


def _over_channels(work: Callable[[slice], None], pooled: Tensor) -> None:
    """Call ``work`` for slices that cover the channels of ``pooled`` [R, C, h, w].

    Channels are independent of one another, and torchvision's CPU kernels use one core alone; the
    slices run on as many threads as torch may use, with the same result to the bit.
    """
    channels = pooled.shape[1]
    threads = min(torch.get_num_threads(), channels)
    if pooled.is_cuda or threads == 1 or pooled.numel() < PARALLEL_FROM:
        work(slice(0, channels))
        return
    bounds = [channels * i // threads for i in range(threads + 1)]

    def work_without_graph(part: slice) -> None:
        with torch.no_grad():  # a thread does not inherit it from the autograd function
            work(part)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work_without_graph, (slice(a, b) for a, b in pairwise(bounds))))


def _check_pool_mode(pool_mode: int) -> None:
    if pool_mode != AVERAGE_POOLING:
        raise NotImplementedError(
            f"roi_align(pool_mode='max') is not in this build of mmcv; {BUILD_HINT}"
        )


class TorchvisionOps(ModuleType):
    """Stands in for ``mmcv._ext``: the ops above, and for each other name one that raises."""

    COVERED: dict[str, Callable[..., Any]] = {
        "nms": nms,
        "roi_align_forward": roi_align_forward,
        "roi_align_backward": roi_align_backward,
        **TORCH_OPS,
    }

    def __init__(self, name: str) -> None:
        super().__init__(name, __doc__)
        self.__spec__ = ModuleSpec(name, loader=None)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in self.COVERED:
            return self.COVERED[name]

        def missing_op(*args: Any, **kwargs: Any) -> NoReturn:
            raise NotImplementedError(
                f"the op {name!r} is not in this build of mmcv, and torch has no form of it that "
                f"could stand in; {BUILD_HINT}"
            )

        return missing_op
