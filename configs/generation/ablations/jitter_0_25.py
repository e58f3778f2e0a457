"""Table 2b: lines between regions move further."""

import dataclasses

from default import config as parent

config = dataclasses.replace(parent, jitter=0.25)
