"""The judge detector, trained further on parts of scenes: for images that were painted over such.

It goes on from the judge's weights. Data and measuring: tools/judge_detector.py.
"""

_base_ = "./judge_mask-rcnn_r18_fpn_minilvis-demo.py"

data_root = "work_dirs/judge_parts/data"
data_command = (
    "python tools/judge_detector.py data --model mf_plugin/assets/tiny_sd --zoom 1.5 --seed 1 "
    "--out work_dirs/judge_parts/data"
)
work_dir = "work_dirs/judge_parts/run"
load_from = "work_dirs/judge/run/iter_5000.pth"

train_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = dict(dataset=dict(data_root=data_root))
test_evaluator = dict(outfile_prefix=f"{work_dir}/results")

max_iters = 3000  # x 8 images = 6 epochs
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.05, by_epoch=False, begin=0, end=50),
    dict(type="CosineAnnealingLR", eta_min=0.0, by_epoch=False, begin=50, end=max_iters),
]
