"""MosaicFusion (arXiv 2309.13042): prompts -> images and masks, out of one diffusion run a
canvas."""
