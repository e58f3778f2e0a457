"""Mask2Former R50 50e on COCO instances, six of ten images drawn replaced by SegGen's (ImgSyn)."""

_base_ = "./mask2former_r50_lsj-50e_coco.py"

work_dir = "work_dirs/mask2former_r50_lsj-50e_coco_seggen"

train_dataloader = dict(
    sampler=dict(policy="replace", synthetic_ratio=0.6),  # p_aug of the paper, on ADE20K
    dataset=dict(
        _delete_=True,
        type="LVISConcatDataset",
        datasets=[
            {{_base_.train_dataloader.dataset}},
            dict(
                type="SyntheticLVISDataset",
                root={{_base_.synthetic_root}},
                generation_config={{_base_.generation_config}},
                filter_cfg={{_base_.train_dataloader.dataset.filter_cfg}},
                pipeline={{_base_.train_dataloader.dataset.pipeline}},
            ),
        ],
    ),
)
