"""Mask2Former R50 50e on COCO panoptic, on SegGen's images alone.

The schedule is the baseline's. The real images stay in the config: their classes are the labels.
None of them is drawn.
"""

_base_ = "./mask2former_r50_lsj-50e_coco-panoptic.py"

work_dir = "work_dirs/mask2former_r50_lsj-50e_coco-panoptic_seggen-pretrain"

train_dataloader = dict(
    sampler=dict(policy="synthetic"),
    dataset=dict(
        _delete_=True,
        type="LVISConcatDataset",
        datasets=[
            {{_base_.train_dataloader.dataset}},
            dict(
                type="SyntheticPanopticDataset",
                root={{_base_.synthetic_root}},
                generation_config={{_base_.generation_config}},
                filter_cfg={{_base_.train_dataloader.dataset.filter_cfg}},
                pipeline={{_base_.train_dataloader.dataset.pipeline}},
            ),
        ],
    ),
)
