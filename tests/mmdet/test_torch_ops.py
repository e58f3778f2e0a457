"""mmcv's Python functions on the ops that torch and torchvision stand in for."""

from __future__ import annotations

import math
import sys

import pytest
import torch
import torch.nn.functional as F

import mf_plugin.mmdet  # noqa: F401  supplies mmcv._ext
from mf_plugin.mmdet import ops

pytestmark = pytest.mark.skipif(
    not isinstance(sys.modules["mmcv._ext"], ops.TorchvisionOps),
    reason="a compiled mmcv has its own ops",
)


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("groups", [1, 2])
def test_deformable_convolution_without_offsets_is_a_convolution(groups):
    from mmcv.ops import deform_conv2d, modulated_deform_conv2d

    x, weight, bias = numbers(2, 4, 6, 5), numbers(4, 4 // groups, 3, 3, seed=1), numbers(4)
    expected = F.conv2d(x, weight, stride=2, padding=1, groups=groups)
    still = torch.zeros(2, 18, 3, 3, dtype=torch.float64)
    output = deform_conv2d(x, still, weight, 2, 1, 1, groups)
    assert torch.allclose(output, expected)
    half = torch.full((2, 9, 3, 3), 0.5, dtype=torch.float64)
    output = modulated_deform_conv2d(x, still, half, weight, bias, 2, 1, 1, groups)
    assert torch.allclose(output, 0.5 * expected + bias[:, None, None])


def test_offsets_are_rows_before_columns():
    from mmcv.ops import deform_conv2d

    x = numbers(1, 1, 6, 6)
    offset = torch.zeros(1, 2, 6, 6, dtype=torch.float64)
    offset[:, 0], offset[:, 1] = 1, 2
    output = deform_conv2d(x, offset, torch.ones(1, 1, 1, 1, dtype=torch.float64))
    assert torch.equal(output[0, 0, :5, :4], x[0, 0, 1:, 2:])


def test_gradients_of_deformable_convolutions_are_the_finite_differences():
    from mmcv.ops import deform_conv2d, modulated_deform_conv2d

    inputs = [numbers(2, 2, 4, 4), 0.3 * numbers(2, 18, 4, 4, seed=1), numbers(2, 9, 4, 4, seed=2)]
    inputs += [numbers(3, 2, 3, 3, seed=3), numbers(3, seed=4)]
    inputs = [x.requires_grad_() for x in inputs]
    assert torch.autograd.gradcheck(
        lambda *given: modulated_deform_conv2d(*given, 1, 1), inputs, fast_mode=True
    )
    x, offset, _, weight, _ = inputs
    assert torch.autograd.gradcheck(
        lambda *given: deform_conv2d(*given, 1, 1), (x, offset, weight), fast_mode=True
    )


def test_focal_loss_by_hand():
    from mmcv.ops import sigmoid_focal_loss

    logits = torch.tensor([[0.0, math.log(3.0)]], dtype=torch.float64)  # p = 1/2 and 3/4
    loss = sigmoid_focal_loss(logits, torch.tensor([0]), 2.0, 0.25, None, "none")
    expected = [0.25 * 0.5**2 * math.log(2), 0.75 * 0.75**2 * math.log(4)]
    assert loss[0].tolist() == pytest.approx(expected)
    background = sigmoid_focal_loss(logits, torch.tensor([2]), 2.0, 0.25, None, "none")
    assert background[0].tolist() == pytest.approx([0.75 * 0.5**2 * math.log(2), expected[1]])
    weights = torch.tensor([3.0, 1.0], dtype=torch.float64)
    weighted = sigmoid_focal_loss(logits, torch.tensor([0]), 2.0, 0.25, weights, "none")
    assert weighted[0].tolist() == pytest.approx([3 * value for value in expected])


def test_gradient_of_focal_loss_is_the_finite_difference():
    from mmcv.ops import sigmoid_focal_loss

    logits, target = numbers(5, 3).requires_grad_(), torch.tensor([0, 1, 2, 3, 1])
    assert torch.autograd.gradcheck(
        lambda x: sigmoid_focal_loss(x, target, 2.0, 0.25, None, "mean"), (logits,)
    )


def test_deformable_attention_and_its_gradients():
    from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction

    shapes, start = torch.tensor([[2, 2], [1, 1]]), torch.tensor([0, 4])
    value = torch.arange(5, dtype=torch.float64).reshape(1, 5, 1, 1)

    def attend(values, places, weights):
        return MultiScaleDeformableAttnFunction.apply(values, shapes, start, places, weights, 64)

    # one query, one head, one point a level: the second pixel of the first row, and the last level
    places = torch.tensor([[0.75, 0.25], [0.5, 0.5]], dtype=torch.float64).reshape(1, 1, 1, 2, 1, 2)
    weights = torch.tensor([0.25, 0.75], dtype=torch.float64).reshape(1, 1, 1, 2, 1)
    assert attend(value, places, weights).item() == pytest.approx(0.25 * 1 + 0.75 * 4)

    given = [x.requires_grad_() for x in (value, places * 0.9 + 0.03, weights)]
    assert torch.autograd.gradcheck(attend, [x.detach().requires_grad_() for x in given])


def test_deformable_attention_by_hand():
    """One query, one head, a point on each of two levels: 2 x 2 and 1 x 1 pixels."""
    value = torch.tensor([1.0, 2, 3, 4, 10]).reshape(1, 5, 1, 1)
    shapes, start = torch.tensor([[2, 2], [1, 1]]), torch.tensor([0, 4])
    places = torch.tensor([[0.5, 0.5], [0.5, 0.5]]).reshape(1, 1, 1, 2, 1, 2)
    weights = torch.tensor([0.25, 0.75]).reshape(1, 1, 1, 2, 1)
    given = (value, shapes, start, places, weights)
    output = ops.TorchvisionOps.COVERED["ms_deform_attn_forward"](*given, im2col_step=64)
    # between four pixels: 2.5; on the one pixel: 10
    assert output.item() == pytest.approx(0.25 * 2.5 + 0.75 * 10)

    grads = [torch.zeros_like(x) for x in (value, places, weights)]
    ops.TorchvisionOps.COVERED["ms_deform_attn_backward"](
        *given, torch.ones(1, 1, 1), *grads, im2col_step=64
    )
    assert grads[0].flatten().tolist() == pytest.approx([0.0625] * 4 + [0.75])
    # level 0 rises by 1 a pixel to the right and by 2 downwards; the map is two pixels wide
    assert grads[1][0, 0, 0, 0, 0].tolist() == pytest.approx([0.25 * 1 * 2, 0.25 * 2 * 2])
    assert grads[2].flatten().tolist() == pytest.approx([2.5, 10])
