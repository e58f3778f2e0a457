"""Goes on from demo_styles.py: images of several objects, which SegGen builds on.

Half of the U-Net's steps see scenes of mini-LVIS's kind, with captions such as "two doves and a
violin". The autoencoder stays as it is.
"""

import dataclasses

from mf_plugin.mosaic.tiny_sd.config import load_config

first = load_config(__file__.replace("demo_scenes.py", "demo_styles.py"))
config = dataclasses.replace(
    first,
    seed=2,
    start="work_dirs/tiny_sd_styles/pipeline",  # what demo_styles.py leaves
    scenes=10_000,
    vae_cycles=(),
    unet_cycles=((5_000, 0.6),),
    decoder_cycles=(),
)
