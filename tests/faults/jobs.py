"""What the tests of faults run and disturb: jobs that write a folder and may be run again.

As a program:

`python jobs.py kill JOB FOLDER TIMES` runs the job undisturbed, then again and again in children
of its own that die by SIGKILL at a random moment; after each death the job runs in what the child
left. It prints a json of what it saw.

`python jobs.py run JOB FOLDER [file-size=BYTES] [user=ID] [clock=jumps]` runs it once as a tool
does, where no file may be larger, as another user, or with a clock that jumps.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "generation"))
from squares_generator import SquaresConfig
from tqdm import tqdm

from mf_plugin import cli
from mf_plugin.evaluation.report import write_report
from mf_plugin.generation.run import generate
from mf_plugin.lvis.io import write_json_atomic
from mf_plugin.lvis.merge import merge_lvis


def generation(folder: Path) -> None:
    generate(SquaresConfig(marks=folder.parent, num_images=40), folder)


def merging(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    write_json_atomic(folder / "merged.json", merge_lvis(_lvis("train", 300), _lvis("images", 300)))


def report(folder: Path) -> None:
    values = dict.fromkeys(("AP", "AP50", "AP75", "APs", "APm", "APl", "APr", "APc", "APf"), 20.04)
    ids = [str(number) for number in range(1, 1204)]
    runs = {"segm": values, "bbox": values}
    content = {
        "runs": {"real": runs, "ours": runs},
        "std": {"real": runs, "ours": runs},
        "seeds": {"real": 1, "ours": 1},
        "delta": {"ours": runs},
        "interval": {"ours": {kind: {k: [1.0, 2.0] for k in values} for kind in runs}},
        "baseline": "real",
        "per_category": {
            name: {kind: dict.fromkeys(ids, 8.0) for kind in runs} for name in ("real", "ours")
        },
        "categories": [{"id": int(i), "name": f"category {i}", "frequency": "r"} for i in ids],
        "ground_truth": {"file": "val.json", "images": 2, "objects": 5, "groups": "frequency"},
        "bootstrap": {"draws": 100, "seed": 0, "confidence": 0.95},
    }
    write_report(content, folder)


JOBS: dict[str, Callable[[Path], None]] = {
    job.__name__: job for job in (generation, merging, report)
}


def hash_files(folder: Path) -> dict[str, str]:
    """Relative path -> SHA-256 of every file, but for what holds times."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("run.json", ".generate.lock")
    }


def _lvis(folder: str, number: int) -> dict[str, object]:
    category = {"id": 2, "name": "dog", "frequency": "r"}
    images = [
        {"id": i, "height": 8, "width": 8, "coco_url": f"{folder}/{i:012d}.jpg"}
        for i in range(1, number + 1)
    ]
    annotations = [
        {"id": i, "image_id": i, "category_id": 2, "area": 8.0, "bbox": [0, 0, 4, 4],
         "segmentation": [[0, 0, 4, 0, 0, 4]]}
        for i in range(1, number + 1)
    ]  # fmt: skip
    return {"categories": [category], "images": images, "annotations": annotations}


def kill(job: Callable[[Path], None], folder: Path, times: int) -> dict[str, int]:
    job(folder)  # reads the code once
    shutil.rmtree(folder)
    begin = time.perf_counter()
    job(folder)
    seconds = time.perf_counter() - begin
    calm = hash_files(folder)
    shutil.rmtree(folder)
    draws = random.Random(0)
    deaths = unfinished = other = 0
    for _ in range(times):
        child = os.fork()
        if not child:
            tqdm.set_lock(threading.RLock())  # its own: the old one would die with it in its hands
            job(folder)
            os._exit(0)
        time.sleep(draws.uniform(0, seconds))
        os.kill(child, signal.SIGKILL)
        deaths += os.WIFSIGNALED(os.waitpid(child, 0)[1])
        unfinished += not folder.exists() or hash_files(folder) != calm
        job(folder)
        other += hash_files(folder) != calm
        shutil.rmtree(folder)
    return {"files": len(calm), "deaths": deaths, "unfinished": unfinished, "other": other}


def disturb(**settings: str) -> None:
    if "file-size" in settings:
        limit = int(settings["file-size"])
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    if "user" in settings:
        os.setuid(int(settings["user"]))
    if "clock" in settings:
        jumps, true_time = random.Random(0), time.time
        time.time = lambda: true_time() + jumps.uniform(-1e6, 1e6)


def main() -> None:
    what, job, folder, *rest = sys.argv[1:]
    if what == "kill":
        print(json.dumps(kill(JOBS[job], Path(folder), int(rest[0]))))
    else:
        disturb(**dict(item.split("=") for item in rest))
        JOBS[job](Path(folder))


if __name__ == "__main__":
    cli.run(main)
