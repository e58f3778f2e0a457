"""Table 2c: regions share no pixels."""

import dataclasses

from default import config as parent

config = dataclasses.replace(parent, overlap=(0, 0))
