"""CenterNet2's first stage against the authors' package, on random scenes."""

from __future__ import annotations

import pytest
import torch

from mf_plugin.mmdet.centernet2_loss import HeatmapFocalLoss
from mf_plugin.mmdet.centernet2_targets import assign_targets, make_grid

pytest.importorskip("detectron2", reason="Detectron2 is not installed")
authors = pytest.importorskip(
    "centernet.modeling.dense_heads.centernet", reason="centernet2 is not installed"
)

STRIDES = (8, 16, 32, 64, 128)
RANGES = ((0, 80), (64, 160), (128, 320), (256, 640), (512, 1e7))
SIDE = 512


def authors_head():
    """Their head with what its targets depend on, at the published values."""
    head = object.__new__(authors.CenterNet)
    torch.nn.Module.__init__(head)
    head.strides, head.sizes_of_interest = list(STRIDES), [list(r) for r in RANGES]
    head.num_classes, head.only_proposal, head.more_pos = 1, True, False
    head.min_radius, head.delta, head.not_clamp_box = 4, (1 - 0.8) / (1 + 0.8), False
    return head


@pytest.mark.parametrize("seed", range(10))
def test_targets_and_loss_are_the_authors(seed):
    from centernet.modeling.layers.heatmap_focal_loss import binary_heatmap_focal_loss_jit
    from detectron2.structures import Boxes, Instances

    generator = torch.Generator().manual_seed(seed)
    count = 1 + seed
    corner = torch.rand(count, 2, generator=generator) * 400
    extent = torch.rand(count, 2, generator=generator) ** 2 * 500 + 2
    boxes = torch.cat((corner, (corner + extent).clamp(max=SIDE - 0.5)), 1)
    sizes = [(SIDE // stride, SIDE // stride) for stride in STRIDES]

    # 1. Theirs: positive cells, sides in strides, heatmap.
    instances = Instances((SIDE, SIDE))
    instances.gt_boxes, instances.gt_classes = Boxes(boxes), torch.zeros(count).long()
    head = authors_head()
    grids = head.compute_grids([torch.zeros(1, 1, *size) for size in sizes])
    peaks, _, sides, heatmap = head._get_ground_truth(grids, torch.tensor(sizes), [instances])
    cells = torch.nonzero(sides.max(1)[0] >= 0).squeeze(1)

    # 2. Ours.
    grid = make_grid(sizes, STRIDES, RANGES)
    targets = assign_targets(grid, boxes, min_overlap=0.8, min_radius=4)
    points, chosen = grid.points[targets.cells], boxes[targets.objects]
    own = torch.cat((points - chosen[:, :2], chosen[:, 2:] - points), 1)
    torch.testing.assert_close(targets.heatmap, heatmap.squeeze(1), atol=1e-6, rtol=0)
    assert torch.equal(targets.cells, cells)
    assert set(targets.peaks.tolist()) == set(peaks.tolist())
    strides = grid.strides[targets.cells][:, None]
    torch.testing.assert_close(own / strides, sides[cells])

    # 3. The loss of the same logits; theirs overwrites them.
    logits = torch.randn(len(heatmap), generator=generator) * 2
    parts = binary_heatmap_focal_loss_jit(
        logits.clone(),
        heatmap.squeeze(1),
        peaks,
        alpha=0.25,
        beta=4,
        gamma=2,
        sigmoid_clamp=1e-4,
        ignore_high_fp=0.85,
    )
    loss = HeatmapFocalLoss()(logits, targets.heatmap, peaks, avg_factor=1.0)
    torch.testing.assert_close(loss, 0.5 * sum(parts), rtol=1e-5, atol=1e-4)
