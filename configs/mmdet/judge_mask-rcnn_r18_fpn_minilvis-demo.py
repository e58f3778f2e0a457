"""The judge detector: Mask R-CNN of the demo on plentiful real renderings in every style.

It measures how many instances of a synthetic dataset are valid, and never filters or selects any:
see mf_plugin/evaluation/valid_instances.py. Data, measuring and controls: tools/judge_detector.py.
"""

_base_ = "./mask-rcnn_r18_fpn_minilvis-demo.py"

data_root = "work_dirs/judge/data"
data_command = (
    "python tools/judge_detector.py data --model mf_plugin/assets/tiny_sd "
    "--out work_dirs/judge/data"
)
work_dir = "work_dirs/judge/run"

train_dataloader = dict(
    sampler=dict(threshold=0.0),  # each image once an epoch: the categories are balanced
    dataset=dict(data_root=data_root),
)
test_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        ann_file="calibration/annotations.json",
        data_prefix=dict(img="calibration"),
    )
)
test_evaluator = dict(outfile_prefix=f"{work_dir}/results")

model = dict(
    test_cfg=dict(rcnn=dict(score_thr=0.05)),  # no AP here: the tail of the ranking is not read
)

max_iters = 5000  # x 8 images = 10 epochs
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.05, by_epoch=False, begin=0, end=50),
    dict(type="CosineAnnealingLR", eta_min=0.0, by_epoch=False, begin=50, end=max_iters),
]
