"""Published masks, all sub-tokens."""

import dataclasses

from minilvis_rare import config as parent

config = dataclasses.replace(parent, mask=dataclasses.replace(parent.mask, method="published"))
