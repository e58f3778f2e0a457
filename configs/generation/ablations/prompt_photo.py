"""Table 2d: the published sentence without a definition. No word follows the name that the mask
could be read from."""

import dataclasses

from default import config as parent

from mf_plugin.mosaic.attention import AttentionConfig

config = dataclasses.replace(
    parent,
    template="a photo of a single {name}",
    attention=AttentionConfig(tokens="last"),
)
