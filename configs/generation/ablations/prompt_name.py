"""Table 2d: the name alone. No word follows it that the mask could be read from."""

import dataclasses

from default import config as parent

from mf_plugin.mosaic.attention import AttentionConfig

config = dataclasses.replace(parent, template="{name}", attention=AttentionConfig(tokens="last"))
