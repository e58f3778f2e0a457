"""Mask2Former Swin-L 160k on ADE20K, six of ten draws replaced by SegGen's (mIoU 57.4 there).

The paper mixes MaskSyn (10 a caption) and ImgSyn (50 a mask); here ImgSyn's. Both:
--synthetic work_dirs/ade20k_masksyn --synthetic work_dirs/ade20k_imgsyn --policy replace
--synthetic-ratio 0.6
"""

_base_ = "./mask2former_swin-l_160k_ade20k.py"

work_dir = "work_dirs/mask2former_swin-l_160k_ade20k_seggen"

train_dataloader = dict(
    sampler=dict(policy="replace", synthetic_ratio=0.6),  # p_aug of the paper
    dataset=dict(
        _delete_=True,
        type="LVISConcatDataset",
        datasets=[
            {{_base_.train_dataloader.dataset}},
            dict(
                type="SyntheticSegDataset",
                root={{_base_.synthetic_root}},
                generation_config={{_base_.generation_config}},
                pipeline={{_base_.train_dataloader.dataset.pipeline}},
            ),
        ],
    ),
)
