"""One rejected object drops its canvas (published)."""

import dataclasses

from minilvis_rare import config as parent

config = dataclasses.replace(parent, reject="image")
