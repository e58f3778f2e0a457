"""Mask2Former R50 50e on COCO instances: mmdet's own config, drawing by our sampler.

..._seggen.py is the arm with synthetic data; both start from the same weights, take the same number
of steps, and draw by the same sampler.
"""

_base_ = "mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco.py"

custom_imports = dict(imports=["mf_plugin.mmdet"], allow_failed_imports=False)
custom_hooks = [dict(type="ProgressBarHook")]
randomness = dict(seed=1)
work_dir = "work_dirs/mask2former_r50_lsj-50e_coco"

synthetic_root = "work_dirs/coco_instance_imgsyn"
generation_config = "configs/generation/coco_instance_imgsyn.py"

# Threshold 0: each image once an epoch, as DefaultSampler has it.
train_dataloader = dict(sampler=dict(_delete_=True, type="RepeatFactorSampler", threshold=0.0))
