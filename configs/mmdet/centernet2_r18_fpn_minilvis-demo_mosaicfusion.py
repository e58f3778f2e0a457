"""CenterNet2 on the demo preset of mini-LVIS and MosaicFusion's images of its rare categories.

Same detector, initial weights, sampler, seed and number of steps; the data alone differs.
"""

_base_ = "./centernet2_r18_fpn_minilvis-demo.py"

work_dir = "work_dirs/demo/centernet2/mosaicfusion"
test_evaluator = dict(outfile_prefix=f"{work_dir}/results")

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type="LVISConcatDataset",
        datasets=[
            {{_base_.train_dataset}},
            dict(
                type="SyntheticLVISDataset",
                root="work_dirs/demo/synthetic",
                generation_config="configs/generation/minilvis_rare.py",
                filter_cfg=dict(filter_empty_gt=True),
                pipeline={{_base_.train_pipeline}},
            ),
        ],
    )
)
