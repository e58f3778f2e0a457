from __future__ import annotations

import json

import numpy as np
import pytest

from mf_plugin.errors import InputError
from mf_plugin.evaluation.painted_maps import (
    compose_captions,
    paint_maps,
    read_maps,
    read_masksyn,
)
from mf_plugin.evaluation.valid_instances import load_dataset
from mf_plugin.seggen.captions import expect_categories
from mf_plugin.seggen.colormap import encode
from mf_plugin.seggen.gates import GateConfig
from mf_plugin.seggen.palette import make_palette
from mf_plugin.vocabulary import Vocabulary

CATEGORIES = [{"id": 1, "name": "dog"}, {"id": 2, "name": "violin"}, {"id": 5, "name": "crab"}]
LINES = [
    dict(index=0, caption="a dog and a violin", category_ids=[1, 5, 2],
         reasons=["", "not_in_caption", "missing"]),
    dict(index=1, caption="", category_ids=[], reasons=[]),
    dict(index=2, caption="two crabs", category_ids=[5, 5], reasons=["", "too_small"]),
]  # fmt: skip


def write_folder(folder, lines):
    (folder / "annotations.json").write_text(json.dumps({"categories": CATEGORIES}))
    (folder / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_reads_the_objects_of_a_masksyn_folder_or_all_its_segments(tmp_path):
    maps = read_masksyn(write_folder(tmp_path, LINES))
    assert maps.captions == ("a dog and a violin", "two crabs")
    assert maps.named == ((1, 2), (5, 5))
    assert maps.painted == ((1, 5), (5,))
    assert read_masksyn(tmp_path, every=True).painted == ((1, 5), (5, 5))


@pytest.mark.parametrize(
    "lines, message",
    [
        ([dict(index=3, prompts=[])], "line 1 has no caption with category_ids and reasons"),
        ([LINES[1], 3], "manifest.jsonl line 2 has no caption with category_ids and reasons"),
        ([{**LINES[2], "reasons": [""]}], "line 1 has no caption with category_ids and reasons"),
        ([{**LINES[2], "category_ids": 5}], "line 1 has no caption with category_ids"),
        ([{**LINES[2], "category_ids": [5, [5]]}], "line 1 has no caption with category_ids"),
        ([{**LINES[2], "category_ids": [5, 9]}], "line 1 has no caption with category_ids"),
        ([{**LINES[2], "caption": ["two crabs"]}], "line 1 has no caption with category_ids"),
        ([LINES[1]], "has no captions"),
        ([{**LINES[0], "caption": "a cat"}], "line 1: caption 'a cat' names no known category"),
    ],
)
def test_other_folders(tmp_path, lines, message):
    with pytest.raises(InputError, match=message):
        read_masksyn(write_folder(tmp_path, lines))


@pytest.mark.parametrize(
    "text, message",
    [
        (b"[" * 100_000, "line 1 is nested too deep"),
        (b'{"index": ' + b"9" * 6000 + b"}", "line 1 is not valid json"),
        (b"\xff", "line 1 is not valid json"),
        (b'{"index": 0', "line 1 is not valid json"),
    ],
)
def test_damaged_manifests(tmp_path, text, message):
    folder = write_folder(tmp_path, [])
    with pytest.raises(InputError, match="manifest.jsonl has no captions"):
        read_masksyn(folder)
    (folder / "manifest.jsonl").write_bytes(text)
    with pytest.raises(InputError, match=f"manifest.jsonl {message}"):
        read_masksyn(folder)
    (folder / "manifest.jsonl").unlink()
    with pytest.raises(InputError, match="manifest.jsonl cannot be read"):
        read_masksyn(folder)


def test_a_line_separator_in_a_line(tmp_path):
    folder = write_folder(tmp_path, [])
    line = json.dumps({**LINES[2], "source_file_name": "a\u2028b.jpg"}, ensure_ascii=False)
    (folder / "manifest.jsonl").write_text(line, encoding="utf-8")
    assert read_masksyn(folder).captions == ("two crabs",)


def test_captions_name_the_largest_category_first(lvis):
    objects = [(2, 1, [0, 0, 9, 9]), (2, 3, [0, 0, 50, 50]), (2, 1, [20, 0, 9, 9])]
    truth = lvis.ground_truth([((), ())] * 3, "rcf", [*objects, (3, 2, [0, 0, 9, 9])])
    dataset = load_dataset(truth)
    assert compose_captions(dataset, 2) == ["a thing 3 and two thing 1s", "a thing 2"]
    with pytest.raises(InputError, match="2 images with objects, expected 3"):
        compose_captions(dataset, 3)


class Painter:
    """Paints the first category of a caption only: what a poor Text2Mask would."""

    kind, reach = "instance", 5
    reading_palette = make_palette([1, 2, 5])

    def __call__(self, captions, *, seeds, steps, guidance):
        self.seeds = [*getattr(self, "seeds", []), *seeds]
        masks = np.zeros((2, 64, 64), dtype=bool)
        masks[0, 4:24, 4:24] = masks[1, 30:50, 30:50] = True
        first = {"dog": 1, "violin": 2, "crab": 5}
        maps = []
        for caption in captions:
            category_id = next(i for name, i in first.items() if name in caption)
            drawn = [(category_id, mask) for mask in masks]
            maps.append(encode(drawn, (64, 64), self.reading_palette, "instance"))
        return np.stack(maps)


def test_paints_and_reads_maps():
    vocabulary, painter = Vocabulary.from_categories(CATEGORIES), Painter()
    captions = ["a dog and a crab", "two violins", "a crab"]
    maps = paint_maps(painter, captions, seed=7, batch_size=2)
    assert maps.shape == (3, 64, 64, 3) and painter.seeds == [7, 8, 9]
    named = [expect_categories(caption, vocabulary) for caption in captions]
    assert named == [(1, 5), (2, 2), (5,)]
    assert read_maps(painter, maps, named) == [(1, 1), (2, 2), (5, 5)]
    for pixels, painted in ((500, ()), (300, (5, 5))):
        gates = GateConfig(min_pixels=pixels)
        assert read_maps(painter, maps[2:], named[2:], gates=gates) == [painted]


def test_a_shade_between_two_categories_is_the_one_that_the_caption_names():
    painter = Painter()
    painter.reading_palette = palette = make_palette(range(1, 31))
    colors = palette.colors.astype(float)
    second = 1 + int(np.linalg.norm(colors[1:] - colors[0], axis=1).argmin())
    third = next(id_ for id_ in palette.ids if id_ - 1 not in (0, second))
    maps = np.zeros((1, 64, 64, 3), np.uint8)
    maps[:, 20:44, 20:44] = np.rint(0.45 * colors[0] + 0.55 * colors[second])
    assert read_maps(painter, maps, [(1, third)]) == [()]  # too uncertain
    assert read_maps(painter, maps, [(1, third)], caption_colors=True) == [(1,)]
    assert read_maps(painter, maps, [(second + 1,)], caption_colors=True) == [(second + 1,)]
