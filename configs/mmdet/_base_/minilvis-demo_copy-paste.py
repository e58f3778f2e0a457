"""Simple Copy-Paste (arXiv 2012.07177) on the real images of mini-LVIS's demo preset.

Every image gets a random part of the objects of another one that is drawn uniformly, at the places
where they stand there; both are flipped by themselves and scaled as in the baseline. The public
setting jitters the scale of both, which the baseline does not do.
"""

copy_paste_images = dict(
    type="LVISJsonDataset",
    data_root="work_dirs/demo/data",
    ann_file="train/annotations.json",
    data_prefix=dict(img="train"),
    filter_cfg=dict(filter_empty_gt=True),
    pipeline=[
        dict(type="LoadImageFromFile"),
        dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
        dict(type="Resize", scale=(160, 160), keep_ratio=True),
        dict(type="RandomFlip", prob=0.5),
        # Both images of a pair have to be of one size. What is not square is padded with the mean
        # colour (B G R): zero to the detector, as what the preprocessor pads.
        dict(type="Pad", size=(160, 160), pad_val=dict(img=(104, 116, 124), masks=0)),
    ],
)
copy_paste_pipeline = [
    # An object under the pasted ones stays if its box hardly moves or enough of it is seen. mmdet's
    # 10 and 300 pixels are for 1024 x 1024; mini-LVIS annotates objects of 30 pixels and more.
    dict(type="CopyPaste", max_num_pasted=100, bbox_occluded_thr=2, mask_occluded_thr=30),
    dict(type="PackDetInputs"),
]
