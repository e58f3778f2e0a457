"""LVIS v1 with repeat-factor sampling, and what MosaicFusion adds to it.

data/lvis_v1/ holds annotations/lvis_v1_{train,val}.json, train2017/ and val2017/, as mmdet has it.
Pipelines are left to the detectors.
"""

data_root = "data/lvis_v1"
synthetic_root = "work_dirs/lvis-v1/synthetic"
generation_config = "configs/generation/paper_lvis_rare.py"

train_dataset = dict(
    type="LVISJsonDataset",
    data_root=data_root,
    ann_file="annotations/lvis_v1_train.json",
    data_prefix=dict(img=""),  # coco_url says train2017/ or val2017/
    filter_cfg=dict(filter_empty_gt=True, min_size=32),  # mmdet's
)
train_dataloader = dict(
    num_workers=4,
    persistent_workers=True,
    # t of the paper, Sec. 4.1.4; frequencies over the union of real and synthetic images, as there
    sampler=dict(type="RepeatFactorSampler", threshold=1e-3, policy="joint"),
    dataset=train_dataset,
)
test_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="LVISJsonDataset",
        data_root=data_root,
        ann_file="annotations/lvis_v1_val.json",
        data_prefix=dict(img=""),
        test_mode=True,
    ),
)
test_evaluator = dict(type="LVISResults")
