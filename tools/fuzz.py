"""Hostile input for every reader: nothing but the documented error may come of it.

    python tools/fuzz.py                                 # 100,000 inputs over all targets
    python tools/fuzz.py --target lvis --inputs 5000
    python tools/fuzz.py --driver atheris                # led by coverage (extra "fuzz")
    python tools/fuzz.py --target lvis --repeat 0a1b2c   # one input, as a fault prints it

Prints the inputs of each target, how many it refused and how many it accepted and used. Exit code 1
where one raised anything but an InputError of one line, or took too long.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from mf_plugin import cli
from mf_plugin.errors import InputError
from mf_plugin.fuzz.run import Fault, run_atheris, run_one, run_random
from mf_plugin.fuzz.targets import TARGETS

# Parts of the inputs; what opens many files, or measures AP, gets fewer.
SHARES = {"lvis": 24, "truth": 12, "results": 20, "vocabulary": 10, "generation_config": 12}
SHARES |= {"benchmark_config": 6, "tiny_sd_config": 4, "finished": 6, "scores": 5, "config_file": 1}
SHARES |= {"colormap": 8, "palette": 4, "seggen_record": 4, "captions": 4, "masksyn": 4}
SHARES |= {"source": 8, "seggen_config": 8, "seggen_train_config": 4}
DRIVERS = {"random": run_random, "atheris": run_atheris}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--target", choices=sorted(TARGETS), action="append", help="(default: all)")
    parser.add_argument("--inputs", type=int, default=100_000, help="of all targets together")
    parser.add_argument("--driver", choices=sorted(DRIVERS), default="random")
    parser.add_argument("--seed", type=int, default=1, help="(default: 1)")
    parser.add_argument("--repeat", metavar="HEX", help="one input again, for one --target")
    return parser.parse_args()


def main() -> int:
    args = parse_arguments()
    names = args.target or list(SHARES)
    if args.repeat is not None:
        return repeat(names, args.repeat)
    total, faults = 0, 0
    shares = sum(SHARES[name] for name in names)
    print(f"{'target':<20}{'inputs':>9}{'refused':>9}{'accepted':>9}{'seconds':>9}")
    for name in names:
        begin = time.perf_counter()
        try:
            inputs = -(-args.inputs * SHARES[name] // shares)
            count = DRIVERS[args.driver](name, inputs, args.seed)
        except Fault as fault:
            print(f"FAULT {fault}", flush=True)
            faults += 1
            continue
        seconds = time.perf_counter() - begin
        row = f"{name:<20}{count.total:>9,}{count.refused:>9,}{count.accepted:>9,}{seconds:>9.1f}"
        print(row, flush=True)
        total += count.total
    print(f"{total:,} inputs with the driver {args.driver}; {faults} targets with a fault")
    return 1 if faults else 0


def repeat(names: list[str], text: str) -> int:
    if len(names) != 1:
        raise InputError(f"--repeat with {len(names)} targets; expected one --target")
    with tempfile.TemporaryDirectory() as folder:
        try:
            accepted = run_one(names[0], bytes.fromhex(text), Path(folder))
        except Fault as fault:
            print(f"FAULT {fault}")
            return 1
    print("accepted" if accepted else "refused")
    return 0


if __name__ == "__main__":
    sys.setrecursionlimit(1000)  # Python's default: what is nested too deep must be so everywhere
    cli.run(main)
