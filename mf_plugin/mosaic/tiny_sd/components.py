"""The pipeline's components, built from scratch: tokenizer, text encoder, VAE, U-Net, scheduler."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from mf_plugin.extras import require
from mf_plugin.mosaic.tiny_sd.config import TinySDConfig

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

LATENT_CHANNELS = 4


def train_tokenizer(corpus: Iterable[str], config: TinySDConfig) -> CLIPTokenizer:
    """A CLIPTokenizer whose byte-pair merges are learnt from ``corpus``.

    The words of the templates become single tokens; names that are seldom stay in pieces, as they
    do in CLIP's own vocabulary.
    """
    transformers = require("transformers", "diffusion")
    tokenizers = require("tokenizers", "diffusion")
    special = ["<|startoftext|>", "<|endoftext|>"]
    shell = transformers.CLIPTokenizer(vocab={s: i for i, s in enumerate(special)}, merges=[])
    learner = tokenizers.Tokenizer(
        tokenizers.models.BPE(end_of_word_suffix="</w>", unk_token=special[1])
    )
    learner.normalizer = shell.backend_tokenizer.normalizer
    learner.pre_tokenizer = shell.backend_tokenizer.pre_tokenizer
    # CLIP's order: letters, letters that end a word, merges, special tokens. The trainer breaks
    # ties by a token's number, so the letters are given to it in a fixed order.
    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    letters += [letter + "</w>" for letter in letters]
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=config.vocabulary_size - len(special),
        special_tokens=letters,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    learner.train_from_iterator(corpus, trainer)
    learned = json.loads(learner.to_str())["model"]
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in learned["merges"]]
    tokens = [*letters, *("".join(m) for m in merges), *special]
    vocab = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    return transformers.CLIPTokenizer(
        vocab=vocab, merges=merges, model_max_length=config.max_tokens
    )


def build_text_encoder(tokenizer: CLIPTokenizer, config: TinySDConfig) -> CLIPTextModel:
    """A shallow CLIPTextModel: the less other tokens know of the class, the better the subject
    token's attention localises its object."""
    transformers = require("transformers", "diffusion")
    return transformers.CLIPTextModel(
        transformers.CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=config.text_width,
            intermediate_size=2 * config.text_width,
            num_hidden_layers=config.text_layers,
            num_attention_heads=4,
            max_position_embeddings=config.max_tokens,
            projection_dim=config.text_width,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def build_vae(config: TinySDConfig) -> AutoencoderKL:
    """AutoencoderKL of factor 4 with 4 latent channels."""
    diffusers = require("diffusers", "diffusion")
    levels = len(config.vae_channels)
    return diffusers.AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=LATENT_CHANNELS,
        block_out_channels=config.vae_channels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        layers_per_block=1,
        norm_num_groups=8,
        sample_size=64,
        mid_block_add_attention=False,
    )


def build_unet(config: TinySDConfig) -> UNet2DConditionModel:
    """UNet2DConditionModel with cross-attention at latent resolution and at half of it."""
    diffusers = require("diffusers", "diffusion")
    cross = len(config.unet_channels) - 1
    return diffusers.UNet2DConditionModel(
        sample_size=16,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=config.unet_channels,
        down_block_types=("CrossAttnDownBlock2D",) * cross + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * cross,
        layers_per_block=config.unet_layers,
        cross_attention_dim=config.text_width,
        attention_head_dim=config.unet_heads,
        norm_num_groups=16,
    )


def build_scheduler() -> DDIMScheduler:
    """DDIM with Stable Diffusion's betas; the network predicts v (Salimans and Ho 2022)."""
    diffusers = require("diffusers", "diffusion")
    return diffusers.DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="v_prediction",
    )
