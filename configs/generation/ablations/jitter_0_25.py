"""Table 2b: lines between regions move further."""

import dataclasses

from minilvis_rare import config as parent

config = dataclasses.replace(parent, jitter=0.25)
