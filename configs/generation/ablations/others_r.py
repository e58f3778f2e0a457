"""Table 2e: the other regions hold rare categories alone."""

import dataclasses

from default import config as parent

config = dataclasses.replace(parent, other_categories=("r",))
