"""Mask R-CNN on the demo preset, a third of the steps: goes on from weights that real images made.

For ablations, of which there are many: see configs/benchmark/ablations.py.
"""

_base_ = "./mask-rcnn_r18_fpn_minilvis-demo.py"

max_iters = 300
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
optim_wrapper = dict(optimizer=dict(lr=5e-4))  # half: the weights are no random ones
param_scheduler = [
    dict(type="LinearLR", start_factor=0.05, by_epoch=False, begin=0, end=50),
    dict(type="CosineAnnealingLR", eta_min=0.0, by_epoch=False, begin=50, end=max_iters),
]
