"""Table 2h: attention of the first half of the steps."""

import dataclasses

from default import config as parent

config = dataclasses.replace(parent, attention=dataclasses.replace(parent.attention, steps=(0, 12)))
