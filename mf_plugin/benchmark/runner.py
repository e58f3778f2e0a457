"""Runs the steps of a benchmark: those that are ready, a few at a time, each once.

A step that has finished leaves step.json in its folder and is not run again. Kill the runner at any
moment: the next one goes on, trainings at their latest checkpoint. Several runners may share a
folder: a lock keeps each step to one of them, and the step's own process holds it too, so that
nobody starts what a killed runner has left at work.
"""

from __future__ import annotations

import fcntl
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tqdm import tqdm

from mf_plugin.benchmark.machine import describe_machine, describe_versions
from mf_plugin.benchmark.processes import start, stop
from mf_plugin.benchmark.steps import DONE, LOG, Step, ordered
from mf_plugin.errors import InputError
from mf_plugin.lvis.io import write_json_atomic

POLL = 0.1  # seconds
SHOWN_LINES = 3  # of a failed step's log


@dataclass
class Running:
    """A step at work."""

    step: Step
    process: subprocess.Popen[bytes]
    lock: IO[str]
    log: IO[str]
    began: float
    resumed: bool


def run_steps(
    wanted: Sequence[Step], out: Path, *, jobs: int = 1, device: str = "cpu"
) -> dict[str, str]:
    """Run steps and what they need, as far as they have not been run before.

    Args:
        wanted: the last steps.
        out: folder of all results.
        jobs: steps that run at the same time, with a share of the cores each.
        device: where models run.

    Returns:
        What could not be run: name of a failed step -> why, and of each step that needs it.
        What does not depend on them has been run.

    Raises:
        InputError: files that a command names are missing; nothing has been run.
    """
    steps = ordered(list(wanted))
    _check(steps, jobs)
    out = out.absolute()
    waiting = [step for step in steps if not step.is_done(out)]
    running: list[Running] = []
    failed: dict[str, str] = {}
    shown = ""
    bar = tqdm(total=len(steps), initial=len(steps) - len(waiting), unit="step", desc="benchmark")
    try:
        while waiting or running:
            # 1. What has ended.
            for job in [job for job in running if job.process.poll() is not None]:
                running.remove(job)
                problem = _finish(job, out, device)
                if problem:
                    failed[job.step.name] = problem
                    bar.write(f"step '{job.step.name}' failed: {problem}", file=sys.stderr)
                else:
                    bar.update()
            # 2. What can no longer be run, and what can be now.
            for step in list(waiting):
                lost = [needed.name for needed in step.needs if needed.name in failed]
                if lost:
                    waiting.remove(step)
                    failed[step.name] = f"needs '{lost[0]}', which failed"
                elif step.is_done(out):  # by another runner
                    waiting.remove(step)
                    bar.update()
                elif len(running) < jobs and all(needed.is_done(out) for needed in step.needs):
                    try:
                        started = _start(step, out, jobs, device)
                    except InputError as error:
                        waiting.remove(step)
                        failed[step.name] = str(error)
                        continue
                    if started is not None:
                        waiting.remove(step)
                        running.append(started)
                        bar.write(f"{step.name}: {step.why}", file=sys.stderr)
            names = ", ".join(job.step.name for job in running)
            if names != shown:
                bar.set_postfix_str(names)
            shown = names
            time.sleep(POLL)
    finally:
        for job in running:
            stop(job.process)
            _let_go(job)
        bar.close()
    return failed


def _check(steps: list[Step], jobs: int) -> None:
    if jobs < 1:
        raise InputError(f"jobs is {jobs}; expected at least 1")
    for step in steps:
        if step.missing:
            raise InputError(
                f"step '{step.name}' names {step.missing[0]}, which does not exist; see --dry-run"
            )


def _start(step: Step, out: Path, jobs: int, device: str) -> Running | None:
    """Start a step; None while another runner has it."""
    folder = step.folder(out)
    folder.mkdir(parents=True, exist_ok=True)
    lock = open(folder / ".lock", "w")  # noqa: SIM115  let go of when the step has ended
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    if step.is_done(out):  # by the one that has just let go of it
        lock.close()
        return None
    try:
        command, resumed = step.command(out, device), step.can_resume(out)
    except InputError:
        lock.close()
        raise
    log = open(folder / LOG, "a", encoding="utf-8")  # noqa: SIM115
    log.write(f"$ python {shlex.join(command)}\n")
    log.flush()
    began, kept = time.monotonic(), [lock.fileno()]
    process = start(command, step.root, jobs=jobs, output=log, keep_open=kept)
    return Running(step, process, lock, log, began, resumed)


def _finish(job: Running, out: Path, device: str) -> str:
    """Note a step that has ended; returns what went wrong, "" if nothing did."""
    folder = job.step.folder(out)
    problem = ""
    if job.process.returncode:
        problem = f"exit code {job.process.returncode}; {_end_of(folder / LOG)}"
    elif not any(folder.glob(job.step.result)):
        problem = f"it ended without {folder / job.step.result}"
    else:
        record = {
            "step": job.step.name,
            "hash": job.step.hash,
            "command": shlex.join(["python", *job.step.shown(device=device)]),
            "seconds": round(time.monotonic() - job.began, 1),
            "resumed": job.resumed,
            "machine": describe_machine(device),
            "versions": describe_versions(),
        }
        write_json_atomic(folder / DONE, record, indent=2)
    _let_go(job)
    return problem


def _let_go(job: Running) -> None:
    job.log.close()
    job.lock.close()


def _end_of(log: Path) -> str:
    text = log.read_text(encoding="utf-8", errors="replace").replace("\r", "\n")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join(lines[-SHOWN_LINES:]) + f" ({log})"
