"""What a step ran on: it stands in records, and decides no hash."""

from __future__ import annotations

import os
import platform
from functools import cache
from importlib import metadata
from pathlib import Path

PACKAGES = (
    "numpy", "torch", "torchvision", "diffusers", "transformers",
    "onedl-mmdetection", "onedl-mmengine", "onedl-mmcv", "hotcoco",
)  # fmt: skip


@cache
def describe_machine(device: str) -> dict[str, str | int]:
    """Processor, number of cores, and the GPU if ``device`` is one."""
    machine: dict[str, str | int] = {"cpu": _processor(), "cores": os.cpu_count() or 1}
    if device.startswith("cuda"):
        import torch

        machine["gpu"] = torch.cuda.get_device_name(device)
    return machine


@cache
def describe_versions() -> dict[str, str]:
    """Python's version and those of the packages that results hang on, where installed."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
