"""Table 2h: attention of the first fifth of the steps."""

import dataclasses

from default import config as parent

config = dataclasses.replace(parent, attention=dataclasses.replace(parent.attention, steps=(0, 5)))
