"""MosaicFusion's painter: a group's canvases and their attention, in one batch."""

from __future__ import annotations

from mf_plugin.errors import InputError
from mf_plugin.generation.assemble import MosaicAssembler, Painted, load_models
from mf_plugin.generation.plan import Group, Plan, possible_names
from mf_plugin.mosaic.masks import attention_config_for
from mf_plugin.mosaic.pipeline import MosaicPipeline
from mf_plugin.mosaic.prompts import build_prompt, subject_tokens


class MosaicPainter:
    """The pipeline of a plan, and what looks at painted objects.

    Raises:
        InputError: a model cannot be used, or does not fit the plan.
    """

    def __init__(self, plan: Plan, device: str) -> None:
        self._config = plan.config
        self.pipeline = load_pipeline(plan, device)
        self.assembler = MosaicAssembler(plan.config, load_models(plan.config, device))

    def weights(self) -> str:
        return self.pipeline.model_hash()

    def paint(self, group: Group) -> Painted:
        config = self._config
        output = self.pipeline(
            group.layout,
            [canvas.prompts for canvas in group.canvases],
            seeds=[canvas.seed for canvas in group.canvases],
            steps=config.steps,
            guidance=config.guidance,
            negative_prompt=config.negative_prompt,
            attention=attention_config_for(config.mask, config.attention),
        )
        return Painted(output.images, output.attention)


def load_pipeline(plan: Plan, device: str) -> MosaicPipeline:
    """Load the model and see that it fits the plan.

    Raises:
        InputError: it cannot be loaded, or does not fit.
        MissingExtra: the extra "diffusion" is not installed.
    """
    config = plan.config
    pipeline = MosaicPipeline.from_pretrained(
        config.model,
        device,
        dtype=config.dtype,
        scheduler=config.scheduler,
        offload=config.offload,
        compile=config.compile,
        revision=config.revision,
    )
    if config.multiple % pipeline.vae_factor:
        raise InputError(
            f"multiple is {config.multiple}; expected a multiple of {pipeline.vae_factor}, "
            f"the VAE factor of {config.model}: regions must be divisible by it"
        )
    scales = pipeline.attention_scales(config.attention)
    if scales and not set(config.mask.scales) <= set(scales):
        raise InputError(
            f"mask.scales is {config.mask.scales}; expected some of {', '.join(map(str, scales))}, "
            f"where {' and '.join(config.attention.blocks)} blocks of {config.model} have attention"
        )
    background, style = (max(w, key=len, default="") for w in (config.backgrounds, config.styles))
    for category in dict.fromkeys(plan.main + plan.others):
        for name in possible_names(category, config):
            prompt = build_prompt(category, config.template, background, name, style)
            subject_tokens(pipeline.tokenizer, prompt)
    return pipeline
