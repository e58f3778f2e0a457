"""Mask R-CNN on the demo preset with half the steps: for ablations, of which there are many."""

_base_ = "./mask-rcnn_r18_fpn_minilvis-demo.py"

max_iters = 450
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.05, by_epoch=False, begin=0, end=50),
    dict(type="CosineAnnealingLR", eta_min=0.0, by_epoch=False, begin=50, end=max_iters),
]
