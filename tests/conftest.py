"""Tiny, real Stable Diffusions of random weights, saved as diffusers folders once a session; and
a generation config for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MERGES = ["b a", "t h</w>", "ba th</w>", "t o", "to w", "tow e", "towe l</w>", "c a", "ca t</w>"]


def byte_alphabet() -> list[str]:
    """The 256 printable stand-ins of byte-level BPE."""
    from tokenizers import pre_tokenizers

    return sorted(pre_tokenizers.ByteLevel.alphabet())


def make_tokenizer(length: int = 77, **options: Any) -> Any:
    transformers = pytest.importorskip("transformers")
    letters = byte_alphabet()
    merged = [merge.replace(" ", "") for merge in MERGES]
    words = [*letters, *(letter + "</w>" for letter in letters), *merged]
    words += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: index for index, word in enumerate(words)}
    merges = [tuple(merge.split()) for merge in MERGES]
    return transformers.CLIPTokenizer(vocabulary, merges, model_max_length=length, **options)


def make_unet(sharpness: float = 8, **options: Any) -> Any:
    """Cross-attention at scales 1 and 2, two heads each, unless ``options`` has it otherwise."""
    defaults = dict(
        sample_size=16,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=2,
        norm_num_groups=4,
    )
    unet = pytest.importorskip("diffusers").UNet2DConditionModel(**{**defaults, **options})
    # Random attention is nearly uniform; sharper queries make the maps worth comparing.
    for name, parameter in unet.named_parameters():
        if "attn2.to_q" in name or "attn2.to_k" in name:
            parameter.data *= sharpness
    return unet


def make_vae() -> Any:
    """Factor 2."""
    return pytest.importorskip("diffusers").AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D", "DownEncoderBlock2D"),
        up_block_types=("UpDecoderBlock2D", "UpDecoderBlock2D"),
        latent_channels=4,
        norm_num_groups=4,
    )


def make_text_encoder(
    tokenizer: Any, projected: bool = False, scale: float = 5, **options: Any
) -> Any:
    transformers = pytest.importorskip("transformers")
    defaults = dict(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=77,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    config = transformers.CLIPTextConfig(**{**defaults, **options})
    encoder = (
        transformers.CLIPTextModelWithProjection if projected else transformers.CLIPTextModel
    )(config)
    for parameter in encoder.parameters():
        if parameter.std() > 0:
            parameter.data *= scale
    return encoder


BETAS = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1)
UNSAFE = dict(safety_checker=None, feature_extractor=None, requires_safety_checker=False)


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    return make_tokenizer()


@pytest.fixture(scope="session")
def tiny_sd_folder(tmp_path_factory, tokenizer) -> str:
    """Stable Diffusion 1: VAE factor 2; U-Net with cross-attention at scales 1 and 2."""
    torch = pytest.importorskip("torch")
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("tiny") / "sd"
    diffusers.StableDiffusionPipeline(
        unet=make_unet(),
        vae=make_vae(),
        text_encoder=make_text_encoder(tokenizer),
        tokenizer=tokenizer,
        scheduler=diffusers.DDIMScheduler(clip_sample=False, set_alpha_to_one=False, **BETAS),
        **UNSAFE,
    ).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def tiny_sd2_folder(tmp_path_factory, tokenizer) -> str:
    """Stable Diffusion 2: v-prediction, linear projections, head counts by block, GELU text."""
    torch = pytest.importorskip("torch")
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("tiny") / "sd2"
    diffusers.StableDiffusionPipeline(
        unet=make_unet(attention_head_dim=[2, 4], use_linear_projection=True),
        vae=make_vae(),
        text_encoder=make_text_encoder(tokenizer, hidden_act="gelu", num_hidden_layers=2),
        tokenizer=tokenizer,
        scheduler=diffusers.DDIMScheduler(
            clip_sample=False, set_alpha_to_one=False, prediction_type="v_prediction", **BETAS
        ),
        **UNSAFE,
    ).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def tiny_sdxl_folder(tmp_path_factory, tokenizer) -> str:
    """SDXL: two text encoders, sizes; cross-attention at scales 2 and 4 of three."""
    torch = pytest.importorskip("torch")
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(2)
    folder = tmp_path_factory.mktemp("tiny") / "sdxl"
    unet = make_unet(
        sharpness=4,
        block_out_channels=(8, 16, 16),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=[2, 2, 4],
        transformer_layers_per_block=[1, 1, 2],
        use_linear_projection=True,
        cross_attention_dim=16 + 24,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=20 + 6 * 8,  # pooled text and six sizes
    )
    diffusers.StableDiffusionXLPipeline(
        unet=unet,
        vae=make_vae(),
        text_encoder=make_text_encoder(tokenizer, scale=2, num_hidden_layers=2),
        text_encoder_2=make_text_encoder(
            tokenizer, True, 2, hidden_size=24, num_hidden_layers=2, projection_dim=20
        ),
        tokenizer=tokenizer,
        tokenizer_2=make_tokenizer(pad_token="!"),
        scheduler=diffusers.EulerDiscreteScheduler(**BETAS),
        add_watermarker=False,
    ).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def tiny_sam_folder(tmp_path_factory):
    """A real SAM of random weights: images of 32 pixels, patches of 4."""
    torch, transformers = (pytest.importorskip(name) for name in ("torch", "transformers"))
    torch.manual_seed(0)
    config = transformers.SamConfig(
        vision_config=dict(
            hidden_size=16,
            output_channels=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=32,
            patch_size=4,
            window_size=4,
            global_attn_indexes=[1],
            num_pos_feats=8,
            mlp_dim=32,
            initializer_range=0.02,
        ),
        prompt_encoder_config=dict(
            hidden_size=16, image_size=32, patch_size=4, mask_input_channels=4
        ),
        mask_decoder_config=dict(
            hidden_size=16,
            mlp_dim=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            iou_head_hidden_dim=16,
        ),
    )
    model = transformers.SamModel(config)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.data = parameter.data * 3 + 0.2 * torch.randn_like(parameter)
    images = transformers.SamImageProcessor(
        size={"longest_edge": 32}, pad_size={"height": 32, "width": 32}
    )
    folder = tmp_path_factory.mktemp("sam") / "model"
    model.save_pretrained(folder)
    transformers.SamProcessor(images).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_clip_folder(tokenizer, tmp_path_factory):
    """A real CLIP of random weights: images of 16 pixels, patches of 4, text of 16 tokens."""
    torch, transformers = (pytest.importorskip(name) for name in ("torch", "transformers"))
    torch.manual_seed(0)
    sizes = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2)
    marks = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id")}
    config = transformers.CLIPConfig(
        text_config=dict(
            **sizes, **marks, vocab_size=len(tokenizer), max_position_embeddings=16, pad_token_id=0
        ),
        vision_config=dict(**sizes, image_size=16, patch_size=4),
        projection_dim=8,
        logit_scale_init_value=1.5,
    )
    model = transformers.CLIPModel(config)
    for parameter in model.parameters():  # random images and texts should not all look alike
        if parameter.ndim > 1:
            parameter.data *= 8
    images = transformers.CLIPImageProcessor(
        size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}
    )
    folder = tmp_path_factory.mktemp("clip") / "model"
    model.save_pretrained(folder)
    transformers.CLIPProcessor(images, tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture()
def generation_config(tmp_path: Path, real: Path) -> Callable[..., Path]:
    """The file of a config that generates four small images of the classes of ``real``, a folder
    with train/ that the tests of each framework have."""

    def write(model: str = "no/model", **changes: Any) -> Path:
        values = dict(
            vocabulary=str(real / "train/annotations.json"),
            model=model,
            num_images=4,
            canvas=(64, 64),
            overlap=(8, 8),
            multiple=4,
            steps=2,
            guidance=3.0,
            template="a {name}",
            group_size=2,
            seed=7,
        )
        path = tmp_path / "generate_tiny.py"
        path.write_text(
            "from mf_plugin.generation.config import GenerationConfig\n"
            "from mf_plugin.generation.filters import FilterConfig\n"
            "from mf_plugin.mosaic.masks import MaskConfig\n"
            "filters = FilterConfig(min_area=0.001, max_area=1.0, components=99)\n"
            f"config = GenerationConfig(**{ {**values, **changes}!r}, filters=filters,"
            " mask=MaskConfig(method='published'))\n"
        )
        return path

    return write
