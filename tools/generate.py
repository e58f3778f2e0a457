"""Generate a synthetic dataset: images with instance masks, in LVIS format.

    python tools/generate.py --config configs/generation/minilvis_rare.py --out work_dirs/rare

The config says how: MosaicFusion (minilvis_rare.py) or SegGen (minilvis_masksyn.py, _imgsyn.py).

``--launcher ray`` makes it on many GPUs or machines (docs/scaling.md).

Run the same command again to go on with an unfinished one. The page to look at is OUT/gallery.html.
A config is Python code and is executed: use configs that you trust.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging

from mf_plugin import cli
from mf_plugin.device import find_device
from mf_plugin.errors import InputError
from mf_plugin.generation.config import load_generation_config
from mf_plugin.generation.ray_maker import RayConfig
from mf_plugin.generation.run import generate_to, preview
from mf_plugin.generation.storage import open_storage
from mf_plugin.seggen.synthesis import SegGenConfig

logger = logging.getLogger("generate")

# Arguments that stand over a config's fields, where it has them
OPTIONS = ("num_images", "seed", "model", "revision", "text2mask", "mask2img")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", required=True, help="a Python file with `config = ...`")
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="the dataset folder, or s3://..."
    )
    parser.add_argument(
        "--num-images",
        type=int,
        metavar="N",
        help="canvases of all main categories or source images; no further rounds follow",
    )
    parser.add_argument("--seed", type=int, metavar="S", help="instead of the config's")
    parser.add_argument(
        "--device", help="of torch: cpu, cuda, cuda:1 (default: cuda where there is one)"
    )
    parser.add_argument(
        "--model", metavar="ID_OR_FOLDER", help="MosaicFusion's, instead of the config's"
    )
    parser.add_argument(
        "--revision", metavar="NAME", help="branch, tag or commit of a --model from the hub"
    )
    for name in ("text2mask", "mask2img"):
        parser.add_argument(f"--{name}", metavar="DIR", help="SegGen's, instead of the config's")
    parser.add_argument(
        "--annotations", metavar="FILE", help="of SegGen's real images, instead of the config's"
    )
    parser.add_argument("--images", metavar="DIR", help="of SegGen's real images, likewise")
    parser.add_argument(
        "--preview",
        type=int,
        metavar="N",
        help="only render the first N canvases, into DIR-preview, replacing an earlier preview",
    )
    parser.add_argument(
        "--mask-workers",
        type=int,
        default=1,
        metavar="N",
        help="processes that make masks while the U-Net goes on (default: 1)",
    )
    parser.add_argument(
        "--launcher", choices=("none", "ray"), default="none", help="ray: on Ray's workers"
    )
    parser.add_argument(
        "--address",
        metavar="HOST:PORT",
        help="of a running Ray cluster, or auto (default: start Ray on this machine)",
    )
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="of Ray (default: one for each GPU, or for as many CPUs as the config has threads)",
    )
    parser.add_argument(
        "--tries",
        type=int,
        default=RayConfig.tries,
        metavar="N",
        help="of Ray: of a group, before the run stops (default: %(default)s)",
    )
    parser.add_argument(
        "--hung-after",
        type=float,
        default=RayConfig.hung_after,
        metavar="SECONDS",
        help="of Ray: without an answer, until a worker is replaced (default: %(default)s; and "
        "ten times the longest group so far)",
    )
    arguments = parser.parse_args()
    if arguments.launcher == "none" and (arguments.address or arguments.workers is not None):
        parser.error("--address and --workers are for --launcher ray")
    return arguments


def main() -> None:
    arguments = parse_arguments()
    config = load_generation_config(arguments.config)
    changes = {
        name: getattr(arguments, name) for name in OPTIONS if getattr(arguments, name) is not None
    }
    known = {field.name for field in dataclasses.fields(config)}
    for name in changes.keys() - known:
        expected = ", ".join(sorted(f"--{other}" for other in OPTIONS if other in known))
        raise InputError(
            f"--{name}: a {type(config).__name__} has none ({arguments.config}); expected some of "
            f"{expected}"
        )
    moved = {
        name: getattr(arguments, name)
        for name in ("annotations", "images")
        if getattr(arguments, name) is not None
    }
    if moved:
        if not isinstance(config, SegGenConfig):
            name = next(iter(moved))
            raise InputError(f"--{name}: {arguments.config} starts from no real images")
        changes["source"] = dataclasses.replace(config.source, **moved)
    if "num_images" in changes:
        changes["until"] = None
    if "model" in changes:
        changes.setdefault("revision", None)  # not that of the config's model
    config = dataclasses.replace(config, **changes)
    ray = None
    if arguments.launcher == "ray":
        ray = RayConfig(arguments.address, arguments.workers, arguments.tries, arguments.hung_after)
    device = arguments.device or find_device()
    storage = open_storage(arguments.out)
    if arguments.preview is None:
        generate_to(
            storage,
            config,
            device=device,
            mask_workers=arguments.mask_workers,
            ray=ray,
        )
    else:
        preview(config, storage, arguments.preview, device=device)
        storage = storage.beside("-preview")
    logger.info("%s/gallery.html", storage)


if __name__ == "__main__":
    cli.run(main)
