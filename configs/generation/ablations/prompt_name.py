"""Table 2d: the name alone."""

import dataclasses

from default import config as parent

config = dataclasses.replace(parent, template="{name}")
