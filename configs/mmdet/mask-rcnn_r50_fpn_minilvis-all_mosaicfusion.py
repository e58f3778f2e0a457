"""Mask R-CNN R50-FPN on all of mini-LVIS and synthetic images of its rare categories.

Same detector, initial weights, sampler, seed and number of steps; the data alone differs. Generate
the synthetic dataset first: the bundled tiny Stable Diffusion knows the demo's categories alone, so
train one that knows all of them, and generate with configs/generation/minilvis_all_rare.py.
"""

_base_ = "./mask-rcnn_r50_fpn_minilvis-all.py"

work_dir = "work_dirs/mask-rcnn_r50_fpn_minilvis-all_mosaicfusion"
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
                filter_cfg=dict(filter_empty_gt=True),
                pipeline={{_base_.train_pipeline}},
            ),
        ],
    )
)
