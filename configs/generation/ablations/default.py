"""The demo's synthetic set, which the ablations change one setting of.

One thread: the benchmark runs as many steps at a time as there are cores (--jobs).
"""

import dataclasses

from minilvis_rare import config as parent

config = dataclasses.replace(parent, threads=1)
