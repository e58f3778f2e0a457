"""mini-LVIS's rare categories as published: masks, subject token and rejection of the paper.

Size, prompt, steps and guidance stay those of the bundled model, which knows no others.
"""

import dataclasses

from minilvis_rare import config as refined

from mf_plugin.mosaic.attention import AttentionConfig

config = dataclasses.replace(
    refined,
    attention=AttentionConfig(tokens="last"),  # the last sub-token of the name (code)
    mask=dataclasses.replace(refined.mask, method="published"),  # Otsu, solver (Sec. 3.3)
    reject="image",  # all four objects must pass (Sec. 3.3)
)
