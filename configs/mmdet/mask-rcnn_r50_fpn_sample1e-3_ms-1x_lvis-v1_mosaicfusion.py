"""Mask R-CNN R50-FPN 1x on LVIS v1 and MosaicFusion's images (Table 7: APr 15.2, AP 23.1).

Same detector, initial weights, sampler, seed and number of steps; the data alone differs.
"""

_base_ = "./mask-rcnn_r50_fpn_sample1e-3_ms-1x_lvis-v1.py"

work_dir = "work_dirs/mask-rcnn_r50_fpn_sample1e-3_ms-1x_lvis-v1_mosaicfusion"
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
