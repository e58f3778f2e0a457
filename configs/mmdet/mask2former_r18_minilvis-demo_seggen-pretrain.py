"""Mask2Former on the demo preset of mini-LVIS, on SegGen's images alone.

The schedule is the baseline's. The real images stay in the config: their classes are the labels.
None of them is drawn.
"""

_base_ = "./mask2former_r18_minilvis-demo.py"

work_dir = "work_dirs/demo/mask2former_seggen-pretrain"
test_evaluator = dict(outfile_prefix=f"{work_dir}/results")

train_dataloader = dict(
    sampler=dict(policy="synthetic"),
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
