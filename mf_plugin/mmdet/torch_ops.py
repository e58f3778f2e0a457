"""Ops of mmcv in plain torch and torchvision, with the signatures of ``mmcv._ext``.

mmcv's Python code allocates the outputs and the gradients, the op fills them; so the functions
here return nothing, but for `ms_deform_attn_forward`. Each gradient is autograd's, of the forward
computation done again. ``ones`` and ``columns`` are buffers of the compiled ops, and empty here.

Shapes: B images, C channels, H x W features; E channels, h x w places of an output; G groups, D
deformable groups, kh x kw kernel; N boxes, K classes; S places of all L levels together, Q queries,
A heads, P points of a query and level. Numbers are floating-point where nothing else is said; a
gradient has the shape of what it belongs to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torchvision.ops import deform_conv2d


def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    **shape: Any,
) -> None:
    """DCNv2 (arXiv 1811.11168).

    Args:
        input: [B, C, H, W].
        weight: [E, C / G, kh, kw].
        bias: [E]; empty where ``with_bias`` is False.
        offset: [B, 2 D kh kw, h, w], in (y, x) pairs.
        mask: [B, D kh kw, h, w].
        output: [B, E, h, w], filled.
        shape: stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w and with_bias are read; the
            rest follows from the tensors.
    """
    output.copy_(_modulated(shape)(input, weight, bias, offset, mask))


def modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    **shape: Any,
) -> None:
    """Add the gradients of DCNv2 to the five that are given.

    Args:
        input, weight, bias, offset, mask, shape: as in `modulated_deform_conv_forward`.
        grad_input, grad_weight, grad_bias, grad_offset, grad_mask: added to.
        grad_output: [B, E, h, w].
    """
    inputs = (input, weight, bias, offset, mask)
    grads = (grad_input, grad_weight, grad_bias, grad_offset, grad_mask)
    _add_gradients(_modulated(shape), inputs, grad_output, grads)


def deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    output: Tensor,
    columns: Tensor,
    ones: Tensor,
    **shape: Any,
) -> None:
    """DCNv1 (arXiv 1703.06211): as DCNv2, without mask and bias.

    Args:
        input, weight, offset, output: as in `modulated_deform_conv_forward`.
        shape: dH, dW (strides), padH, padW, dilationH and dilationW are read.
    """
    output.copy_(_deform(shape)(input, weight, offset))


def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    weight: Tensor,
    columns: Tensor,
    **shape: Any,
) -> None:
    """Add the gradients of DCNv1 with respect to features and offsets.

    Args:
        input, offset, weight, shape: as in `deform_conv_forward`.
        grad_output: [B, E, h, w].
        grad_input, grad_offset: added to.
    """
    call = _deform(shape)
    grads = (grad_input, grad_offset)
    _add_gradients(lambda x, o: call(x, weight, o), (input, offset), grad_output, grads)


def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_weight: Tensor,
    columns: Tensor,
    ones: Tensor,
    *,
    scale: float = 1.0,
    **shape: Any,
) -> None:
    """Add ``scale`` times the gradient of DCNv1 with respect to its weight.

    Args:
        input, offset, shape: as in `deform_conv_forward`.
        grad_output: [B, E, h, w].
        grad_weight: [E, C / G, kh, kw], added to.
    """
    call = _deform(shape)
    weight = torch.zeros_like(grad_weight)  # the op is linear in it: any value will do
    _add_gradients(lambda w: call(input, w, offset), (weight,), scale * grad_output, (grad_weight,))


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, *, gamma: float, alpha: float
) -> None:
    """Focal loss (arXiv 1708.02002, eq. 5) of each logit.

    Args:
        input: logits [N, K].
        target: int64[N], the class of each box, K for none.
        weight: of each class, [K]; empty for none.
        output: [N, K], filled.
        gamma, alpha: of the loss.
    """
    output.copy_(_focal_loss(input, target, weight, gamma, alpha))


def sigmoid_focal_loss_backward(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    grad_input: Tensor,
    *,
    gamma: float,
    alpha: float,
) -> None:
    """Add the derivative of each logit's loss to ``grad_input``.

    Args:
        input, target, weight, gamma, alpha: as in `sigmoid_focal_loss_forward`.
        grad_input: [N, K], added to.
    """

    def loss(logits: Tensor) -> Tensor:
        return _focal_loss(logits, target, weight, gamma, alpha)

    _add_gradients(loss, (input,), torch.ones_like(input), (grad_input,))


def ms_deform_attn_forward(
    value: Tensor,
    shapes: Tensor,
    level_start: Tensor,
    locations: Tensor,
    weights: Tensor,
    *,
    im2col_step: int,
) -> Tensor:
    """Multi-scale deformable attention (arXiv 2010.04159), by mmcv's own form in torch.

    Args:
        value: [B, S, A, C / A].
        shapes: int64[L, 2], (height, width) of each level.
        level_start: int64[L], of the compiled op alone, as is ``im2col_step``.
        locations: [B, Q, A, L, P, 2], (x, y) from 0 to 1.
        weights: [B, Q, A, L, P].

    Returns:
        [B, Q, C].
    """
    return _attention(shapes)(value, locations, weights)


def ms_deform_attn_backward(
    value: Tensor,
    shapes: Tensor,
    level_start: Tensor,
    locations: Tensor,
    weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_locations: Tensor,
    grad_weights: Tensor,
    *,
    im2col_step: int,
) -> None:
    """Add the gradients of the attention to the three that are given.

    Args:
        value, shapes, level_start, locations, weights: as in `ms_deform_attn_forward`.
        grad_output: [B, Q, C].
        grad_value, grad_locations, grad_weights: added to.
    """
    inputs = (value, locations, weights)
    _add_gradients(
        _attention(shapes), inputs, grad_output, (grad_value, grad_locations, grad_weights)
    )


COVERED: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        modulated_deform_conv_forward,
        modulated_deform_conv_backward,
        deform_conv_forward,
        deform_conv_backward_input,
        deform_conv_backward_parameters,
        sigmoid_focal_loss_forward,
        sigmoid_focal_loss_backward,
        ms_deform_attn_forward,
        ms_deform_attn_backward,
    )
}


def _modulated(shape: dict[str, Any]) -> Callable[..., Tensor]:
    def call(input: Tensor, weight: Tensor, bias: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
        return deform_conv2d(
            input,
            offset,
            weight,
            bias if shape["with_bias"] else None,
            stride=(shape["stride_h"], shape["stride_w"]),
            padding=(shape["pad_h"], shape["pad_w"]),
            dilation=(shape["dilation_h"], shape["dilation_w"]),
            mask=mask,
        )

    return call


def _deform(shape: dict[str, Any]) -> Callable[..., Tensor]:
    def call(input: Tensor, weight: Tensor, offset: Tensor) -> Tensor:
        return deform_conv2d(
            input,
            offset,
            weight,
            stride=(shape["dH"], shape["dW"]),
            padding=(shape["padH"], shape["padW"]),
            dilation=(shape["dilationH"], shape["dilationW"]),
        )

    return call


def _focal_loss(
    logits: Tensor, target: Tensor, weight: Tensor, gamma: float, alpha: float
) -> Tensor:
    classes = torch.arange(logits.shape[1], device=logits.device)
    positive = target[:, None] == classes
    log_p, log_q = torch.nn.functional.logsigmoid(torch.stack([logits, -logits]))
    loss = torch.where(
        positive,
        -alpha * log_q.exp() ** gamma * log_p,
        -(1 - alpha) * log_p.exp() ** gamma * log_q,
    )
    return loss * weight[target.clamp(max=len(weight) - 1)][:, None] if weight.numel() else loss


def _attention(shapes: Tensor) -> Callable[..., Tensor]:
    from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

    def call(value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
        return multi_scale_deformable_attn_pytorch(value, shapes, locations, weights)

    return call


def _add_gradients(
    call: Callable[..., Tensor],
    inputs: Sequence[Tensor],
    grad_output: Tensor,
    grads: Sequence[Tensor],
) -> None:
    """Add to ``grads`` what ``inputs`` get from ``grad_output`` through ``call``."""
    with torch.enable_grad():
        leaves = [x.detach().requires_grad_() for x in inputs]
        found = torch.autograd.grad(call(*leaves), leaves, grad_output, allow_unused=True)
    for grad, part in zip(grads, found, strict=True):
        if part is not None:
            grad += part
