"""Table 2d: the published sentence without a definition."""

import dataclasses

from default import config as parent

config = dataclasses.replace(parent, template="a photo of a single {name}")
