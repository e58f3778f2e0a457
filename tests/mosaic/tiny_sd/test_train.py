"""Tiny Stable Diffusion's training: real, and so small that it takes seconds."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

from mf_plugin.errors import InputError
from mf_plugin.lvis.sprites import MINIVAL_STYLES, TRAIN_STYLES, VAL_STYLES
from mf_plugin.mosaic.tiny_sd.config import TinySDConfig, load_config

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")
from mf_plugin.mosaic.tiny_sd import components, data, steps, train  # noqa: E402
from mf_plugin.mosaic.tiny_sd.scene_loss import measure_scenes  # noqa: E402

DEMO = Path(__file__).parents[3] / "configs/tiny_sd/demo.py"


@pytest.fixture(scope="module")
def config() -> TinySDConfig:
    return dataclasses.replace(
        load_config(DEMO),
        images=40,
        vae_channels=(8, 8, 8),
        vae_cycles=((2, 1.0),),
        vae_batch=2,
        decoder_cycles=((2, 1.0),),
        unet_channels=(16, 16, 16),
        unet_cycles=((2, 1.0), (2, 0.5)),
        unet_batch=2,
        warmup=2,
    )


@pytest.fixture(scope="module")
def opened() -> list[str]:
    """Names of all sprite archives opened since the fixture was made."""
    names: list[str] = []

    def hook(event: str, arguments: tuple) -> None:
        if event == "open" and "sprites" in str(arguments[0]):
            names.append(Path(str(arguments[0])).stem)

    sys.addaudithook(hook)
    return names


@pytest.fixture(scope="module")
def trained(config, opened, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tiny_sd")
    return train.train(config, folder / "work", folder / "pipeline")


def test_training_opens_archives_of_training_styles_alone(trained, opened):
    assert set(opened) == set(TRAIN_STYLES)
    assert not set(opened) & {*MINIVAL_STYLES, *VAL_STYLES}


def test_written_folder_loads_and_samples_as_any_stable_diffusion(trained):
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(trained)
    pipeline.set_progress_bar_config(disable=True)
    image = pipeline(
        "a photo of a single violin", height=64, width=56, num_inference_steps=2, output_type="np"
    ).images
    assert image.shape == (1, 64, 56, 3)
    assert np.isfinite(image).all()


def test_a_stopped_training_goes_on_to_the_same_weights(trained, config, tmp_path, monkeypatch):
    class Stop(Exception):
        pass

    real_update, calls = train._update, []

    def stop_at_seventh(*args, **kwargs):
        calls.append(1)
        if len(calls) == 7:  # 2 steps of the VAE, then in the U-Net's fifth call
            raise Stop
        return real_update(*args, **kwargs)

    monkeypatch.setattr(steps, "CHECKPOINT_SECONDS", -1)  # after every step
    monkeypatch.setattr(train, "_update", stop_at_seventh)
    with pytest.raises(Stop):
        train.train(config, tmp_path / "work", tmp_path / "pipeline")
    monkeypatch.setattr(train, "_update", real_update)
    again = train.train(config, tmp_path / "work", tmp_path / "pipeline")
    for part in ("unet", "vae"):
        name = "diffusion_pytorch_model.safetensors"
        assert (again / part / name).read_bytes() == (trained / part / name).read_bytes()


def test_latents_have_unit_variance_and_every_region_shape(config, trained):
    latents = np.load(trained.parent / "work" / "latents.npz")
    sizes = [latents[f"latents{b}"].shape[-2:] for b in range(len(config.regions))]
    assert sizes == [(h // 4, w // 4) for (h, w), _ in config.regions]
    scale = diffusers.AutoencoderKL.from_pretrained(trained / "vae").config.scaling_factor
    variances = [latents[f"latents{b}"].astype(float).var() for b in range(len(sizes))]
    assert np.mean(variances) * scale**2 == pytest.approx(1.0, rel=1e-3)


def test_tokenizer_keeps_template_words_whole_and_cuts_many_names(config):
    tokenizer = components.train_tokenizer(data.tokenizer_corpus(config), config)
    assert tokenizer.tokenize("a photo of a single") == [
        "a</w>",
        "photo</w>",
        "of</w>",
        "a</w>",
        "single</w>",
    ]
    names = [c.clean_name for c in data.load_corpus(config).categories]
    cut = [name for name in names if len(tokenizer.tokenize(name)) > 1]
    assert len(cut) >= len(names) / 3


def test_captions_follow_their_shares(config):
    config = dataclasses.replace(config, empty_caption=0.5)
    tokenizer = components.train_tokenizer(data.tokenizer_corpus(config), config)
    corpus = data.load_corpus(config)
    captions = data.Captions(tokenizer, corpus.categories, config)
    zeros = np.zeros(2000, int)
    drawn = captions.draw(np.random.default_rng(0), zeros, zeros, zeros)
    empty = (drawn == captions.empty).all(axis=1).mean()
    assert empty == pytest.approx(0.5, abs=0.05)


def test_captions_name_the_style_of_the_picture(config):
    config = dataclasses.replace(
        config,
        captions=(("{name}, {style}", 1.0),),
        styles=("glossy", "flat", "soft", "bold", "paper"),
        empty_caption=0.0,
    )
    tokenizer = components.train_tokenizer(data.tokenizer_corpus(config), config)
    corpus = data.load_corpus(config)
    captions = data.Captions(tokenizer, corpus.categories, config)
    rng = np.random.default_rng(0)
    drawn = corpus.draw(rng, (16, 16))
    sprites = dict(corpus.sprites[drawn.category])
    assert drawn.style in sprites and len(sprites) == 5
    one = [np.array([index]) for index in drawn[1:]]
    text = tokenizer.decode(captions.draw(rng, *one)[0], skip_special_tokens=True)
    name = corpus.categories[drawn.category].clean_name
    assert text.strip() == f"{name}, {config.styles[drawn.style]}".replace(", ", " , ")


def test_a_scene_lists_what_can_be_seen_in_it(config):
    corpus = data.load_corpus(config)
    scenes = [
        corpus.draw_scene(np.random.default_rng(seed), (64, 48), (2, 4)) for seed in range(40)
    ]
    assert {scene.image.shape for scene in scenes} == {(64, 48, 3)}
    counts = [len(scene.objects) for scene in scenes]
    assert max(counts) == 4 and min(counts) <= 2  # hidden ones are not listed
    assert len({c for scene in scenes for c in scene.objects}) > 20
    again = corpus.draw_scene(np.random.default_rng(3), (64, 48), (2, 4))
    assert again.objects == scenes[3].objects and (again.image == scenes[3].image).all()


def test_a_list_of_objects(config):
    categories = data.load_corpus(config).categories
    at = {category.clean_name: c for c, category in enumerate(categories)}
    objects = [at["dove"], at["dove"], at["airplane"], at["violin"]]
    assert data.list_objects(objects, categories) == "two doves, an airplane and a violin"
    assert data.list_objects(objects[:2], categories) == "two doves"
    assert data.list_objects([], categories) == ""


def test_captions_of_scenes(config):
    config = dataclasses.replace(
        config, scene_captions=(("a photo of {objects}", 1.0),), empty_caption=0.5
    )
    tokenizer = components.train_tokenizer(data.tokenizer_corpus(config), config)
    categories = data.load_corpus(config).categories
    captions = data.SceneCaptions(tokenizer, categories, [[0, 0], []], config)
    drawn = captions.draw(np.random.default_rng(0), np.zeros(2000, int))
    empty = (drawn == captions.empty).all(axis=1)
    assert empty.mean() == pytest.approx(0.5, abs=0.05)
    said = tokenizer.decode(drawn[~empty][0], skip_special_tokens=True)
    wanted = f"a photo of {data.list_objects([0, 0], categories)}"
    assert said.split() == tokenizer.decode(tokenizer(wanted)["input_ids"], True).split()
    nothing = captions.draw(np.random.default_rng(0), np.ones(20, int))
    assert (nothing == captions.empty).all()


def test_training_on_scenes_goes_on_and_keeps_the_autoencoder(trained, config, tmp_path):
    config = dataclasses.replace(
        config, start=str(trained), vae_cycles=(), decoder_cycles=(), unet_cycles=((2, 1.0),),
        scenes=6, scene_size=(32, 48), scene_share=1.0, scene_batch=2,
    )  # fmt: skip
    out = train.train(config, tmp_path / "work", tmp_path / "pipeline")
    with np.load(tmp_path / "work" / "scenes.npz") as scenes:
        assert scenes["latents"].shape == (6, 4, 8, 12) and scenes["objects"].shape == (6, 6)
    name = "diffusion_pytorch_model.safetensors"
    assert (out / "vae" / name).read_bytes() == (trained / "vae" / name).read_bytes()
    assert (out / "vae/config.json").read_text() == (trained / "vae/config.json").read_text()
    assert (out / "unet" / name).read_bytes() != (trained / "unet" / name).read_bytes()
    # Scenes alone are seen: without them the same steps end elsewhere.
    tiles = dataclasses.replace(config, scene_share=0.0)
    other = train.train(tiles, tmp_path / "tiles", tmp_path / "other")
    assert (out / "unet" / name).read_bytes() != (other / "unet" / name).read_bytes()


def test_a_model_that_reads_no_captions_errs_alike_with_any(trained, config):
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(trained)
    config = dataclasses.replace(config, scene_size=(32, 32))
    reading = measure_scenes(pipeline, config, 10, seed=1)
    assert reading == measure_scenes(pipeline, config, 10, seed=1)
    assert len({mean for mean, _ in reading.values()}) == 3
    for name, module in pipeline.unet.named_modules():
        if name.endswith("attn2.to_out.0"):
            torch.nn.init.zeros_(module.weight)
    blind = measure_scenes(pipeline, config, 10, seed=1)
    assert len({mean for mean, _ in blind.values()}) == 1
    assert {deviation for _, deviation in blind.values()} == {0.0}


def test_rare_categories_get_their_weight(config):
    corpus = data.load_corpus(config)
    rare = corpus.weights[[c.frequency == "r" for c in corpus.categories]]
    other = corpus.weights[[c.frequency != "r" for c in corpus.categories]]
    assert rare[0] / other[0] == pytest.approx(config.rare_weight)
    assert corpus.weights.sum() == pytest.approx(1.0)


@pytest.mark.parametrize(
    "text, message",
    [
        ("config = 3", r"broken.py must define config = TinySDConfig\(...\), got 3"),
        ("", r"broken.py must define config = TinySDConfig\(...\), got None"),
        ("1 / 0", "broken.py does not run: ZeroDivisionError"),
        (None, "broken.py is not a file"),
    ],
)
def test_a_file_that_is_no_config_is_named(tmp_path, text, message):
    path = tmp_path / "broken.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=message):
        load_config(path)


def test_a_config_imports_its_neighbour(tmp_path):
    (tmp_path / "first.py").write_text(DEMO.read_text())
    (tmp_path / "second.py").write_text(
        "import dataclasses, first\nconfig = dataclasses.replace(first.config, seed=3)"
    )
    found = load_config(tmp_path / "second.py")
    assert found == dataclasses.replace(load_config(DEMO), seed=3) and "first" not in sys.modules


def test_schedule_warms_up_holds_and_falls_in_every_cycle(config):
    config = dataclasses.replace(config, warmup=2, decay=0.5)
    cycles = ((4, 1.0), (2, 0.5))
    factors = [steps.schedule(step, cycles, config) for step in range(7)]
    assert factors == [0.5, 1.0, 1.0, 0.5, 0.25, 0.5, 0.0]


def test_start_goes_on_from_a_pipeline_folder(trained, config, tmp_path):
    stages = ("vae_cycles", "decoder_cycles", "unet_cycles")
    nothing = dataclasses.replace(config, start=str(trained), **dict.fromkeys(stages, ()))
    again = train.train(nothing, tmp_path / "work", tmp_path / "pipeline")
    for part in ("unet", "vae"):
        name = "diffusion_pytorch_model.safetensors"
        assert (again / part / name).read_bytes() == (trained / part / name).read_bytes()
    tokenizers = [(f / "tokenizer" / "tokenizer.json").read_bytes() for f in (again, trained)]
    assert tokenizers[0] == tokenizers[1]


def test_start_without_a_tokenizer_is_named(config, tmp_path):
    with pytest.raises(InputError, match="is no pipeline folder"):
        train.train(
            dataclasses.replace(config, start=str(tmp_path)), tmp_path / "work", tmp_path / "out"
        )
