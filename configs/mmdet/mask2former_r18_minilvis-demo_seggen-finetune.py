"""Mask2Former on the demo preset of mini-LVIS: on real images, after ..._seggen-pretrain.py."""

_base_ = "./mask2former_r18_minilvis-demo.py"

work_dir = "work_dirs/demo/mask2former_seggen-finetune"
test_evaluator = dict(outfile_prefix=f"{work_dir}/results")
load_from = "work_dirs/demo/mask2former_seggen-pretrain/iter_1800.pth"
