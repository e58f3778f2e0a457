"""Mask2Former R50 50e on COCO panoptic: the baseline of SegGen's table (PQ 52.0).

..._seggen-pretrain.py trains on synthetic images alone, ..._seggen-finetune.py goes on from there
on real ones. Replacing images while training lowered PQ (51.3, by a review of the paper).
"""

_base_ = "mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py"

custom_imports = dict(imports=["mf_plugin.mmdet"], allow_failed_imports=False)
custom_hooks = [dict(type="ProgressBarHook")]
randomness = dict(seed=1)
work_dir = "work_dirs/mask2former_r50_lsj-50e_coco-panoptic"

synthetic_root = "work_dirs/coco_imgsyn"
generation_config = "configs/generation/coco_imgsyn.py"

# ---------------------------------------------------------------- data
# As in mmdet, but for the two parts that need panopticapi, and the sampler.
image_size = (1024, 1024)
train_pipeline = [
    dict(type="LoadImageFromFile", to_float32=True),
    dict(type="LoadPanopticMaps", with_bbox=True, with_mask=True, with_seg=True),
    dict(type="RandomFlip", prob=0.5),
    dict(type="RandomResize", scale=image_size, ratio_range=(0.1, 2.0), keep_ratio=True),
    dict(
        type="RandomCrop",
        crop_size=image_size,
        crop_type="absolute",
        recompute_bbox=True,
        allow_negative_crop=True,
    ),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(1333, 800), keep_ratio=True),
    dict(
        type="PackDetInputs",
        meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor"),
    ),
]
train_dataloader = dict(
    sampler=dict(_delete_=True, type="RepeatFactorSampler", threshold=0.0),
    dataset=dict(pipeline=train_pipeline),
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
annotations = "data/coco/annotations"
val_evaluator = [
    dict(
        type="PanopticQuality",
        ann_file=f"{annotations}/panoptic_val2017.json",
        seg_prefix=f"{annotations}/panoptic_val2017/",
        outfile_prefix=f"{work_dir}/val",
    ),
    dict(
        type="CocoMetric",
        ann_file=f"{annotations}/instances_val2017.json",
        metric=["bbox", "segm"],
    ),
]
test_evaluator = val_evaluator
