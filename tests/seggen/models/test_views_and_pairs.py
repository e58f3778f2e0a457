"""Parts of real images, and the pairs that they make."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mf_plugin.errors import InputError
from mf_plugin.seggen.colormap import decode
from mf_plugin.seggen.pairs import SegGenPairs
from mf_plugin.seggen.palette import make_palette
from mf_plugin.seggen.source import SourceConfig
from mf_plugin.seggen.sources import read_source
from mf_plugin.seggen.views import centre_view, draw_view

PALETTE = make_palette([3, 5])


def write_real(folder: Path, boxes: dict[int, list[tuple[int, ...]]]) -> SourceConfig:
    """Images 40 high and 60 wide, red where category 3 is, green where 5 is."""
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for image_id, objects in boxes.items():
        pixels = np.zeros((40, 60, 3), np.uint8)
        for category_id, left, top, right, bottom in objects:
            pixels[top:bottom, left:right, 0 if category_id == 3 else 1] = 255
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": category_id,
                    "segmentation": [[left, top, right, top, right, bottom, left, bottom]],
                }
            )
        Image.fromarray(pixels).save(folder / f"images/{image_id}.png")
        name = f"images/{image_id}.png"
        images.append({"id": image_id, "coco_url": name, "height": 40, "width": 60})
    categories = [{"id": 3, "name": "dog"}, {"id": 5, "name": "cat"}]
    data = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(data))
    return SourceConfig(
        format="instance", images=str(folder), annotations=str(folder / "annotations.json")
    )


@pytest.fixture()
def source(tmp_path):
    boxes = {
        2: [(3, 0, 0, 12, 40), (3, 14, 0, 16, 2), (5, 20, 8, 50, 36)],
        6: [(5, 22, 10, 42, 30)],
    }
    return read_source(write_real(tmp_path / "real", boxes))


def test_the_centre_of_a_wide_image_is_scaled_to_fill_the_view():
    view = centre_view((40, 60), (20, 20))
    assert view.scaled == (20, 30) and view.corner == (0, 5)
    image = np.zeros((40, 60, 3), np.uint8)
    image[:, 10:50] = 200  # the 40 central columns
    assert (view.image(image) == 200).all()
    assert view.mask(image[..., 0] > 0).all()
    assert centre_view((40, 60), (80, 120)).scaled == (80, 120)


def test_a_drawn_view_lies_inside_and_cuts_image_and_mask_alike():
    rng = np.random.default_rng(0)
    mask = np.zeros((40, 60), bool)
    mask[8:30, 5:21] = True
    image = np.repeat(mask[..., None].astype(np.uint8) * 255, 3, axis=2)
    seen, mirrored = set(), 0
    for _ in range(60):
        view = draw_view((40, 60), (16, 24), rng, zoom=2.0, mirror=True)
        assert all(16 / 40 * s <= v <= 16 / 40 * s * 2 for s, v in zip((40, 60), view.scaled))
        assert all(0 <= c <= s - v for c, s, v in zip(view.corner, view.scaled, (16, 24)))
        part, cut = view.image(image), view.mask(mask)
        assert part.shape == (16, 24, 3) and cut.shape == (16, 24)
        assert ((part[..., 0] >= 128) == cut).all()
        seen.add(view.scaled)
        mirrored += view.mirrored
    assert len(seen) > 10 and 15 < mirrored < 45
    views = [draw_view((40, 60), (16, 24), np.random.default_rng(1), zoom=2.0, mirror=m)
             for m in (False, True)]  # fmt: skip
    assert views[0].corner == views[1].corner  # mirroring draws nothing else anew
    with pytest.raises(InputError, match="zoom is 0.5"):
        draw_view((40, 60), (16, 24), rng, zoom=0.5)


def test_a_mirrored_view_is_its_image_from_right_to_left():
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (16, 24, 3), dtype=np.uint8)
    views = [draw_view((16, 24), (16, 24), np.random.default_rng(s), mirror=True) for s in range(9)]
    assert {view.mirrored for view in views} == {True, False}
    for view in views:
        expected = image[:, ::-1] if view.mirrored else image
        assert (view.image(image) == expected).all()


def test_a_pair_shows_the_same_objects_in_image_map_and_caption(source):
    pairs = SegGenPairs(source, PALETTE, "instance", (40, 60), min_area=30)
    pair = pairs[0]
    assert (pair.image_id, pair.original, pair.corner) == (2, (40, 60), (0, 0))
    assert pair.caption == "a cat and a dog"  # the larger first; four pixels are no dog
    found = {s.category_id: s.mask for s in decode(pair.colormap, PALETTE, "instance")}
    assert found[3][:, :12].all() and not found[3][:, 12:].any()
    assert (pair.image[found[3]] == (255, 0, 0)).all()
    assert found[5].sum() == 30 * 28 and (pair.image[found[5]] == (0, 255, 0)).all()
    assert len(pairs) == 2 and [p.image_id for p in pairs[0:2]] == [2, 6]


def test_a_part_names_what_can_be_seen_in_it_alone(source):
    pairs = SegGenPairs(source, PALETTE, "instance", (16, 24), zoom=4.0, mirror=True, min_area=4)
    said = set()
    for seed in range(40):
        pair = pairs.draw(0, np.random.default_rng(seed))
        shown = {c for c in (3, 5) if (pair.image[..., 0 if c == 3 else 1] > 127).sum() >= 4}
        names = {c for c, name in ((3, "dog"), (5, "cat")) if name in pair.caption}
        assert names == shown
        said.add(pair.caption)
        again = pairs.draw(0, np.random.default_rng(seed))
        assert (again.image == pair.image).all() and again.caption == pair.caption
    assert "" in said or len(said) > 3


def test_given_captions_are_drawn_and_the_first_one_stands_for_the_centre(source):
    captions = {2: ("one", "two"), 6: ("six",)}
    pairs = SegGenPairs(source, PALETTE, "semantic", (16, 24), captions=captions)
    assert pairs[0].caption == "one"
    assert {pairs.draw(0, np.random.default_rng(s)).caption for s in range(9)} == {"one", "two"}


def test_incomplete_images_are_errors_or_left_out(tmp_path, source):
    with pytest.raises(InputError, match=r"image 6 \(images/6.png\) has no caption"):
        SegGenPairs(source, PALETTE, "instance", (16, 24), captions={2: ("one",)})
    some = SegGenPairs(
        source, PALETTE, "instance", (16, 24), captions={2: ("one",)}, skip_incomplete=True
    )
    assert some.image_ids == (2,)
    empty = read_source(write_real(tmp_path / "empty", {1: [], 2: [(3, 0, 0, 9, 9)]}))
    with pytest.raises(InputError, match="image 1 .* has no category in it"):
        SegGenPairs(empty, PALETTE, "instance", (16, 24))
    with pytest.raises(InputError, match="none of the 2 images"):
        SegGenPairs(empty, PALETTE, "instance", (16, 24), captions={}, skip_incomplete=True)
