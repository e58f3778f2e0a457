"""MosaicFusion as published, for the rare categories of LVIS v1 (arXiv 2309.13042, IJCV 2024).

Sections and tables are the paper's; "code" marks what the paper leaves to its public code. It wants
a GPU: 8,425 canvases took the authors 23 hours on an A100 (Table 9).
"""

from mf_plugin.generation.config import GenerationConfig
from mf_plugin.generation.filters import FilterConfig
from mf_plugin.mosaic.attention import AttentionConfig
from mf_plugin.mosaic.bilateral import BilateralConfig
from mf_plugin.mosaic.masks import MaskConfig

config = GenerationConfig(
    # Yours: LVIS v1's training annotations, for the 1,203 categories and their definitions.
    vocabulary="annotations/lvis_v1_train.json",
    # Sec. 4.1.3, Table 2i: v1.4 APr 15.2, v1.5 15.5
    model="CompVis/stable-diffusion-v1-4",
    # Table 2e: {r, c, f} 15.2, {r} 14.2. Footnote 6: the 337 rare ones x 25 = 8,425 canvases
    main_categories=("r",),
    other_categories=("r", "c", "f"),
    images_per_category=25,  # Table 2f: 10 gives 13.1, 50 gives 14.7
    regions=(4,),  # Table 2a: 1 gives 14.0, 2 gives 13.3, random of {1, 2, 4} 14.5
    region_size=(384, 512),  # Sec. 4.1.3, height x width on average: a canvas of 768 x 1024
    jitter=0.375,  # Table 2b: 0.25 gives 13.8, 0.5 gives 14.2; centre at 0.75 to 1.25 of the half
    overlap=(48, 64),  # Table 2c, there as (64, 48): none gives 14.2, twice as much 13.2
    multiple=8,  # the VAE's factor, to which centres are floored (code)
    # The checkpoint's own (code). Sec. 4.1.3 names LMS, which the code imports and does not set.
    scheduler=None,
    steps=50,  # Sec. 4.1.3
    guidance=7.5,  # Sec. 4.1.3
    negative_prompt="",
    template="a photo of a single {name}, {definition}",  # Table 2d: without definition 14.0
    synonyms=False,
    attention=AttentionConfig(
        blocks=("down", "up"),  # without the middle one, 1/64 of the image (code)
        steps=(0, None),  # Table 2h: all 50 steps
        tokens="last",  # the last sub-token of the name (code)
    ),
    mask=MaskConfig(
        method="published",
        scales=(1, 2, 4),  # Table 2g: maps at 1/8, 1/16 and 1/32 of the image
        threshold="otsu",  # Sec. 3.3
        solver_rounds=2,  # Sec. 3.3 has the solver, code the rounds and the numbers
        bilateral=BilateralConfig(
            sigma_spatial=16,
            sigma_luma=16,
            sigma_chroma=8,
            smoothness=256,
            confidence=0.999,
            bistochastic_iterations=10,
            solver_iterations=25,
            tolerance=1e-5,
        ),
    ),
    # Sec. 3.3: one component of 5 to 95 % of a region. The code takes 9,830 to 186,778 pixels, the
    # shares of 384 x 512, for every region; here they are shares of its real area.
    filters=FilterConfig(min_area=0.05, max_area=0.95, components=1),
    reject="image",  # all four objects must pass; about half of the canvases do (Table 9)
    dtype="fp32",
    group_size=4,  # canvases denoised in one batch; 1 if memory is short
    threads=1,
    seed=0,
)
