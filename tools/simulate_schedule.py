"""Simulate a run on many workers, some of which are lost: makespan, lost work, load of the driver.

    python tools/simulate_schedule.py --groups 31250 --workers 1000 --group-seconds 24 \\
        --load-seconds 60 --write-seconds 0.05 --mean-life 86400

No model is loaded and no Ray is started; the schedule is generation's own. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from mf_plugin import cli
from mf_plugin.bench.schedule import SimulationConfig, simulate


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--groups", type=int, required=True, metavar="N")
    parser.add_argument("--workers", type=int, default=1000, metavar="N")
    parser.add_argument("--group-seconds", type=float, required=True, help="mean, on a worker")
    parser.add_argument("--spread", type=float, default=0.1, help="relative deviation of that")
    parser.add_argument("--load-seconds", type=float, default=60, help="to load the models")
    parser.add_argument("--write-seconds", type=float, default=0.05, help="of the driver, a group")
    parser.add_argument("--writers", type=int, default=1, help="16 for an object store")
    parser.add_argument("--mean-life", type=float, default=0, help="of a worker; 0: none is lost")
    parser.add_argument("--tries", type=int, default=5, help="of a group")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main() -> None:
    config = SimulationConfig(**vars(parse_arguments()))
    print(json.dumps({**asdict(config), **asdict(simulate(config))}, indent=1))


if __name__ == "__main__":
    cli.run(main)
