"""Published masks: Otsu and the solver, on the attention of the name's last sub-token."""

import dataclasses

from default import config as parent

from mf_plugin.mosaic.attention import AttentionConfig

config = dataclasses.replace(
    parent,
    attention=AttentionConfig(tokens="last"),
    mask=dataclasses.replace(parent.mask, method="published"),
)
