"""CenterNet2 Swin-B-FPN 4x on LVIS v1 and MosaicFusion's images (Table 7: APr 39.0, AP 41.2).

Same detector, initial weights, sampler, seed and number of steps; the data alone differs.
"""

_base_ = "./centernet2_swin-b_fpn_sample1e-3_lsj-896-4x_lvis-v1.py"

work_dir = "work_dirs/centernet2_swin-b_fpn_sample1e-3_lsj-896-4x_lvis-v1_mosaicfusion"
test_evaluator = dict(outfile_prefix=f"{work_dir}/results")

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type="LVISConcatDataset",
        datasets=[
            {{_base_.train_dataloader.dataset}},
            dict(
                type="SyntheticLVISDataset",
                root={{_base_.synthetic_root}},
                generation_config={{_base_.generation_config}},
                filter_cfg=dict(filter_empty_gt=True, min_size=32),
                pipeline={{_base_.train_pipeline}},
            ),
        ],
    )
)
