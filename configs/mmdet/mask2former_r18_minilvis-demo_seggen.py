"""Mask2Former on the demo preset, six of ten images drawn replaced by SegGen's versions of them."""

_base_ = "./mask2former_r18_minilvis-demo.py"

work_dir = "work_dirs/demo/mask2former_seggen"
test_evaluator = dict(outfile_prefix=f"{work_dir}/results")

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
