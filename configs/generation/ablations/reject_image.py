"""One rejected object drops its canvas (published)."""

import dataclasses

from default import config as parent

config = dataclasses.replace(parent, reject="image")
