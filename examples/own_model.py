"""Generate with a diffusion model of your own: Stable Diffusion 1.x, 2.x or SDXL.

    python examples/own_model.py --model path/to/diffusers-folder --side 512 --out work_dirs/own

Nothing is trained or adapted. `tools/generate.py --model` exchanges the model of a config and
leaves its sizes; here the sizes follow from the model. On a CPU try --side 64 --steps 5 first.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mf_plugin import cli
from mf_plugin.device import find_device
from mf_plugin.generation.config import GenerationConfig
from mf_plugin.generation.run import generate
from mf_plugin.mosaic.bilateral import BilateralConfig
from mf_plugin.mosaic.masks import MaskConfig
from mf_plugin.mosaic.pipeline import MosaicPipeline

PAPER_CELL, PAPER_SIDE = 16, (384 * 512) ** 0.5  # of the bilateral solver, for regions of this side


def make_config(
    model: str, side: int, num_images: int, steps: int, revision: str | None = None
) -> GenerationConfig:
    """A config whose regions have sides of about ``side`` pixels: what the model was trained on."""
    pipeline = MosaicPipeline.from_pretrained(model, revision=revision)
    multiple = pipeline.region_multiple  # of a region's sides: VAE factor x halvings of the U-Net
    side = max(1, round(side / multiple)) * multiple
    reach = max(1, round(side / 16 / multiple)) * multiple  # of a region past its line
    blocks = enumerate(pipeline.unet.config.down_block_types)
    scales = tuple(2**level for level, kind in blocks if "CrossAttn" in kind)
    return GenerationConfig(
        vocabulary="minilvis:demo",
        model=model,
        revision=revision,
        num_images=num_images,
        region_size=(side, side),
        overlap=(2 * reach, 2 * reach),  # the paper's: an eighth of a region
        multiple=multiple,
        template="a photo of a single {name}",
        steps=steps,
        mask=MaskConfig(
            scales=scales,  # where the model has cross-attention: 1, 2 and 4, of SDXL 2 and 4
            bilateral=BilateralConfig(sigma_spatial=PAPER_CELL * side / PAPER_SIDE),
        ),
        group_size=2,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="diffusers folder or hub id")
    parser.add_argument("--revision", help="branch, tag or commit of a hub id")
    parser.add_argument("--side", type=int, default=512, help="of a region, in pixels")
    parser.add_argument("--num-images", type=int, default=2)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument(
        "--device", help="of torch: cpu, cuda, cuda:1 (default: cuda where there is one)"
    )
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    config = make_config(args.model, args.side, args.num_images, args.steps, args.revision)
    print(generate(config, args.out, device=args.device or find_device()) / "gallery.html")


if __name__ == "__main__":
    cli.run(main)
