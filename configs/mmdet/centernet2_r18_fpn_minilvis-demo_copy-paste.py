"""CenterNet2 with Simple Copy-Paste on the demo preset of mini-LVIS, real images alone.

Same detector, initial weights, sampler, seed and number of steps as the baseline; Copy-Paste alone
is new. train_net.py --synthetic DIR goes on top: real and synthetic images then paste into each
other.
"""

_base_ = ["./centernet2_r18_fpn_minilvis-demo.py", "./_base_/minilvis-demo_copy-paste.py"]

work_dir = "work_dirs/demo/centernet2/copy-paste"
test_evaluator = dict(outfile_prefix=f"{work_dir}/results")

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type="MultiImageMixDataset",
        dataset={{_base_.copy_paste_images}},
        pipeline={{_base_.copy_paste_pipeline}},
    )
)
