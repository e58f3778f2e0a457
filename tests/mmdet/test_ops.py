from __future__ import annotations

import subprocess
import sys
import types

import pytest
import torch

import mf_plugin.mmdet  # noqa: F401  supplies mmcv._ext
from mf_plugin.mmdet import ops


def compiled() -> bool:
    return not isinstance(sys.modules["mmcv._ext"], ops.TorchvisionOps)


def test_nms_drops_overlapping_boxes_and_keeps_the_order_of_scores():
    from mmcv.ops import nms

    boxes = torch.tensor([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10.0]])
    scores = torch.tensor([0.5, 0.9, 0.7])
    kept, indices = nms(boxes, scores, iou_threshold=0.5)  # IoU of the first two is 9 / 11
    assert indices.tolist() == [1, 2]
    assert kept[:, 4].tolist() == pytest.approx([0.9, 0.7])


def test_nms_with_offset_counts_the_last_pixel():
    from mmcv.ops import nms

    boxes = torch.tensor([[0, 0, 9, 9], [5, 0, 14, 9.0]])  # IoU 4 / 14, with offset 50 / 150
    scores = torch.tensor([0.9, 0.8])
    assert nms(boxes, scores, 0.3, offset=0)[1].tolist() == [0, 1]
    assert nms(boxes, scores, 0.3, offset=1)[1].tolist() == [0]


def test_roi_align_averages_a_ramp_by_hand():
    from mmcv.ops import roi_align

    ramp = torch.arange(8.0).expand(1, 1, 8, 8)  # value = column
    roi = torch.tensor([[0, 2.0, 2.0, 6.0, 6.0]])
    # aligned: bins [2, 4] and [4, 6], centres 3 and 5, minus half a pixel
    assert roi_align(ramp, roi, 2, 1.0, 1, "avg", True)[0, 0, 0].tolist() == [2.5, 4.5]
    assert roi_align(ramp, roi, 2, 1.0, 1, "avg", False)[0, 0, 0].tolist() == [3.0, 5.0]
    # scale 0.5: the region is [1, 3], bins of one pixel, two samples each
    assert roi_align(ramp, roi, 2, 0.5, 2, "avg", True)[0, 0, 0].tolist() == [1.0, 2.0]


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("sampling_ratio", [0, 1, 2])
@pytest.mark.parametrize("threads", [1, 3])
def test_roi_align_is_torchvisions_to_the_bit(aligned, sampling_ratio, threads):
    from mmcv.ops import roi_align
    from torchvision.ops import roi_align as expected

    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 32, 20, 20, generator=generator)
    corner = torch.rand(80, 2, generator=generator) * 50
    size = torch.rand(80, 2, generator=generator) * 40
    rois = torch.cat([torch.arange(80)[:, None] % 2, corner, corner + size], dim=1)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        results = []
        for call in (
            lambda x: roi_align(x, rois, 7, 0.25, sampling_ratio, "avg", aligned),
            lambda x: expected(x, rois, 7, 0.25, sampling_ratio, aligned),
        ):
            x = features.clone().requires_grad_()
            y = call(x)
            (y * torch.arange(y.numel()).reshape(y.shape)).sum().backward()
            results.append((y.detach(), x.grad))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


@pytest.mark.skipif(compiled(), reason="a compiled mmcv has its own threads")
def test_threads_of_roi_align_stay_out_of_the_graph(monkeypatch):
    monkeypatch.setattr(ops, "PARALLEL_FROM", 1)
    features = torch.ones(1, 4, 8, 8, requires_grad=True)
    output, empty = torch.zeros(1, 4, 2, 2), torch.zeros(0)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with torch.no_grad():  # as in the forward of an autograd function
            ops.roi_align_forward(
                features,
                torch.tensor([[0, 0, 0, 4, 4.0]]),
                output,
                empty,
                empty,
                aligned_height=2,
                aligned_width=2,
                spatial_scale=1.0,
                sampling_ratio=1,
                pool_mode=1,
                aligned=True,
            )
    finally:
        torch.set_num_threads(before)
    assert output.tolist() == torch.ones(1, 4, 2, 2).tolist()
    assert not output.requires_grad


@pytest.mark.skipif(compiled(), reason="a compiled mmcv has every op")
def test_missing_ops_are_named_with_the_way_to_build_them():
    from mmcv.ops import roi_align, soft_nms

    with pytest.raises(NotImplementedError, match="'softnms'.*MMCV_WITH_OPS=1"):
        soft_nms(torch.rand(2, 4), torch.rand(2))
    with pytest.raises(NotImplementedError, match="pool_mode='max'"):
        roi_align(torch.rand(1, 1, 4, 4), torch.tensor([[0, 0, 0, 2, 2.0]]), 2, 1.0, 0, "max")


def test_installing_twice_changes_nothing_and_a_compiled_module_wins(monkeypatch):
    before = sys.modules["mmcv._ext"]
    ops.install_ops()
    assert sys.modules["mmcv._ext"] is before
    monkeypatch.setitem(sys.modules, "mmcv._ext", types.ModuleType("mmcv._ext"))
    assert ops.install_ops() is False


@pytest.mark.skipif(compiled(), reason="a compiled mmcv is complete whenever it is imported")
def test_importing_after_mmdets_models_is_refused():
    code = "import mmdet.structures, mf_plugin.mmdet"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ImportError: mmdet.structures was imported while mmcv had no ops" in done.stderr
