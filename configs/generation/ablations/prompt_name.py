"""Table 2d: the name alone."""

import dataclasses

from minilvis_rare import config as parent

config = dataclasses.replace(parent, template="{name}")
