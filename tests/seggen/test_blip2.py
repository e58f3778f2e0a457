from __future__ import annotations

import json

import numpy as np
import pytest

from mf_plugin.errors import InputError
from mf_plugin.seggen.blip2 import Blip2Captioner

WORDS = "<pad> </s> <unk> <image> a photo of two dogs and cat bicycle red".split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A real BLIP-2 of random weights: images of 16 pixels, an OPT that knows 13 words."""
    torch, transformers = (pytest.importorskip(name) for name in ("torch", "transformers"))
    from tokenizers import Tokenizer, models, pre_tokenizers

    torch.manual_seed(0)
    sizes = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    model = transformers.Blip2ForConditionalGeneration(
        transformers.Blip2Config(
            vision_config=dict(**sizes, intermediate_size=32, image_size=16, patch_size=4),
            qformer_config=dict(
                **sizes, intermediate_size=32, vocab_size=len(WORDS), encoder_hidden_size=16
            ),
            text_config=dict(
                **sizes, model_type="opt", ffn_dim=32, word_embed_proj_dim=16,
                vocab_size=len(WORDS), max_position_embeddings=64,
                pad_token_id=0, eos_token_id=1, bos_token_id=1,
            ),
            num_query_tokens=3,
            image_token_index=3,
        )
    )  # fmt: skip
    for parameter in model.parameters():  # images should not all look alike
        if parameter.ndim > 1:
            parameter.data *= 20
    words = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="</s>", bos_token="</s>",
        unk_token="<unk>",
    )  # fmt: skip
    images = transformers.BlipImageProcessor(size={"height": 16, "width": 16})
    folder = tmp_path_factory.mktemp("blip2") / "model"
    model.save_pretrained(folder)
    transformers.Blip2Processor(images, tokenizer, num_query_tokens=3).save_pretrained(folder)
    return folder


def test_captions_each_image_whatever_its_batch(folder):
    rng = np.random.default_rng(0)
    shapes = ((20, 30), (8, 8), (40, 10))
    images = [rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in shapes]
    images[2][:] = (255, 0, 0)
    together = Blip2Captioner(folder, max_tokens=6).caption(images)
    one_by_one = Blip2Captioner(folder, max_tokens=6, batch_size=1).caption(images)
    assert together == one_by_one
    assert len(set(together)) > 1
    assert {word for caption in together for word in caption.split()} <= set(WORDS[4:])
    assert all(1 <= len(caption.split()) <= 6 for caption in together)
    assert Blip2Captioner(folder).caption([]) == []


def test_bad_input(folder, tmp_path):
    with pytest.raises(InputError, match="'no such' cannot|'no such': no such folder"):
        Blip2Captioner("no such")
    with pytest.raises(InputError, match="dtype is 'int8': expected one of fp32"):
        Blip2Captioner(folder, dtype="int8")
    with pytest.raises(InputError, match="max_tokens is 0"):
        Blip2Captioner(folder, max_tokens=0)
    with pytest.raises(InputError, match=r"image 0 is float64\[4, 4, 3\]: expected uint8"):
        Blip2Captioner(folder).caption([np.zeros((4, 4, 3))])
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip"}))
    with pytest.raises(InputError, match="is of type clip; expected blip2"):
        Blip2Captioner(tmp_path)
